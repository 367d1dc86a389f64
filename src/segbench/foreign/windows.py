"""Where a scan is looked at: windows of single slices, a pure function of the shape of what is looked at."""

import math

import numpy as np

from segbench.foreign.descriptors import SMALLEST
from segbench.normalisation import VOID
from segbench.tiling import Grid, Tile
from segbench.volume import Float32, LazyArray

EDGE = 64  # pixels
HEIGHTS, PLACES = 4, 16
EVERY = 4  # tiles for each that is looked at: looking takes time that the engine would use
MOST_EXTERIOR = 0.05  # share of a window: more of a constant exterior than this is no part of the scan
Place = tuple[int, slice, slice]
"""A slice, and the window's rows and columns."""


def places(shape: tuple[int, int, int]) -> tuple[Place, ...]:
    """About sixteen places, evenly spread; none where a slice is too small to say anything of it."""
    depth, height, width = shape
    if min(height, width) < SMALLEST:
        return ()
    slices = min(HEIGHTS, depth)
    across = math.ceil((PLACES / slices) ** 0.5)
    heights = [(2 * i + 1) * depth // (2 * slices) for i in range(slices)]
    return tuple((z, y, x) for z in heights for y in _pieces(height, across) for x in _pieces(width, across))


def _pieces(length: int, count: int) -> list[slice]:
    edge = min(length, EDGE)
    middles = ((2 * i + 1) * length // (2 * count) for i in range(count))
    starts = sorted({min(max(0, middle - edge // 2), length - edge) for middle in middles})
    return [slice(start, start + edge) for start in starts]


def windows(image: LazyArray, exterior: bool) -> Float32 | None:
    """The windows [N, Y, X] of a normalised image (Z, Y, X); None where there are none.

    Args:
        image: Read at these places only.
        exterior: Its constant exterior was set to `VOID`; windows that reach into it are left out.
    """
    depth, height, width = (int(n) for n in image.shape)
    found = [np.asarray(image[place], dtype=np.float32) for place in places((depth, height, width))]
    if exterior:
        found = [window for window in found if np.mean(window == np.float32(VOID)) <= MOST_EXTERIOR]
    return np.stack(found) if found else None


def core(image: Float32, tile: Tile) -> Float32:
    """The core (Z, Y, X) of a tile in what it read [1, 1, Z, Y, X]."""
    return image[(0, 0, *tile.inner)]


def looked_at(grid: Grid) -> frozenset[Tile]:
    """The tiles of a scan that are looked at by themselves: one in four, spread so that no plane of tiles is without.

    None where a tile is alone: it is the scan.
    """
    if len(grid) == 1:
        return frozenset()
    z, y, x = grid.cores
    return frozenset(t for t in grid if (t.start[0] // z + 2 * (t.start[1] // y) + 3 * (t.start[2] // x)) % EVERY == 0)
