"""What an image must be before it can be normalised: finite, and not the same everywhere."""

from collections.abc import Iterator

import numpy as np

from segbench.errors import InputError
from segbench.volume import Volume

BLOCK_VOXELS = 2**24


def blocks(volume: Volume) -> Iterator[slice]:
    """Ranges of slices of about `BLOCK_VOXELS` voxels that cover `volume`."""
    depth, height, width = volume.shape
    step = max(1, BLOCK_VOXELS // (height * width))
    for start in range(0, depth, step):
        yield slice(start, min(start + step, depth))


def check_image(volume: Volume) -> None:
    """Refuses an image with NaN or infinite voxels, and one that is constant; reads it block by block.

    Raises:
        InputError: One line with the number of such voxels and the first of them as (z, y, x).
    """
    low, high = np.inf, -np.inf
    bad, first = 0, None
    for part in blocks(volume):
        block = np.asarray(volume.data[part])
        if block.dtype.kind == "f":
            finite = np.isfinite(block)
            count = int(finite.size - np.count_nonzero(finite))
            if count and first is None:
                z, y, x = (int(i) for i in np.unravel_index(int(np.argmin(finite)), block.shape))
                first = (z + part.start, y, x)
            bad += count
            if count:
                continue
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    if bad:
        raise InputError(
            f"{volume.source}: {bad} voxels are NaN or infinite, the first at (z, y, x) = {first}: "
            "replace them by numbers"
        )
    if low == high:
        raise InputError(f"{volume.source}: constant image, every voxel is {low:g}: is this the right file?")
