"""A simulated CT scanner: from attenuation to a reconstructed image with its artefacts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from segbench.data.fields import smooth_noise
from segbench.data.projector import project, ramp, reconstruct
from segbench.errors import InputError

Float32Array = NDArray[np.float32]

SPECTRUM = np.array([0.3, 0.4, 0.3])
"""Photon shares of the soft, middle and hard part of the beam."""


@dataclass(frozen=True)
class Scan:
    """How the specimen is scanned; greys are shares of the active material's attenuation."""

    angles: int = 180  # projections over half a turn
    absorption: float = 1.5  # line integral through a solid specimen
    noise: float = 0.25  # standard deviation of photon noise in the image (sets the photon count)
    blur: float = 0.7  # sigma of the detector's point spread, voxels
    hardening: float = 0.3  # spread of the attenuation over the spectrum: 0 monochromatic
    scatter: float = 0.03  # share of the beam that arrives everywhere
    fringe: float = 0.5  # phase contrast: weight of the Laplacian of the projection, voxels^2
    rings: float = 0.02  # gain error of detector pixels
    flux_drift: float = 0.01  # of the beam over the scan
    axial_drift: float = 0.2  # grey level along z
    axial_jitter: float = 0.02  # grey level from slice to slice
    axial_gain: float = 0.05  # contrast along z
    shading: float = 0.1  # slow grey error through the volume: scatter, truncation, detector
    coverage: float = 1.0  # detector width over specimen width; below 1 the projections are truncated
    cutoff: float = 1.1  # of the reconstruction window, in Nyquist
    wedge: float = 180.0  # degrees that the projections cover, at the step of `angles`; below 180 a wedge is missing
    grey_gain: float = 1.0  # image units per attenuation of the active material
    grey_offset: float = 0.0

    def __post_init__(self) -> None:
        if not (self.angles >= 16 and self.noise >= 0 and 0 < self.coverage <= 1 and 0 <= self.hardening < 1):
            raise InputError(f"scan out of range: {self.angles} angles, noise {self.noise}, coverage {self.coverage}")
        if not 10 <= self.wedge <= 180:
            raise InputError(f"scan out of range: wedge {self.wedge}; the projections cover 10 to 180 degrees")


