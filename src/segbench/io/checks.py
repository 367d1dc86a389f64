"""What an image must be before it can be normalised: finite, and not the same everywhere."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.volume import Volume

BLOCK_VOXELS = 2**24
SAMPLED = 2**24


def blocks(volume: Volume) -> Iterator[slice]:
    """Ranges of slices of about `BLOCK_VOXELS` voxels that cover `volume`."""
    depth, height, width = volume.shape
    step = max(1, BLOCK_VOXELS // (height * width))
    for start in range(0, depth, step):
        yield slice(start, min(start + step, depth))


def sampled(volume: Volume) -> int:
    """n, where one voxel in n along every axis is at most about `SAMPLED` voxels."""
    apart: float = (math.prod(volume.shape) / SAMPLED) ** (1 / 3)
    return max(1, math.ceil(apart))


def check_image(volume: Volume) -> npt.NDArray[Any]:
    """Refuses an image with NaN or infinite voxels, and one that is constant; reads it once, block by block.

    Returns:
        One voxel in `sampled(volume)` along every axis, from the same reading: what a normalisation is fitted to.

    Raises:
        InputError: One line with the number of such voxels and the first of them as (z, y, x).
    """
    low, high = np.inf, -np.inf
    bad, first = 0, None
    step, sample = sampled(volume), []
    for part in blocks(volume):
        block = np.asarray(volume.data[part])
        taken = block[-part.start % step :: step, ::step, ::step]
        sample.append(taken if step == 1 else taken.copy())  # a view would keep the whole block
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
    return np.concatenate(sample)
