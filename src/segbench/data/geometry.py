"""Particles, pores, cracks and binder of a simulated electrode, as soft level sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.data.fields import smooth_noise
from segbench.data.packing import carve, pack
from segbench.errors import InputError

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]

TRIES = 32
"""Candidate centres of each particle."""


@dataclass(frozen=True)
class Geometry:
    """What the specimen is made of; lengths in voxels, greys as a share of the active material's attenuation."""

    share: float  # of active material in the image, exterior included
    radius: float  # median of the small mode
    spread: float = 0.25  # of log radius
    big_radius: float = 0.0  # median of the large mode; 0 for none
    big_share: float = 0.0  # of the particle volume in the large mode
    aspect: float = 1.0  # thickness over diameter: 1 sphere, .3 flake
    alignment: float = 0.0  # 0 random axes, 1 all flakes face one way
    lobes: float = 0.1  # bends of the surface, relative to the radius
    roughness: float = 0.4  # of the surface
    gap: float = 1.5  # least distance between two particles
    cracked: float = 0.0  # share of particles with a crack
    crack_width: float = 2.5
    hollow: float = 0.0  # share of particles with a hollow core
    micropores: float = 0.0  # share of the active material lost to inner pores
    micropore_size: float = 2.2  # correlation length of inner pores
    binder: float = 0.3  # share of the pore space that binder fills
    binder_grey: float = 0.35
    pore_grey: float = 0.05
    variation: float = 0.05  # of grey between particles
    texture: float = 0.03  # of grey inside particles
    shell: float = 0.0  # grey gained (or lost) from surface to core
    specimen_radius: float = 0.75  # of the image's width; below .7 the specimen ends in view
    specimen_offset: float = 0.0  # of the specimen's axis, share of the image's width
    layer: float = 0.0  # thickness of a flat specimen, share of the image's width; 0 for a rod

    def __post_init__(self) -> None:
        if not (0.02 <= self.share <= 0.95 and self.radius >= 2.0 and 0.1 <= self.aspect <= 1.0):
            raise InputError(f"geometry out of range: share {self.share}, radius {self.radius}, aspect {self.aspect}")


@dataclass(frozen=True)
class Specimen:
    """Attenuation of the whole specimen (Z, M, M) and the truth of its central cube (Z, Y, X)."""

    attenuation: Float32Array  # 1 = active material
    truth: NDArray[np.uint8]


def build(geometry: Geometry, size: int, rng: np.random.Generator) -> Specimen:
    """Pack, carve, fill with binder and paint grey; the specimen's grid is wider than the image where it must be."""
    width = grid_width(geometry, size)
    shape = (size, width, width)
    margin = (width - size) // 2
    inside = -_outside(geometry, size, width, rng)
    nearest, second, owner, centres, radii = _particles(geometry, inside, size, rng)
    nearest += geometry.roughness * smooth_noise(rng, shape, 2.5)
    void = np.maximum(geometry.gap - (second - nearest), -inside)
    void = np.maximum(void, _flaws(geometry, owner, centres, radii, rng))
    crop = (slice(None), slice(margin, margin + size), slice(margin, margin + size))
    growth = _growth(nearest[crop], void[crop], geometry)
    level = np.maximum(nearest - growth, void)
    solid = np.clip(0.5 - level, 0.0, 1.0)
    grey = _grey(geometry, nearest, owner, rng)
    matrix = _matrix(geometry, nearest - growth, inside, rng)
    attenuation = (solid * grey + (1.0 - solid) * matrix).astype(np.float32)
    return Specimen(attenuation, (level[crop] < 0.0).astype(np.uint8))


def grid_width(geometry: Geometry, size: int) -> int:
    """Width M of the specimen's grid: holds the whole specimen and the whole image, and M - size is even."""
    reach = 2 * (geometry.specimen_radius + geometry.specimen_offset) * size + 6
    width = max(size + 4, int(np.ceil(reach)))
    return width + (width - size) % 2


def _outside(geometry: Geometry, size: int, width: int, rng: np.random.Generator) -> Float32Array:
    """Signed distance to the specimen's hull, (Z, M, M); positive outside."""
    z, y, x = np.meshgrid(np.arange(size), np.arange(width), np.arange(width), indexing="ij", sparse=True)
    angle, tilt = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.05, 2)
    shift = geometry.specimen_offset * size
    middle = (width - 1) / 2
    dy = y - middle - shift * np.sin(angle) - tilt[0] * (z - size / 2)
    dx = x - middle - shift * np.cos(angle) - tilt[1] * (z - size / 2)
    turn = np.arctan2(dy, dx)
    phase = rng.uniform(0, 2 * np.pi, 3)
    lobed = sum(0.012 * size * np.sin((k + 2) * turn + phase[k] + 0.02 * z) for k in range(3))
    hull = np.sqrt(dy**2 + dx**2) - geometry.specimen_radius * size - lobed
    if geometry.layer > 0:
        normal = rng.uniform(0, np.pi)
        hull = np.maximum(hull, np.abs(dy * np.cos(normal) + dx * np.sin(normal)) - geometry.layer * size / 2)
    return np.broadcast_to(hull, (size, width, width)).astype(np.float32)


