"""The boundary band of a line of voxels, compiled: which of them have the other phase within two voxels."""

import numba

from segbench.volume import UInt8

EDGES = 2
"""Voxels beyond either end of a line in `box`, which repeat the last one."""


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def band(reference: UInt8, z: int, y: int, box: UInt8, band: UInt8) -> None:
    """Marks the voxels of line (z, y) whose distance to the other phase is at most 2, from centre to centre.

    Those are the box of 3 x 3 x 3 around a voxel (its corners are sqrt 3 away) and the six voxels 2 away along an axis.
    Beyond the volume there is nothing, which is the same as its outermost voxels repeated: a line that is repeated lies
    nearer than the one that it stands for. So a single slice has no neighbours along Z.

    Args:
        reference: Phases 0 and 1 (Z, Y, X).
        z: Of the line.
        y: Of the line.
        box: Scratch (5, X + 2 EDGES).
        band: (X,): becomes 1 in the band, 0 elsewhere.
    """
    depth, height, width = reference.shape
    own, some, every, far_some, far_every = box[0], box[1], box[2], box[3], box[4]
    line = reference[z, y]
    for x in range(width):
        own[x + 2] = some[x + 2] = every[x + 2] = far_some[x + 2] = far_every[x + 2] = line[x]
    own[0] = own[1] = line[0]
    own[width + 2] = own[width + 3] = line[width - 1]
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            _gather(reference[_inside(z + dz, depth), _inside(y + dy, height)], some, every)
    for step in (-2, 2):
        _gather(reference[_inside(z + step, depth), y], far_some, far_every)
        _gather(reference[z, _inside(y + step, height)], far_some, far_every)
    some[1], every[1] = some[2], every[2]
    some[width + 2], every[width + 2] = some[width + 1], every[width + 1]
    for x in range(width):
        one = some[x + 1] | some[x + 2] | some[x + 3] | far_some[x + 2] | own[x] | own[x + 4]
        all_one = every[x + 1] & every[x + 2] & every[x + 3] & far_every[x + 2] & own[x] & own[x + 4]
        band[x] = one ^ all_one


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _gather(line: UInt8, some: UInt8, every: UInt8) -> None:
    """Whether any voxel so far is 1, and whether all are."""
    for x in range(len(line)):
        some[x + 2] |= line[x]
        every[x + 2] &= line[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _inside(index: int, length: int) -> int:
    return min(max(index, 0), length - 1)