def scan(
    attenuation: Float32Array,
    size: int,
    settings: Scan,
    rng: np.random.Generator,
    shot: np.random.Generator | None = None,
) -> Float32Array:
    """Scan a specimen (Z, M, M) of relative attenuation and reconstruct its centre as (Z, size, size) grey levels.

    How many numbers the photons draw depends on how many there are; with a generator `shot` of their own every other
    error stays the same when settings change.
    """
    width = attenuation.shape[1]
    bins = width if settings.coverage >= 1 else max(size, int(settings.coverage * width) // 2 * 2)
    contrast = settings.absorption / width  # attenuation of the active material per voxel
    angles = np.pi * (np.arange(settings.angles) + rng.uniform()) / settings.angles
    slices = np.ascontiguousarray(attenuation.transpose(1, 2, 0)) * np.float32(contrast)
    paths = project(slices, angles, bins)
    measured = detect(paths, contrast, settings, rng, shot)
    seen = max(1, round(settings.angles * settings.wedge / 180))
    image = reconstruct(measured[:seen], angles[:seen], size, settings.cutoff) / np.float32(contrast)
    if seen < settings.angles:
        image *= np.float32(seen / settings.angles)  # back-projection takes what it gets for half a turn
    image = drift(image.transpose(2, 0, 1), settings, rng)
    return np.ascontiguousarray(settings.grey_offset + settings.grey_gain * image, dtype=np.float32)


def transmit(paths: Float32Array, hardening: float) -> Float32Array:
    """Share of a polychromatic beam that passes a line integral; its mean attenuation is the monochromatic one."""
    if hardening == 0:
        return np.exp(-paths)
    weights = [1 + hardening, 1.0, 1 - hardening]
    return np.asarray(
        sum(np.float32(s) * np.exp(-np.float32(w) * paths) for s, w in zip(SPECTRUM, weights, strict=True)),
        dtype=np.float32,
    )


def detect(
    paths: Float32Array,
    contrast: float,
    settings: Scan,
    rng: np.random.Generator,
    shot: np.random.Generator | None = None,
) -> Float32Array:
    """What the detector makes of line integrals (A, bins, Z): measured line integrals with every error of the scan."""
    beam = transmit(paths, settings.hardening)
    if settings.fringe > 0:
        beam = beam * (1 + settings.fringe * _laplacian(paths))
    if settings.scatter > 0:
        beam = (1 - settings.scatter) * beam + settings.scatter
    if settings.blur > 0:
        beam = gaussian_filter(beam, (0, settings.blur, settings.blur), truncate=3.0)
    photons = photon_count(paths, contrast, settings)
    flux = 1 + settings.flux_drift * _wander(rng, len(beam), len(beam) / 4)[:, None, None]
    counts = (shot or rng).poisson(np.maximum(beam * flux, 1e-4) * photons).astype(np.float32)
    gain = 1 + _gain_error(rng, beam.shape[1:], settings.rings * contrast * 10)
    return np.asarray(-np.log(np.maximum(counts, 0.5) * gain / np.float32(photons)), dtype=np.float32)


def photon_count(paths: Float32Array, contrast: float, settings: Scan) -> float:
    """Photons per detector pixel for the wanted image noise, from the noise of filtered back-projection.

    Var(image) = (pi^2 / A) mean(H^2) mean(exp(p)) / photons, with H the filter and p the line integrals; the
    interpolation between bins keeps about two thirds of it.
    """
    if settings.noise == 0:
        return 1e9
    response = ramp(512, settings.cutoff)
    variance = np.pi**2 / settings.angles * float(np.mean(response**2)) * float(np.exp(paths).mean()) * 0.67
    return float(np.clip(variance / (settings.noise * contrast) ** 2, 5.0, 1e9))


def drift(image: Float32Array, settings: Scan, rng: np.random.Generator) -> Float32Array:
    """Grey drift of an image (Z, Y, X): along z, from slice to slice, and slowly through the whole volume."""
    depth, height, width = image.shape
    level = settings.axial_drift * _trend(rng, depth) + settings.axial_jitter * rng.standard_normal(depth)
    gain = 1 + settings.axial_gain * _trend(rng, depth)
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    a, b, c = rng.normal(0, 0.4, 3)
    shade = a * x + b * y + c * (x**2 + y**2 - 0.67) + 0.8 * smooth_noise(rng, image.shape, width / 5)
    shifted = image * gain[:, None, None] + level[:, None, None] + settings.shading * shade
    return np.asarray(shifted, dtype=np.float32)


def _laplacian(paths: Float32Array) -> Float32Array:
    """Laplacian over bins and z of (A, bins, Z), edges continued."""
    padded = np.pad(paths, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return np.asarray(around - 4 * paths, dtype=np.float32)


def _gain_error(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> Float32Array:
    """Relative gain error (bins, Z) left by the flat field: pixels, short stripes along z, a few bad columns."""
    pixels = rng.standard_normal(shape, dtype=np.float32)
    stripes = 3.0 * gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (0.4, 4.0))
    bad = 2.5 * (rng.random((shape[0], 1)) < 0.05) * rng.standard_normal((shape[0], 1))
    return np.asarray(strength * (0.35 * pixels + 0.7 * stripes + 0.8 * bad), dtype=np.float32)


def _wander(rng: np.random.Generator, n: int, sigma: float) -> NDArray[np.float64]:
    """Smooth random curve of unit standard deviation."""
    curve = gaussian_filter1d(rng.standard_normal(3 * n), sigma, mode="wrap")
    return np.asarray((curve / curve.std())[n : 2 * n])


def _trend(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Smooth random curve over n points, zero mean and unit standard deviation, with a clear slope."""
    x = np.linspace(-1, 1, n)
    curve = (
        rng.choice([-1.0, 1.0]) * x
        + rng.normal(0, 0.4) * (x**2)
        + 0.35 * np.sin(rng.uniform(2, 5) * x + rng.uniform(0, 6))
    )
    return np.asarray((curve - curve.mean()) / curve.std())
