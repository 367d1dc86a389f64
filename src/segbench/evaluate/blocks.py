"""A volume in blocks with a confusion matrix each: what a bootstrap draws from where there is one volume.

The blocks of a stack of images are its slices.
"""

from itertools import product

from segbench.metrics.counts import Int64, confusion
from segbench.rows import Confusion
from segbench.volume import UInt8

PIECES = 3
"""Blocks along an axis that is long enough."""
THINNEST = 16
"""Voxels that a block has at least along an axis, unless the axis is shorter: neighbours err together."""


def blocks(reference: UInt8, labels: UInt8, classes: int, stack: bool = False) -> tuple[Confusion, ...]:
    """Confusion of each block of a grid, or of each slice; together they are the volume's.

    Args:
        reference: True classes (Z, Y, X).
        labels: Predicted classes, same shape.
        classes: K.
        stack: The slices are images of their own.
    """
    grid = [(slice(z, z + 1),) for z in range(len(reference))] if stack else _grid(reference.shape)
    return tuple(written(confusion(reference[at], labels[at], classes)) for at in grid)


def written(counts: Int64) -> Confusion:
    """A confusion matrix as rows have it."""
    return tuple(tuple(int(n) for n in row) for row in counts)


def _grid(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    return list(product(*(_cuts(length) for length in shape)))


def _cuts(length: int) -> list[slice]:
    """An axis in up to `PIECES` equal parts."""
    pieces = max(1, min(PIECES, length // THINNEST))
    return [slice(length * n // pieces, length * (n + 1) // pieces) for n in range(pieces)]
