"""The simulated X-ray scan: glass is bright, and its fringes make the matrix beside it as dark as small pores."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from segbench.data.fibre.specimen import Specimen
from segbench.data.fields import smooth_noise
from segbench.volume import Float32


@dataclass(frozen=True)
class Scan:
    """How the specimen is scanned; greys are 0 to 255, lengths voxels.

    Attributes:
        matrix: Grey of the polymer.
        fibre: Of glass.
        pore: Of pores.
        texture: Deviation of the polymer's grey from place to place.
        blur: Standard deviation of the point spread.
        fringe: Weight of phase contrast: of what a wider point spread takes away.
        fringe_width: Standard deviation of that wider one.
        streak: Darkness beside long fibres along Y, where many rays run through glass.
        streak_length: Standard deviation of a streak along Y.
        noise: Standard deviation of the photons' noise.
        rings: Of ring artefacts, from detector pixels; stronger towards the axis of rotation.
        cupping: How much darker the middle is than the corners, as a share, from beam hardening.
    """

    matrix: float = 85.0
    fibre: float = 190.0
    pore: float = 32.0
    texture: float = 2.0
    blur: float = 1.0
    fringe: float = 1.0
    fringe_width: float = 2.6
    streak: float = 45.0
    streak_length: float = 14.0
    noise: float = 6.0
    rings: float = 7.0
    cupping: float = 0.08


def scan(specimen: Specimen, rng: np.random.Generator, shot: np.random.Generator, settings: Scan) -> Float32:
    """Grey values (Z, Y, X), whole numbers 0 to 255; photons come from a generator of their own."""
    shape = specimen.fibre.shape
    glass = np.clip(0.5 - specimen.fibre, 0, 1)
    seen = np.clip(0.5 - specimen.pore, 0, 1)
    seen *= (settings.pore - settings.matrix) * (1 - glass)
    seen += (settings.fibre - settings.matrix) * glass
    # along Y only what lies beside the glass itself is darkened
    beside = gaussian_filter1d(glass, settings.streak_length, axis=1, mode="nearest", truncate=2.5)
    beside *= 1 - glass
    image = gaussian_filter(seen, settings.blur, truncate=3.0)
    wide = gaussian_filter(seen, settings.fringe_width, truncate=3.0)
    image *= 1 + settings.fringe
    image -= settings.fringe * wide
    image -= settings.streak * gaussian_filter(beside, settings.blur, truncate=2.0)
    image += settings.matrix + settings.texture * smooth_noise(rng, shape, 3.0)
    _artefacts(image, rng, settings)
    image += settings.noise * smooth_noise(shot, shape, 0.6)
    return np.clip(np.rint(image), 0, 255, out=image)


def _artefacts(image: Float32, rng: np.random.Generator, settings: Scan) -> None:
    """Cupping, and rings about the axis of rotation, added in place."""
    depth, height, width = image.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    middle = (height * rng.uniform(0.4, 0.6), width * rng.uniform(0.4, 0.6))
    radius = np.hypot(y - middle[0], x - middle[1])
    profiles: npt.NDArray[np.float64] = rng.standard_normal((depth, int(radius.max()) + 2))
    # a detector pixel's error lasts a few rows of the detector, which are the layers
    profiles = gaussian_filter1d(gaussian_filter1d(profiles, 0.7, axis=1), 1.2, axis=0)
    profiles *= settings.rings / profiles.std() / np.sqrt(0.3 + np.arange(profiles.shape[1]) / 60)
    share = (radius / radius.max()) ** 2
    cup = (1 + settings.cupping * (share - 0.5)).astype(np.float32)
    inner = radius.astype(np.int64)
    part = (radius - inner).astype(np.float32)
    for z, profile in enumerate(profiles.astype(np.float32)):
        image[z] *= cup
        image[z] += profile[inner] * (1 - part) + profile[inner + 1] * part
