"""A second simulator, for validation only: other geometry, other physics, never trained on.

Validation on the training simulator cannot choose a checkpoint: its scores rise while those of real scans fall. So
phantoms share no code with it. Geometry is a tessellation, a random field or overlapping grains, or a given phase map
(the labels of a real scan); the image is made in image space from a blur, coloured noise, rings, haze and a missing
wedge in Fourier space, where the training simulator projects and reconstructs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from segbench.volume import Float32, UInt8

PHANTOM_VERSION = 1
"""Bumped whenever an array would change."""

Bool = NDArray[np.bool_]
Owners = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Phantom:
    """An image (Z, Y, X) in arbitrary grey values and its true phases."""

    name: str
    image: Float32
    truth: UInt8


def phantom(number: int, size: int = 64) -> Phantom:
    """Phantom `number`: the same for the same arguments."""
    rng = np.random.default_rng([number, size, 0x5EC0])
    kinds = (_cells, _field, _grains)
    kind = kinds[number % len(kinds)]
    solid, owner = kind(size, rng)
    return Phantom(f"{kind.__name__.strip('_')}-{number}", image_of(solid, owner, rng), solid.astype(np.uint8))


def image_of(solid: Bool, owner: Owners, rng: np.random.Generator) -> Float32:
    """A grey image of a phase map; `owner` numbers the grains, which differ in brightness."""
    shape, u = solid.shape, rng.uniform
    pore = u(0.0, 0.25)
    by_grain = 1 + u(0.0, 0.15) * rng.standard_normal(int(owner.max()) + 1)
    matter = by_grain[owner] + u(0.0, 0.1) * _smooth(shape, u(1.0, 4.0), rng)
    binder = pore + (u(0.0, 0.5) * (1 - pore) if rng.random() < 0.7 else 0.0)
    filled = _smooth(shape, u(2.0, 6.0), rng) > u(-0.7, 1.5)
    grey = np.where(solid, matter, np.where(filled, binder, pore))
    sharpness = float(np.exp(u(np.log(0.5), np.log(2.5))))
    grey = gaussian_filter(grey, sharpness, mode="nearest")
    grey = grey + u(0.0, 0.15) * _smooth(shape, max(shape) / 4, rng) + u(0.02, 0.2) * _coloured(shape, rng)
    if rng.random() < 0.5:
        grey = grey + u(0.0, 0.06) * _rings(shape, rng)
    if rng.random() < 0.3:
        grey = _without_wedge(grey, u(10.0, 35.0))
    return np.asarray(rng.normal() + 10 ** u(-2, 4) * grey, dtype=np.float32)


def _grid(size: int) -> NDArray[np.float64]:
    return np.stack(np.meshgrid(*[np.arange(size, dtype=np.float64)] * 3, indexing="ij"), axis=-1)


def _cells(size: int, rng: np.random.Generator) -> tuple[Bool, Owners]:
    """Cells of a tessellation, apart from each other by a gap that depends on the cell; some are empty."""
    count = int(np.exp(rng.uniform(np.log(15), np.log(500))))
    stretch = np.exp(rng.normal(0, 0.3, 3))
    points = _grid(size) * stretch
    tree = KDTree(rng.uniform(-8, size + 8, (count, 3)) * stretch)
    distance, owner = (np.asarray(a) for a in tree.query(points, k=2))
    near = owner[..., 0]
    gap = rng.uniform(0.0, 0.2) * (size / count ** (1 / 3)) * rng.uniform(0.5, 1.5, count) + 0.5
    there = rng.random(count) < rng.uniform(0.5, 1.0)
    solid = (distance[..., 1] - distance[..., 0] > gap[near]) & there[near]
    return np.asarray(solid), np.asarray(near)


def _field(size: int, rng: np.random.Generator) -> tuple[Bool, Owners]:
    """Excursion set of a Gaussian random field: a sponge without grains."""
    field = _smooth((size,) * 3, rng.uniform(2.5, 8.0), rng)
    return field > rng.uniform(-0.8, 0.8), np.zeros((size,) * 3, dtype=np.int64)


def _grains(size: int, rng: np.random.Generator) -> tuple[Bool, Owners]:
    """Ellipsoids that may overlap (a Boolean model), numbered by the one that reaches deepest."""
    radius = float(np.exp(rng.uniform(np.log(4), np.log(20))))
    count = int(np.clip(rng.uniform(0.4, 1.6) * size**3 / (4.2 * radius**3), 4, 400))
    best = np.full((size,) * 3, -np.inf)
    owner = np.zeros((size,) * 3, dtype=np.int64)
    axes = np.arange(size, dtype=np.float64)
    for number in range(count):
        centre = rng.uniform(-radius / 2, size + radius / 2, 3)
        radii = radius * np.exp(rng.normal(0, 0.3, 3))
        z, y, x = (((axes - c) / r) ** 2 for c, r in zip(centre, radii, strict=True))
        depth = 1 - (z[:, None, None] + y[:, None] + x)
        deeper = depth > best
        owner[deeper] = number
        best[deeper] = depth[deeper]
    return best > 0, owner


def _smooth(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> NDArray[np.float64]:
    noise = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())


def _coloured(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise whose power falls with frequency as f^-p, p from 0 (white) to 1.5; unit variance."""
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*(fft.fftfreq(n) for n in shape), indexing="ij")))
    frequency.flat[0] = 1.0
    spectrum: Any = fft.fftn(rng.standard_normal(shape)) * frequency ** (-0.5 * rng.uniform(0, 1.5))
    noise = fft.ifftn(spectrum).real
    return np.asarray((noise - noise.mean()) / noise.std())


def _rings(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Concentric rings around an axis along Z that need not lie in view."""
    cy, cx = rng.uniform(-0.5, 1.5, 2) * shape[1:]
    y, x = np.ogrid[: shape[1], : shape[2]]
    radius = np.hypot(y - cy, x - cx)
    profile = gaussian_filter(rng.standard_normal(int(radius.max()) + 2), rng.uniform(0.4, 1.2))
    profile /= profile.std()
    return np.broadcast_to(profile[radius.astype(int)], shape)


def _without_wedge(image: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """The image less a double wedge of `degrees` in the (Y, X) plane of its spectrum."""
    _, height, width = image.shape
    fy, fx = fft.fftfreq(height)[:, None], fft.fftfreq(width)[None]
    missing = np.abs(np.degrees(np.arctan2(np.abs(fy), np.abs(fx)))) < degrees / 2
    missing[0, 0] = False
    spectrum: Any = np.where(missing, 0.15, 1.0) * fft.fft2(image, axes=(1, 2))
    return np.asarray(fft.ifft2(spectrum, axes=(1, 2)).real)
