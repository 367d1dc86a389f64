"""Slabs: pieces of an array small enough that counting over them needs constant memory."""

import math
from collections.abc import Iterator
from itertools import product

SLAB = 1 << 22
"""Most voxels that are looked at in one go."""


def slabs(shape: tuple[int, ...], limit: int | None = None) -> Iterator[tuple[slice, ...]]:
    """Indices of at most `limit` voxels (`SLAB` by default) that cover `shape` once, in C order.

    Leading axes are cut to single steps until the rest fits, so a slab is contiguous in a C-ordered array.
    """
    limit = SLAB if limit is None else limit
    steps: list[int] = []
    room = limit
    for length in reversed(shape):
        steps.append(max(1, min(length, room)))
        room = room // length if length else 0
    cuts = (
        [slice(a, min(a + step, length)) for a in range(0, length, step)]
        for length, step in zip(shape, reversed(steps), strict=True)
    )
    if math.prod(shape):
        yield from product(*cuts)