def _particles(
    geometry: Geometry, inside: Float32Array, size: int, rng: np.random.Generator
) -> tuple[Float32Array, Float32Array, NDArray[np.int32], FloatArray, FloatArray]:
    """Packed distance fields and owners (Z, M, M), centres and radii (n, 3)."""
    shape = inside.shape
    margin = (shape[1] - size) // 2
    counted = np.zeros(shape, dtype=np.uint8)
    crop = (slice(None), slice(margin, margin + size), slice(margin, margin + size))
    counted[crop] = inside[crop] > 0
    draws = _radii(geometry, geometry.share * float(np.prod(shape)), rng)
    n = len(draws)
    flat = draws * geometry.aspect ** (-1 / 3)
    radii = np.stack([np.maximum(flat * geometry.aspect, 1.6), flat, flat], 1) * np.exp(rng.normal(0, 0.08, (n, 3)))
    lobes = rng.normal(0, 1.5 * geometry.lobes, (n, 5))
    pad = 0.35 * draws[:, None, None]
    candidates = rng.random((n, TRIES, 3)) * (np.array(shape) + 2 * pad) - pad
    growth = 0.5 + 0.25 * geometry.radius * geometry.share**2
    wanted = min(1.06 * geometry.share * size**3, 0.97 * float(counted.sum(dtype=np.int64)))
    fields: tuple[Float32Array, Float32Array, NDArray[np.int32], FloatArray, FloatArray] = pack(
        counted, candidates, _frames(geometry, n, rng), radii, lobes, growth, wanted
    )
    return fields


def _radii(geometry: Geometry, volume: float, rng: np.random.Generator) -> FloatArray:
    """Radii in the order of placing: large mode, small mode, and a reserve of small ones for the gaps."""
    modes = [
        (geometry.big_radius, geometry.big_share * volume),
        (geometry.radius, (1.0 - geometry.big_share) * volume),
        (0.85 * geometry.radius, 2.0 * volume),
    ]
    draws = []
    for k, (radius, need) in enumerate(modes):
        if need <= 0 or radius <= 0:
            continue
        count = int(np.clip(2 * need / (4.2 * radius**3) + 8, 8, 9000))
        some = np.clip(radius * np.exp(rng.normal(0, geometry.spread, count)), max(2.5, 0.45 * radius), 2.0 * radius)
        some = some[: int(np.searchsorted(np.cumsum(4.2 * some**3), need)) + 1]
        draws.append(some if k == 2 else np.sort(some)[::-1])
    return np.concatenate(draws)


def _frames(geometry: Geometry, n: int, rng: np.random.Generator) -> FloatArray:
    """Orthonormal axes (n, 3, 3); the first, the thin one, leans towards a common direction."""
    common = rng.normal(0, 1, 3) * np.array([0.35, 1.0, 1.0])
    common /= np.linalg.norm(common)
    first = (1 - geometry.alignment) * rng.normal(0, 1, (n, 3)) + 2.5 * geometry.alignment * common
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(first, rng.normal(0, 1, (n, 3)))
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], axis=1)


def _flaws(
    geometry: Geometry,
    owner: NDArray[np.int32],
    centres: FloatArray,
    radii: FloatArray,
    rng: np.random.Generator,
) -> Float32Array:
    """Depth inside cracks, hollow cores and inner pores; positive is void."""
    n = len(centres)
    smallest = radii.min(1)
    cracks = np.where(rng.random(n) < geometry.cracked, geometry.crack_width * rng.uniform(0.7, 1.3, n), 0.0)
    hollows = np.where(rng.random(n) < geometry.hollow, smallest * rng.uniform(0.25, 0.5, n), 0.0)
    cracks[smallest < 6] = 0.0
    hollows[smallest < 6] = 0.0
    normals = rng.normal(0, 1, (n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    waviness = 1.6 * smooth_noise(rng, owner.shape, 6.0)
    void: Float32Array = carve(owner, centres + rng.normal(0, 1.0, (n, 3)), normals, cracks, hollows, waviness)
    if geometry.micropores > 0:
        pores = smooth_noise(rng, owner.shape, geometry.micropore_size)
        cut = np.float32(np.quantile(pores[:, ::2, ::2], 1.0 - geometry.micropores))
        void = np.maximum(void, (pores - cut) * np.float32(geometry.micropore_size))
    return void


def _growth(nearest: Float32Array, void: Float32Array, geometry: Geometry) -> float:
    """By how much to grow all particles (voxels) for the wanted share of the image; bounded by what was packed."""
    free = np.sort(nearest[void < 0.0])
    wanted = min(int(geometry.share * nearest.size), free.size - 1)
    return float(np.clip(free[wanted], -40.0, 3.5 + 0.2 * geometry.radius))


def _grey(
    geometry: Geometry, nearest: Float32Array, owner: NDArray[np.int32], rng: np.random.Generator
) -> Float32Array:
    """Attenuation of the active material: by particle, from shell to core, and a texture."""
    by_particle = 1.0 + geometry.variation * rng.standard_normal(int(owner.max()) + 2, dtype=np.float32)
    grey = by_particle[owner] + geometry.texture * smooth_noise(rng, owner.shape, 3.0)
    return np.asarray(grey + geometry.shell * np.clip(-nearest / geometry.radius, 0.0, 1.0), dtype=np.float32)


def _matrix(geometry: Geometry, distance: Float32Array, inside: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Attenuation between the particles: binder near them, pores elsewhere, air outside."""
    field = smooth_noise(rng, distance.shape, 3.5) - 0.25 * np.clip(distance, 0.0, 8.0)
    pores = (distance[:, ::2, ::2] > 0) & (inside[:, ::2, ::2] > 0)
    if geometry.binder > 0 and pores.any():
        cut = np.float32(np.quantile(field[:, ::2, ::2][pores], 1.0 - geometry.binder))
        filled = np.clip(0.5 + 2.0 * (field - cut), 0.0, 1.0)
    else:
        filled = np.zeros_like(field)
    matrix = geometry.pore_grey + (geometry.binder_grey - geometry.pore_grey) * filled
    return np.asarray(matrix * np.clip(0.5 + inside, 0.0, 1.0), dtype=np.float32)
