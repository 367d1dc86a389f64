"""The simulated electrode: packed nickel-oxide particles, carbon and binder that bridge them, pores between."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from segbench.data.fields import smooth_noise
from segbench.data.packing import carve, pack
from segbench.volume import Float32, UInt8

Shape = tuple[int, int, int]
PORE, CARBON, NICKEL = range(3)
TRIES = 24
"""Candidate centres of each particle."""
EVEN = 6.0
"""Standard deviation in slices over which shares are the same."""


@dataclass(frozen=True)
class Electrode:
    """What the specimen is made of; lengths in pixels of a slice.

    Attributes:
        nickel: Share of the particles, their cracks left out.
        pore: Share of pores, those in the particles included.
        flattening: Pixels of a slice between two slices: lengths along Z are shorter by it.
        radii: Medians of the large and of the small particles.
        large: Share of the particles' volume that is in large ones.
        spread: Of log radius.
        lobes: Bends of the surfaces, relative to the radius.
        roughness: Of the surfaces.
        gap: Least distance between two particles.
        cracked: Share of particles with a crack.
        crack_width: Of a crack.
        porous: Share of the particles' volume that is inner pores.
        inner: Correlation length of inner pores.
        between: Correlation length of the pores between particles.
        bridging: By how much carbon keeps to the necks between particles.
        binding: By how much it keeps to their surfaces.
    """

    nickel: float = 0.60
    pore: float = 0.14
    flattening: float = 1.6
    radii: tuple[float, float] = (22.0, 14.0)
    large: float = 0.65
    spread: float = 0.22
    lobes: float = 0.10
    roughness: float = 0.6
    gap: float = 2.4
    cracked: float = 0.25
    crack_width: float = 2.6
    porous: float = 0.02
    inner: float = 2.4
    between: float = 6.0
    bridging: float = 0.06
    binding: float = 0.0


@dataclass(frozen=True, eq=False)
class Specimen:
    """Where the phases are, as signed distances in pixels, about 1 a pixel steep near their zeros; each (Z, Y, X).

    Attributes:
        nickel: Negative in nickel.
        pore: Negative in pores, where it is not nickel.
        owner: Index of the nearest particle.
    """

    nickel: Float32
    pore: Float32
    owner: npt.NDArray[np.int32]

    @property
    def truth(self) -> UInt8:
        """Phases (Z, Y, X)."""
        return phases(self.nickel, self.pore)


def phases(nickel: Float32, pore: Float32) -> UInt8:
    """Phases of two signed distances."""
    return np.where(nickel < 0, NICKEL, np.where(pore < 0, PORE, CARBON)).astype(np.uint8)


def build(shape: Shape, rng: np.random.Generator, made_of: Electrode) -> Specimen:
    """A specimen of `shape` with the shares that it is made of."""
    nearest, second, owner, centres, radii = _particles(shape, rng, made_of)
    thin = made_of.flattening
    nearest += made_of.roughness * smooth_noise(rng, shape, (2.5 / thin, 2.5, 2.5))
    flaws = _flaws(shape, owner, centres, radii, rng, made_of)
    apart = made_of.gap - (second - nearest)
    growth = _levels(nearest, (apart < 0) & (flaws < 0), np.full(shape[0], made_of.nickel * shape[1] * shape[2]))
    outside = np.maximum(nearest - growth, apart)
    nickel = np.maximum(outside, flaws)
    # pores keep away from surfaces and necks, which binder holds together
    length = made_of.between
    open_ = smooth_noise(rng, shape, (length / thin, length, length))
    open_ += made_of.bridging * np.clip(second - growth, 0, 12) + made_of.binding * np.clip(nearest - growth, 0, 4)
    inside_flaw = (flaws > 0) & (outside < 0)
    wanted = made_of.pore * shape[1] * shape[2] - np.count_nonzero(inside_flaw, axis=(1, 2))
    cut = _levels(-open_, (nickel > 0) & ~inside_flaw, wanted)
    pore = np.minimum((-open_ - cut) * np.float32(length), np.maximum(-flaws, outside))
    return Specimen(nickel.astype(np.float32), pore.astype(np.float32), owner)


def _levels(field: Float32, where: npt.NDArray[np.bool_], counts: npt.NDArray[np.float64]) -> Float32:
    """Levels (Z, 1, 1), smooth along Z, below which `counts` pixels of each slice lie about, and their sum together.

    An electrode is as dense at one end as at the other; a window of its size would not be by chance.
    """
    each = [_level(plane[there], count) for plane, there, count in zip(field, where, counts, strict=True)]
    smooth = gaussian_filter1d(np.array(each), EVEN, mode="nearest")[:, None, None]
    found: Float32 = smooth + _level((field - smooth)[where], counts.sum())
    return found


def _level(values: Float32, count: float) -> np.float32:
    """The value below which `count` of the values lie, or all where there are fewer."""
    at = int(np.clip(count, 1, values.size)) - 1
    return np.float32(np.partition(values, at)[at])


def _particles(
    shape: Shape, rng: np.random.Generator, made_of: Electrode
) -> tuple[Float32, Float32, npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Packed distance fields and owners (Z, Y, X), centres and radii (n, 3)."""
    thin, volume = made_of.flattening, float(np.prod(shape))
    sizes = []
    shares = ((made_of.large, made_of.radii[0]), (1 - made_of.large, made_of.radii[1]), (2.0, 0.8 * made_of.radii[1]))
    for share, radius in shares:
        one = 4.2 * radius**3 / thin
        count = int(1.3 * share * made_of.nickel * volume / one) + 8
        sizes.append(radius * np.exp(np.clip(rng.normal(0, made_of.spread, count), -0.6, 0.6)))
    draws = np.concatenate(sizes)
    n = len(draws)
    radii = draws[:, None] * np.exp(rng.normal(0, 0.12, (n, 3))) / (thin, 1, 1)
    turn = rng.uniform(0, np.pi, n)
    frames = np.zeros((n, 3, 3))
    frames[:, 0, 0] = 1
    frames[:, 1, 1] = frames[:, 2, 2] = np.cos(turn)
    frames[:, 1, 2], frames[:, 2, 1] = np.sin(turn), -np.sin(turn)
    pad = 0.4 * draws[:, None, None] / (thin, 1, 1)
    candidates = rng.random((n, TRIES, 3)) * (np.array(shape) + 2 * pad) - pad
    lobes = rng.normal(0, 1.5 * made_of.lobes, (n, 5))
    counted = np.ones(shape, dtype=np.uint8)
    return pack(  # type: ignore[no-any-return]
        counted, candidates, frames, radii, lobes, 2.0, 1.02 * made_of.nickel * volume
    )


def _flaws(
    shape: Shape,
    owner: npt.NDArray[np.int32],
    centres: npt.NDArray[np.float64],
    radii: npt.NDArray[np.float64],
    rng: np.random.Generator,
    made_of: Electrode,
) -> Float32:
    """Depth inside cracks and inner pores (Z, Y, X); positive is void."""
    n, thin = len(centres), made_of.flattening
    cracks = np.where(rng.random(n) < made_of.cracked, made_of.crack_width * rng.uniform(0.6, 1.4, n), 0.0)
    normals = rng.normal(0, 1, (n, 3)) * (0.4, 1, 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    waviness = 2.0 * smooth_noise(rng, shape, (6.0 / thin, 6.0, 6.0))
    void: Float32 = carve(owner, centres, normals, cracks, np.zeros(n), waviness)
    length = made_of.inner
    pores = smooth_noise(rng, shape, (length / thin, length, length))
    # some particles are porous, most are dense
    kind = rng.normal(0, 0.9, n + 1).astype(np.float32)
    pores += kind[owner]
    cut = _level(-pores[::2, ::2, ::2].ravel(), made_of.porous * pores[::2, ::2, ::2].size)
    found: Float32 = np.maximum(void, (pores + cut) * np.float32(length))
    return found
