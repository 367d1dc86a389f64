"""Bent fibres and irregular pores, drawn as distances to their surfaces."""

import numpy as np
import numpy.typing as npt
from numba import njit

from segbench.volume import Float32

Points = npt.NDArray[np.float64]

MARGIN = 6.5
"""Voxels around a fibre where the distance is known; further away it is `FAR`. More than any radius."""
FAR = np.float32(8.0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _inner(shape: tuple[int, int, int], z: int, y: int, x: int, edge: int) -> bool:
    """Whether a voxel lies at least `edge` from all faces."""
    inside_z, inside_y = edge <= z < shape[0] - edge, edge <= y < shape[1] - edge
    return inside_z and inside_y and edge <= x < shape[2] - edge


@njit(cache=True)  # type: ignore[untyped-decorator]
def fits(field: Float32, nodes: Points, radius: float) -> bool:
    """Whether a fibre of that radius about the line through `nodes` (n, 3) reaches into none that is drawn."""
    depth, height, width = field.shape
    for n in range(len(nodes) - 1):
        for step in range(4):
            at = nodes[n] + step / 4.0 * (nodes[n + 1] - nodes[n]) + 0.5
            z, y, x = int(np.floor(at[0])), int(np.floor(at[1])), int(np.floor(at[2]))
            if 0 <= z < depth and 0 <= y < height and 0 <= x < width and field[z, y, x] < radius:
                return False
    return True


@njit(cache=True)  # type: ignore[untyped-decorator]
def draw_fibre(field: Float32, nodes: Points, radius: float, edge: int) -> int:
    """Lowers the distances (Z, Y, X) to those to a fibre with flat ends.

    Returns:
        How many voxels became fibre, those within `edge` of the faces not counted.
    """
    depth, height, width = field.shape
    reach = radius + MARGIN
    last = len(nodes) - 2
    gained = 0
    for n in range(last + 1):
        a, b = nodes[n], nodes[n + 1]
        length = np.sqrt((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2 + (b[2] - a[2]) ** 2)
        u0, u1, u2 = (b[0] - a[0]) / length, (b[1] - a[1]) / length, (b[2] - a[2]) / length
        for z in range(max(0, int(min(a[0], b[0]) - reach)), min(depth, int(max(a[0], b[0]) + reach) + 2)):
            for y in range(max(0, int(min(a[1], b[1]) - reach)), min(height, int(max(a[1], b[1]) + reach) + 2)):
                for x in range(max(0, int(min(a[2], b[2]) - reach)), min(width, int(max(a[2], b[2]) + reach) + 2)):
                    dz, dy, dx = z - a[0], y - a[1], x - a[2]
                    along = dz * u0 + dy * u1 + dx * u2
                    # pieces of a bent fibre overlap by a voxel, so that none is missing outside the bend
                    if (n > 0 and along < -1.0) or (n < last and along > length + 1.0):
                        continue
                    side = np.sqrt(max(0.0, dz * dz + dy * dy + dx * dx - along * along)) - radius
                    if side >= MARGIN:
                        continue
                    past = -99.0
                    if n == 0:
                        past = -along
                    if n == last:
                        past = max(past, along - length)
                    distance = max(side, past)
                    if side > 0.0 and past > 0.0:
                        distance = np.sqrt(side * side + past * past)
                    if distance < field[z, y, x]:
                        if distance < 0.0 <= field[z, y, x] and _inner(field.shape, z, y, x, edge):
                            gained += 1
                        field[z, y, x] = distance
    return gained


@njit(cache=True)  # type: ignore[untyped-decorator]
def draw_pore(
    field: Float32, fibre: Float32, centre: Points, frame: Points, radii: Points, lobes: Points, edge: int
) -> int:
    """Lowers the distances (Z, Y, X) to those to a lobed ellipsoid; `frame` rows are its axes.

    Returns:
        How many voxels outside fibres became pore, those within `edge` of the faces not counted.
    """
    depth, height, width = field.shape
    smallest = min(radii[0], radii[1], radii[2])
    reach = 1.4 * max(radii[0], radii[1], radii[2]) + 2.0
    gained = 0
    for z in range(max(0, int(centre[0] - reach)), min(depth, int(centre[0] + reach) + 2)):
        for y in range(max(0, int(centre[1] - reach)), min(height, int(centre[1] + reach) + 2)):
            for x in range(max(0, int(centre[2] - reach)), min(width, int(centre[2] + reach) + 2)):
                dz, dy, dx = z - centre[0], y - centre[1], x - centre[2]
                q0 = (frame[0, 0] * dz + frame[0, 1] * dy + frame[0, 2] * dx) / radii[0]
                q1 = (frame[1, 0] * dz + frame[1, 1] * dy + frame[1, 2] * dx) / radii[1]
                q2 = (frame[2, 0] * dz + frame[2, 1] * dy + frame[2, 2] * dx) / radii[2]
                norm = np.sqrt(q0 * q0 + q1 * q1 + q2 * q2)
                distance = -smallest
                if norm > 1e-2:
                    u0, u1, u2 = q0 / norm, q1 / norm, q2 / norm
                    bend = lobes[0] * u0 * u1 + lobes[1] * u1 * u2 + lobes[2] * u0 * u2
                    bend += lobes[3] * u0 * u1 * u2 + lobes[4] * u0 * (u1 * u1 - u2 * u2)
                    distance = smallest * (norm - 1.0 - bend)
                if distance < field[z, y, x]:
                    if distance < 0.0 <= field[z, y, x] and fibre[z, y, x] >= 0.0:
                        gained += _inner(field.shape, z, y, x, edge)
                    field[z, y, x] = distance
    return gained
