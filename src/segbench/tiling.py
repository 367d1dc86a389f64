"""Tiles of a volume: where each reads and which voxels it is responsible for.

    volume  |0 . . . . . . . . . . . . . . . . . . . Z|
    tile 0  [halo|    core    |halo]
    tile 1               [halo|    core    |halo]

The grid is anchored at the volume's origin and the cores cover it without overlap, so a prediction does not depend on
the order of tiles, on workers or shards. A tile reads past the volume's faces; what lies there is a replicated border.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from segbench.errors import InputError
from segbench.volume import Float32, LazyArray

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
        start: First voxel of the core (Z, Y, X), inside the volume.
        stop: One past the last voxel of the core, inside the volume.
        read: First voxel that is read, may be negative.
        shape: Voxels that are read; the same for every tile of a grid.
    """

    start: Shape
    stop: Shape
    read: Shape
    shape: Shape

    @property
    def core(self) -> tuple[slice, slice, slice]:
        """The core in the volume's coordinates."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The core in the coordinates of what was read."""
        z, y, x = (slice(a - r, b - r) for a, b, r in zip(self.start, self.stop, self.read, strict=True))
        return z, y, x


@dataclass(frozen=True)
class Grid:
    """Tiles over a volume.

    Attributes:
        volume: Voxels of the volume (Z, Y, X).
        core: Useful voxels of a tile at most: as few tiles as these allow share an axis evenly (`cores`).
        halo: Voxels read on each side of the core along (Z, Y, X).
        multiple: Edges of what is read along (Z, Y, X) are multiples of these (the network's total strides).
        fixed: Tiles of full size always, for networks whose answer depends on the tile's size.
    """

    volume: Shape
    core: Shape
    halo: Shape
    multiple: Shape = (1, 1, 1)
    fixed: bool = False

    def __post_init__(self) -> None:
        if min(self.volume) < 1 or min(self.core) < 1 or min(self.halo) < 0 or min(self.multiple) < 1:
            raise InputError(f"no tiles for volume {self.volume}, core {self.core}, halo {self.halo}")

    @property
    def cores(self) -> Shape:
        """Useful voxels of a tile: 100 voxels are two tiles of 50 rather than one of 96 and one of 4."""
        if self.fixed:
            return self.core
        z, y, x = (
            min(c, _up(math.ceil(v / math.ceil(v / c)) + 2 * h, m) - 2 * h)
            for v, c, h, m in zip(self.volume, self.core, self.halo, self.multiple, strict=True)
        )
        return z, y, x

    @property
    def shape(self) -> Shape:
        """Voxels that every tile reads."""
        z, y, x = (
            _up((c if self.fixed else min(c, v)) + 2 * h, m)
            for v, c, h, m in zip(self.volume, self.cores, self.halo, self.multiple, strict=True)
        )
        return z, y, x

    def __len__(self) -> int:
        return math.prod(math.ceil(v / c) for v, c in zip(self.volume, self.cores, strict=True))

    def __iter__(self) -> Iterator[Tile]:
        starts = (range(0, v, c) for v, c in zip(self.volume, self.cores, strict=True))
        for z, y, x in product(*starts):
            start = (z, y, x)
            sz, sy, sx = (min(a + c, v) for a, c, v in zip(start, self.cores, self.volume, strict=True))
            rz, ry, rx = (a - h for a, h in zip(start, self.halo, strict=True))
            yield Tile(start, (sz, sy, sx), (rz, ry, rx), self.shape)


def _up(length: int, multiple: int) -> int:
    return math.ceil(length / multiple) * multiple


def read(data: LazyArray, tile: Tile) -> Float32:
    """What `tile` reads of `data`, as float32, with the volume's faces replicated outwards."""
    inside, outside = [], []
    for first, length, limit in zip(tile.read, tile.shape, data.shape, strict=True):
        low, high = max(first, 0), min(first + length, limit)
        inside.append(slice(low, high))
        outside.append((low - first, first + length - high))
    block = np.asarray(data[tuple(inside)], dtype=np.float32)
    return np.ascontiguousarray(np.pad(block, outside, mode="edge") if any(map(any, outside)) else block)
