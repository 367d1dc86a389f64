"""The simulated X-ray scan: nickel is bright, carbon and pore nearly coincide."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d, laplace

from segbench.data.fib.specimen import Specimen
from segbench.data.fields import smooth_noise
from segbench.volume import Float32


@dataclass(frozen=True)
class Scan:
    """How the specimen is scanned; greys are shares of what nickel oxide absorbs.

    Attributes:
        carbon: Grey of carbon and binder.
        pore: Grey of pores.
        variation: Of grey between particles.
        texture: Of grey in carbon, which is a mixture.
        grain: Of grey in nickel.
        refraction: How much carbon refracts, as a share of nickel: fringes show what absorption does not.
        fringe: Weight of the fringes: of the Laplacian of what is refracted, pixels^2.
        blur: Standard deviation of the point spread, pixels.
        noise: Standard deviation of the photons' noise.
        rings: Of ring artefacts, from detector pixels.
        streaks: Of streaks, from views that were measured badly.
        shading: Slow error within slices.
        drift: Of grey from slice to slice.
    """

    carbon: float = 0.36
    pore: float = 0.28
    variation: float = 0.06
    texture: float = 0.06
    grain: float = 0.05
    refraction: float = 0.35
    fringe: float = 0.35
    blur: float = 0.9
    noise: float = 0.10
    rings: float = 0.02
    streaks: float = 0.02
    shading: float = 0.05
    drift: float = 0.03


def scan(specimen: Specimen, rng: np.random.Generator, shot: np.random.Generator, settings: Scan) -> Float32:
    """Grey values (Z, Y, X); photons come from a generator of their own, so a dose changes nothing else."""
    shape = specimen.nickel.shape
    solid = np.clip(0.5 - specimen.nickel, 0, 1)
    carbon = (1 - solid) * np.clip(0.5 + specimen.pore, 0, 1)
    by_particle = settings.variation * rng.standard_normal(int(specimen.owner.max()) + 2, dtype=np.float32)
    bright = 1 - settings.pore + by_particle[specimen.owner] + settings.grain * smooth_noise(rng, shape, 1.6)
    dim = settings.carbon - settings.pore + settings.texture * smooth_noise(rng, shape, (0.8, 1.4, 1.4))
    seen = settings.pore + solid * bright + carbon * dim
    bent = gaussian_filter(solid + settings.refraction * carbon, settings.blur, truncate=3.0)
    image = gaussian_filter(seen, settings.blur, truncate=3.0)
    image -= np.float32(settings.fringe) * laplace(bent, mode="nearest")
    image += settings.noise * smooth_noise(shot, shape, 0.7)
    image += _artefacts(shape, rng, settings)
    return _drifted(image, rng, settings)


def _artefacts(shape: tuple[int, ...], rng: np.random.Generator, settings: Scan) -> Float32:
    """Rings about the axis of rotation, and streaks of badly measured views."""
    depth, height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    middle = (height * rng.uniform(0.3, 0.7), width * rng.uniform(0.3, 0.7))
    radius = np.hypot(y - middle[0], x - middle[1]).astype(np.int64)
    profiles: npt.NDArray[np.float64] = gaussian_filter1d(rng.standard_normal((depth, radius.max() + 1)), 0.7, axis=1)
    profiles /= profiles.std()
    found: npt.NDArray[np.float64] = settings.rings * profiles[:, radius]
    for _ in range(5):
        turn = rng.uniform(0, np.pi)
        along = (x * np.cos(turn) + y * np.sin(turn)).astype(np.int64)
        lines: npt.NDArray[np.float64] = gaussian_filter1d(
            rng.standard_normal((depth, int(np.ptp(along)) + 1)), 1.0, axis=1
        )
        found += settings.streaks * (lines / lines.std())[:, along - along.min()] / np.sqrt(5)
    return found.astype(np.float32)


def _drifted(image: Float32, rng: np.random.Generator, settings: Scan) -> Float32:
    """The image with its slow errors within slices, and those from slice to slice."""
    depth, height, width = image.shape
    shade = settings.shading * smooth_noise(rng, (depth, height, width), (20.0, width / 6, width / 6))
    trend: npt.NDArray[np.float64] = gaussian_filter1d(rng.standard_normal(depth), depth / 12)
    level = settings.drift * (trend / trend.std() + 0.5 * rng.standard_normal(depth))
    gain = 1 + 0.6 * settings.drift * rng.standard_normal((depth, 1, 1))
    return np.asarray(image * gain + level[:, None, None] + shade, dtype=np.float32)
