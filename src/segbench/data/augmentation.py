"""Crops, scales, symmetries and changes of grey values: pure functions of a generator."""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.ndimage import gaussian_filter, zoom

from segbench.recipe import Strict
from segbench.volume import Float32, UInt8

Shape = tuple[int, int, int]
GREY = ("blur", "shift", "contrast", "gamma", "field", "noise")


class Augmentation(Strict):
    """What is varied; grey strengths are half-widths or standard deviations in units of the normalised image.

    Attributes:
        symmetries: Draw one of the 48 symmetries of the cube; "flips": one of the eight that keep its axes; "planar":
            one of the sixteen that keep Z.
        scales: Voxels are made this many times finer, log-uniform from the first to the second; 1 as they are.
        scaled: Share of the crops whose scale is drawn; the others keep their voxels.
        convention: Where voxels are made finer, a boundary is drawn at 0.5 - convention to 0.5 of the blurred truth:
            annotators of unsharp scans take a bit of the halo and fill gaps below the resolution. Of two classes only.
        flat: Share of the crops that are one slice, to be repeated along Z: so single slices look to a 3-D network.
        plain: Share of the crops that are no more than turned and scaled; what follows is of the others.
        blur: Upper limit of an unsharpness, sigma in voxels of the scan before its scale.
        shift: Uniform shift of all grey values.
        contrast: Uniform relative change of contrast.
        gamma: Uniform exponent change on the range of the crop.
        field: Standard deviation of a slowly varying additive field.
        noise: Upper limit of the standard deviation of noise.
        grain: Upper limit of the noise's correlation length in voxels; 0 is white noise.
    """

    symmetries: bool | Literal["flips", "planar"] = True
    scales: tuple[float, float] = (1.0, 1.0)
    scaled: float = Field(default=0.0, ge=0, le=1)
    convention: float = Field(default=0.0, ge=0, lt=0.5)
    flat: float = Field(default=0.0, ge=0, le=1)
    plain: float = Field(default=0.0, ge=0, le=1)
    blur: float = Field(default=0.0, ge=0)
    shift: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    field: float = 0.0
    noise: float = 0.0
    grain: float = Field(default=0.0, ge=0)

    def drawn(self, rng: np.random.Generator) -> "Augmentation":
        """Of one crop: itself, or without what changes grey values."""
        if not self.plain or rng.random() >= self.plain:
            return self
        return self.model_copy(update=dict.fromkeys(GREY, 0.0))


def crop(
    image: Float32,
    label: UInt8,
    shape: Shape,
    how: Augmentation,
    rng: np.random.Generator,
    around: Shape | None = None,
) -> tuple[Float32, UInt8]:
    """A random box of an image and its label (Z, Y, X), turned and scaled; of the wanted shape, or one slice of it.

    The box holds the voxel `around`, if there is one, at any place inside alike.
    """
    axes: tuple[int, ...] = (0, 1, 2)
    if how.symmetries is True:
        axes = tuple(int(a) for a in rng.permutation(3))
    elif how.symmetries == "planar":
        axes = (0, 1, 2) if rng.random() < 0.5 else (0, 2, 1)
    flips = tuple(slice(None, None, int(s)) for s in (rng.choice([-1, 1], size=3) if how.symmetries else (1, 1, 1)))
    image, label = image.transpose(axes)[flips], label.transpose(axes)[flips]
    if around is not None:
        moved = [around[axis] for axis in axes]
        z, y, x = (n - 1 - p if f.step < 0 else p for p, n, f in zip(moved, image.shape, flips, strict=True))
        around = (z, y, x)
    flat = rng.random() < how.flat
    scale = float(np.exp(rng.uniform(*np.log(how.scales)))) if rng.random() < how.scaled else 1.0
    wanted = (1, *shape[1:]) if flat else shape
    scale = max(scale, *(edge / n for edge, n in zip(wanted, image.shape, strict=True)))  # the box fits the volume
    taken = [1 if edge == 1 else math.ceil(edge / scale) for edge in wanted]
    first, last = [0, 0, 0], [n - t for n, t in zip(image.shape, taken, strict=True)]
    if around is not None:
        first = [max(0, p - t + 1) for p, t in zip(around, taken, strict=True)]
        last = [min(limit, p) for limit, p in zip(last, around, strict=True)]
    start = [int(rng.integers(a, b + 1)) for a, b in zip(first, last, strict=True)]
    box = tuple(slice(a, a + t) for a, t in zip(start, taken, strict=True))
    return _rescale(image[box], label[box], wanted, scale, how, rng)


def _rescale(
    image: Float32, label: UInt8, shape: Shape, scale: float, how: Augmentation, rng: np.random.Generator
) -> tuple[Float32, UInt8]:
    blur = rng.uniform(0, how.blur)
    sigma = math.hypot(blur, 0.5 / scale if scale < 1 else 0.0)  # coarser voxels average over their width
    along = [sigma if n > 1 else 0.0 for n in image.shape]
    if sigma > 0.1:
        image = gaussian_filter(image, along, mode="nearest", truncate=3.0)
    if scale == 1:
        return image, label
    values = np.unique(label)
    if values[-1] > 1:
        shares = [_shared((label == value).astype(np.float32), shape, scale) for value in values]
        return _zoomed(image, shape), values[np.argmax(shares, axis=0)]
    image, share = _zoomed(image, shape), _shared(label.astype(np.float32), shape, scale)
    level = 0.5
    if scale > 1 and how.convention:
        level -= rng.uniform(0, how.convention)
        share = gaussian_filter(share, [0.5 * scale if n > 1 else 0.0 for n in shape], mode="nearest", truncate=3.0)
    return image, (share > level).astype(np.uint8)


def _shared(share: Float32, shape: Shape, scale: float) -> Float32:
    """How much of each new voxel a class has."""
    if scale < 1:
        share = gaussian_filter(share, [0.3 / scale if n > 1 else 0.0 for n in share.shape], mode="nearest")
    return _zoomed(share, shape)


def _zoomed(values: Float32, shape: Shape) -> Float32:
    factors = [edge / n for edge, n in zip(shape, values.shape, strict=True)]
    found: Float32 = zoom(values, factors, order=1, mode="nearest", grid_mode=True)
    return found


def augment(image: Float32, how: Augmentation, rng: np.random.Generator) -> Float32:
    """A copy of a normalised box with other grey values."""
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
        grey = grey + _noise(grey.shape, how, rng)
    return np.ascontiguousarray(grey, dtype=np.float32)


def _noise(shape: tuple[int, ...], how: Augmentation, rng: np.random.Generator) -> Float32:
    strength = how.noise * rng.uniform()
    noise = rng.standard_normal(shape, dtype=np.float32)
    length = rng.uniform(0, how.grain) if rng.random() < 0.5 else 0.0
    if length > 0.3:
        noise = gaussian_filter(noise, length, mode="wrap", truncate=3.0)
        strength /= float(noise.std())
    return np.asarray(np.float32(strength) * noise, dtype=np.float32)
