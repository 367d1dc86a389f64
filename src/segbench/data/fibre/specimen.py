"""The simulated composite: glass fibres about a main direction, in bundles and alone, and pores beside them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segbench.data.fibre.drawing import FAR, draw_fibre, draw_pore, fits
from segbench.data.fields import smooth_noise
from segbench.volume import Float32, UInt8

MATRIX, FIBRE, POROSITY = range(3)
Shape = tuple[int, int, int]
Vector = npt.NDArray[np.float64]

NODE = 8.0
"""Length of a fibre's straight pieces, voxels."""
TRIES = 60_000
"""Fibres tried at most; the share is reached long before."""
EDGE = 6
"""Voxels that are made around a specimen and cut off: fibres outside of what is drawn are not kept apart."""


@dataclass(frozen=True)
class Composite:
    """What a specimen is made of; lengths in voxels, angles in degrees.

    Attributes:
        fibre: Share of the volume that is glass.
        porosity: Share that is pore.
        radius: Of a fibre, and its spread as a share.
        length: Middle of the lengths, and the deviation of their logarithm.
        skin: Angle between fibres and Z away from the middle of X, where they lie towards Y.
        core: The same angle in the middle of X, where the melt froze last.
        core_width: Half the width of that part, as a share of the width.
        azimuth: Turns the direction that fibres lie towards from Y to X.
        spread: Deviation of a fibre from the main direction.
        bent: Share of fibres that are bent.
        bend: How far the middle of a bent one lies off at most, as a share of its length.
        bundled: Share of fibres that are tried beside another one, about parallel to it.
        contact: How far two fibres may reach into each other, in steps of a voxel.
        pore_radius: Middle of the radii, and the deviation of their logarithm.
        at_ends: Share of pores at the end of a fibre.
        beside: Share of pores beside a fibre; the others lie anywhere.
        lobes: How irregular pores are.
        roughness: Of the surfaces of pores.
    """

    fibre: float = 0.17
    porosity: float = 0.004
    radius: tuple[float, float] = (4.6, 0.07)
    length: tuple[float, float] = (85.0, 0.45)
    skin: float = 72.0
    core: float = 22.0
    core_width: float = 0.14
    azimuth: float = 0.0
    spread: float = 11.0
    bent: float = 0.25
    bend: float = 0.07
    bundled: float = 0.55
    contact: float = 0.4
    pore_radius: tuple[float, float] = (2.8, 0.35)
    at_ends: float = 0.35
    beside: float = 0.50
    lobes: float = 0.35
    roughness: float = 0.45


@dataclass(frozen=True, eq=False)
class Specimen:
    """Where the phases are, as signed distances in voxels; each (Z, Y, X).

    Attributes:
        fibre: Negative in fibres.
        pore: Negative in pores, where it is not fibre.
    """

    fibre: Float32
    pore: Float32

    @property
    def truth(self) -> UInt8:
        """Phases (Z, Y, X)."""
        found = np.zeros(self.fibre.shape, dtype=np.uint8)
        found[self.pore < 0] = POROSITY
        found[self.fibre < 0] = FIBRE
        return found


@dataclass(frozen=True, eq=False)
class One:
    """A fibre: the line through its `nodes` (n, 3), its direction (3,) and its radius."""

    nodes: Vector
    direction: Vector
    radius: float


def build(shape: Shape, rng: np.random.Generator, made_of: Composite) -> Specimen:
    """A specimen of `shape` with the shares that it is made of."""
    fibre = np.full([n + 2 * EDGE for n in shape], FAR, dtype=np.float32)
    placed = _fibres(fibre, rng, made_of)
    pore = np.full(fibre.shape, FAR, dtype=np.float32)
    _pores(pore, fibre, placed, rng, made_of)
    inner = (slice(EDGE, -EDGE),) * 3
    fibre, pore = np.ascontiguousarray(fibre[inner]), np.ascontiguousarray(pore[inner])
    near = pore < 2.0
    pore[near] += made_of.roughness * smooth_noise(rng, shape, 1.2)[near]
    return Specimen(fibre, pore)


