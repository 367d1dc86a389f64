"""Crops, symmetries of the cube and changes of grey values: pure functions of a generator."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import zoom

from segbench.recipe import Strict
from segbench.volume import Float32, UInt8


class Augmentation(Strict):
    """What is varied; every strength is the half-width or the standard deviation in units of the normalised image.

    Attributes:
        symmetries: Draw one of the 48 symmetries of the cube.
        shift: Uniform shift of all grey values.
        contrast: Uniform relative change of contrast.
        gamma: Uniform exponent change on the range of the crop.
        field: Standard deviation of a slowly varying additive field.
        noise: Upper limit of the standard deviation of white noise.
    """

    symmetries: bool = True
    shift: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    field: float = 0.0
    noise: float = 0.0


def crop(image: Float32, label: UInt8, edge: int, rng: np.random.Generator) -> tuple[Float32, UInt8]:
    """A random cube of the given edge from an image and its label (Z, Y, X)."""
    start = [int(rng.integers(0, n - edge + 1)) for n in image.shape]
    cube = tuple(slice(a, a + edge) for a in start)
    return image[cube], label[cube]


def augment(image: Float32, label: UInt8, how: Augmentation, rng: np.random.Generator) -> tuple[Float32, UInt8]:
    """One varied copy of a normalised cube and its label; the label only turns with the image."""
    if how.symmetries:
        axes = tuple(int(a) for a in rng.permutation(3))
        flips = tuple(slice(None, None, int(s)) for s in rng.choice([-1, 1], size=3))
        image, label = image.transpose(axes)[flips], label.transpose(axes)[flips]
    grey: npt.NDArray[np.floating] = np.array(image, dtype=np.float32)
    if how.gamma:
        low, high = float(grey.min()), float(grey.max())
        unit = (grey - low) / max(high - low, 1e-6)
        grey = unit ** np.float32(1 + rng.uniform(-how.gamma, how.gamma)) * (high - low) + low
    if how.contrast or how.shift:
        grey = grey * (1 + rng.uniform(-how.contrast, how.contrast)) + rng.uniform(-how.shift, how.shift)
    if how.field:
        coarse = rng.standard_normal((3, 3, 3)) * how.field * rng.uniform()
        grey = grey + zoom(coarse, [n / 3 for n in grey.shape], order=1, mode="nearest", grid_mode=True)
    if how.noise:
        grey = grey + rng.standard_normal(grey.shape, dtype=np.float32) * np.float32(how.noise * rng.uniform())
    return np.ascontiguousarray(grey, dtype=np.float32), np.ascontiguousarray(label)
