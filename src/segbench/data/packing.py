"""Random packing of rough ellipsoids, as the two smallest distances to a particle surface at every voxel."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]
ByteArray = NDArray[np.uint8]
FloatArray = NDArray[np.float64]

FAR = np.float32(99.0)
"""Distance, in voxels, of a voxel that no particle reaches."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def insert(
    nearest: Float32Array,
    second: Float32Array,
    owner: Int32Array,
    counted: ByteArray,
    index: int,
    centre: FloatArray,
    frame: FloatArray,
    radii: FloatArray,
    lobes: FloatArray,
    growth: float,
) -> int:
    """Lower the distance fields by one ellipsoid; `frame` rows are its axes, `lobes` bend its surface.

    Returns:
        How many of the `counted` voxels came nearer than `growth` to a particle.
    """
    smallest = min(radii[0], radii[1], radii[2])
    extent = max(radii[0], radii[1], radii[2]) * 1.15 + 4.0 + 0.45 * smallest
    depth, height, width = nearest.shape
    gained = 0
    for z in range(max(0, int(centre[0] - extent)), min(depth, int(centre[0] + extent) + 2)):
        dz = z - centre[0]
        for y in range(max(0, int(centre[1] - extent)), min(height, int(centre[1] + extent) + 2)):
            dy = y - centre[1]
            for x in range(max(0, int(centre[2] - extent)), min(width, int(centre[2] + extent) + 2)):
                dx = x - centre[2]
                q0 = (frame[0, 0] * dz + frame[0, 1] * dy + frame[0, 2] * dx) / radii[0]
                q1 = (frame[1, 0] * dz + frame[1, 1] * dy + frame[1, 2] * dx) / radii[1]
                q2 = (frame[2, 0] * dz + frame[2, 1] * dy + frame[2, 2] * dx) / radii[2]
                squared = q0 * q0 + q1 * q1 + q2 * q2
                distance = -smallest
                if squared > 1e-4:
                    norm = np.sqrt(squared)
                    slope = np.sqrt((q0 / radii[0]) ** 2 + (q1 / radii[1]) ** 2 + (q2 / radii[2]) ** 2)
                    u0, u1, u2 = q0 / norm, q1 / norm, q2 / norm
                    bend = lobes[0] * u0 * u1 + lobes[1] * u1 * u2 + lobes[2] * u0 * u2
                    bend += lobes[3] * u0 * u1 * u2 + lobes[4] * u0 * (u1 * u1 - u2 * u2)
                    distance = norm * (norm - 1.0) / slope - smallest * bend
                if distance < nearest[z, y, x]:
                    if distance < growth <= nearest[z, y, x] and counted[z, y, x]:
                        gained += 1
                    second[z, y, x] = nearest[z, y, x]
                    nearest[z, y, x] = distance
                    owner[z, y, x] = index
                elif distance < second[z, y, x]:
                    second[z, y, x] = distance
    return gained


@njit(cache=True)  # type: ignore[untyped-decorator]
def pack(
    counted: ByteArray,
    candidates: FloatArray,
    frames: FloatArray,
    radii: FloatArray,
    lobes: FloatArray,
    growth: float,
    wanted: float,
) -> tuple[Float32Array, Float32Array, Int32Array, FloatArray, FloatArray]:
    """Place particles one by one, each at the emptiest of its candidate centres, until they fill enough.

    Args:
        counted: (Z, Y, X), the voxels that are to be filled.
        candidates: (n, tries, 3) centres to choose from, in voxels.
        frames: (n, 3, 3) axes of each particle.
        radii: (n, 3) semi-axes in voxels, in the order of placing.
        lobes: (n, 5) relative bends of each surface.
        growth: Distance from a particle's surface, in voxels, up to which a voxel counts as filled.
        wanted: Number of counted voxels at which to stop.

    Returns:
        Distances to the nearest and to the second nearest surface and the index of the nearest particle,
        each (Z, Y, X); centres and radii (placed, 3).
    """
    shape = counted.shape
    nearest = np.full(shape, FAR, dtype=np.float32)
    second = np.full(shape, FAR, dtype=np.float32)
    owner = np.full(shape, -1, dtype=np.int32)
    chosen = np.zeros((len(radii), 2), dtype=np.int64)
    placed, filled = 0, 0
    for k in range(len(radii)):
        if filled >= wanted:
            break
        size = (radii[k, 0] * radii[k, 1] * radii[k, 2]) ** (1.0 / 3.0)
        best, best_room = 0, -1e9
        for j in range(candidates.shape[1]):
            c = candidates[k, j]
            z = min(max(int(c[0]), 0), shape[0] - 1)
            y = min(max(int(c[1]), 0), shape[1] - 1)
            x = min(max(int(c[2]), 0), shape[2] - 1)
            room = min(nearest[z, y, x], 0.85 * size)
            if room > best_room:
                best, best_room = j, room
        if best_room < 0.1 * size:
            continue
        centre = candidates[k, best]
        filled += insert(nearest, second, owner, counted, placed, centre, frames[k], radii[k], lobes[k], growth)
        chosen[placed] = k, best
        placed += 1
    centres = np.zeros((placed, 3))
    sizes = np.zeros((placed, 3))
    for p in range(placed):
        centres[p] = candidates[chosen[p, 0], chosen[p, 1]]
        sizes[p] = radii[chosen[p, 0]]
    return nearest, second, owner, centres, sizes


@njit(cache=True)  # type: ignore[untyped-decorator]
def carve(
    owner: Int32Array,
    centres: FloatArray,
    normals: FloatArray,
    cracks: FloatArray,
    hollows: FloatArray,
    waviness: Float32Array,
) -> Float32Array:
    """Signed depth inside a crack or a hollow of the particle that owns each voxel; positive is void."""
    depth, height, width = owner.shape
    void = np.full((depth, height, width), -FAR, dtype=np.float32)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                k = owner[z, y, x]
                if k < 0 or (cracks[k] <= 0.0 and hollows[k] <= 0.0):
                    continue
                dz, dy, dx = z - centres[k, 0], y - centres[k, 1], x - centres[k, 2]
                value = -FAR
                if cracks[k] > 0.0:
                    plane = normals[k, 0] * dz + normals[k, 1] * dy + normals[k, 2] * dx
                    value = 0.5 * cracks[k] - abs(plane + waviness[z, y, x])
                if hollows[k] > 0.0:
                    ball = hollows[k] - np.sqrt(dz * dz + dy * dy + dx * dx) - waviness[z, y, x]
                    value = max(value, ball)
                void[z, y, x] = value
    return void