def _fibres(field: Float32, rng: np.random.Generator, made_of: Composite) -> list[One]:
    """Draws fibres until they have their share."""
    wanted = made_of.fibre * _inside(field)
    placed: list[One] = []
    for _ in range(TRIES):
        if wanted <= 0:
            break
        one = _candidate(field.shape, placed, rng, made_of)
        if fits(field, one.nodes, one.radius - made_of.contact):
            wanted -= draw_fibre(field, one.nodes, one.radius, EDGE)
            placed.append(one)
    return placed


def _candidate(shape: Shape, placed: list[One], rng: np.random.Generator, made_of: Composite) -> One:
    """A fibre somewhere, or beside one that is placed."""
    radius = made_of.radius[0] * float(np.exp(np.clip(rng.normal(0, made_of.radius[1]), -0.2, 0.2)))
    length = made_of.length[0] * float(np.exp(np.clip(rng.normal(0, made_of.length[1]), -1.2, 0.8)))
    if placed and rng.random() < made_of.bundled:
        other = placed[int(rng.integers(len(placed)))]
        direction = _unit(other.direction + 0.04 * rng.standard_normal(3))
        beside = _across(other.direction, rng) * (other.radius + radius + abs(rng.normal(0, 0.8)))
        centre = other.nodes[int(rng.integers(len(other.nodes)))] + beside
    else:
        centre = rng.random(3) * (np.array(shape) + length) - length / 2
        direction = _direction(centre[2] / shape[2], rng, made_of)
    off = made_of.bend * length * rng.random() if rng.random() < made_of.bent else 0.0
    at = np.linspace(-0.5, 0.5, max(2, round(length / NODE)) + 1)[:, None]
    nodes = centre + at * length * direction + off * (1 - 4 * at**2) * _across(direction, rng)
    return One(nodes, direction, radius)


def _direction(x: float, rng: np.random.Generator, made_of: Composite) -> Vector:
    """Of a fibre at a share `x` of the width."""
    away = 1 / (1 + np.exp((made_of.core_width - abs(x - 0.5)) / 0.02))
    angle = np.radians(made_of.core + (made_of.skin - made_of.core) * away)
    turn = np.radians(made_of.azimuth)
    main = np.array([np.cos(angle), np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn)])
    return _unit(main + np.radians(made_of.spread) * rng.standard_normal(3))


def _pores(field: Float32, fibre: Float32, placed: list[One], rng: np.random.Generator, made_of: Composite) -> None:
    """Draws pores until they have their share."""
    wanted = made_of.porosity * _inside(field)
    # fibres go on outside: a pore has to be at a part that is here, or the share beside fibres would be less
    here = [(one, n) for one in placed for n, at in enumerate(one.nodes) if ((at >= 0) & (at < field.shape)).all()]
    ends = [(one, n) for one, n in here if n in (0, len(one.nodes) - 1)]
    for _ in range(TRIES):
        if wanted <= 0 or not ends:
            break
        size = made_of.pore_radius[0] * float(np.exp(np.clip(rng.normal(0, made_of.pore_radius[1]), -0.8, 0.8)))
        kind = rng.random()
        spots = ends if kind < made_of.at_ends else here
        one, n = spots[int(rng.integers(len(spots)))]
        long = 1.0
        if kind < made_of.at_ends:
            centre = one.nodes[n] + (0.5 if n else -0.5) * size * one.direction
        elif kind < made_of.at_ends + made_of.beside:
            long = rng.uniform(1.0, 2.2)
            centre = one.nodes[n] + _across(one.direction, rng) * (one.radius + 0.5 * size)
        else:
            centre = rng.random(3) * field.shape
        first = _across(one.direction, rng)
        frame = np.stack([one.direction, first, np.cross(one.direction, first)])
        radii = size * np.exp(rng.normal(0, 0.15, 3)) * (long, 1 / np.sqrt(long), 1.0)
        wanted -= draw_pore(field, fibre, centre, frame, radii, rng.normal(0, made_of.lobes, 5), EDGE)


def _inside(field: Float32) -> int:
    """Voxels that are not cut off."""
    return int(np.prod([n - 2 * EDGE for n in field.shape]))


def _unit(vector: Vector) -> Vector:
    return vector / float(np.linalg.norm(vector))


def _across(direction: Vector, rng: np.random.Generator) -> Vector:
    """Any unit vector that is perpendicular to `direction`."""
    return _unit(np.cross(direction, rng.standard_normal(3)))
