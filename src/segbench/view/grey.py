"""The scan at the resolution of a level: means of blocks, read a few slices at a time."""

from collections.abc import Callable

import numpy as np

from segbench.errors import InputError
from segbench.io import blocks, open_volume
from segbench.io.location import locate
from segbench.io.message import printable
from segbench.view.result import Level
from segbench.volume import Float32, Volume

Progress = Callable[[int, int], None]


def open_scan(path: str, shape: tuple[int, int, int], *, trusted: bool) -> Volume:
    """The scan that a result was made of; its voxels are not read.

    Args:
        path: Where it is.
        shape: What it must have, (Z, Y, X).
        trusted: Whether the user gave `path`. Otherwise the result names it, and no server is asked for it.

    Raises:
        InputError: One line: it cannot be opened, or has another shape.
    """
    shown = printable(path)
    if not trusted and ("://" in path or locate(path).remote):
        raise InputError(f"{shown}: an address on a network, which is not asked: give the scan with --scan")
    try:
        volume = open_volume(path)
    except InputError:
        raise
    except Exception as error:  # a path may be any text: null characters, lone surrogates
        raise InputError(f"{shown}: cannot be opened ({printable(str(error))[:200]})") from error
    if volume.shape != shape:
        raise InputError(f"{shown}: {volume.shape} voxels, but the result has {shape}: it is another scan")
    return volume


def reduced(volume: Volume, level: Level, progress: Progress | None = None) -> Float32:
    """Means of `volume` over the voxels of `level`, (Z, Y, X). A block that the border cuts counts what is there.

    Args:
        volume: The scan; read in order, some 2^24 voxels at a time.
        level: What its blocks are to be.
        progress: Called with (slices read, slices).

    Raises:
        InputError: The scan is damaged.
    """
    (fz, fy, fx), (nz, ny, nx) = level.factor, level.shape
    depth, height, width = (
        min(length, n * f) for length, n, f in zip(volume.shape, level.shape, level.factor, strict=True)
    )
    sums = np.zeros((ny, nx))
    area = np.outer(_lengths(ny, fy, height), _lengths(nx, fx, width))
    thick = _lengths(nz, fz, depth)
    out = np.empty(level.shape, np.float32)
    for part in blocks(volume):
        slab = np.asarray(volume.data[part])
        for z, plane in enumerate(slab[: max(0, depth - part.start)], part.start):
            rows = np.add.reduceat(plane[:height, :width].astype(np.float64), np.arange(0, height, fy), axis=0)
            sums += np.add.reduceat(rows, np.arange(0, width, fx), axis=1)
            if z % fz == fz - 1 or z == depth - 1:
                out[z // fz] = sums / (area * thick[z // fz])
                sums[:] = 0
        if progress:
            progress(part.stop, volume.shape[0])
    return out


def _lengths(blocks_: int, edge: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Voxels of each block along one axis."""
    starts = np.arange(blocks_) * edge
    return np.minimum(starts + edge, length) - starts
