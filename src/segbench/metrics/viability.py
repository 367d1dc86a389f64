"""How far apart two labelled phases lie in grey: Sandia's viability score and Otsu's separability."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.metrics.slabs import slabs
from segbench.volume import LazyArray


def viability(image: LazyArray, labels: LazyArray) -> float:
    """Mean grey of class 1 minus that of class 0, in standard deviations of the whole image.

    The score of Martinez et al. (Sandia): intensities are z-scored over the whole volume. It rises without
    bound for a tiny class; `separability` does not.

    Args:
        image: Grey values, any shape; read lazily.
        labels: 0 or 1, same shape.

    Returns:
        NaN where a class is empty, the image is constant or a grey value is not finite.

    Raises:
        InputError: The shapes differ, or a label is neither 0 nor 1.
    """
    return _contrast(image, labels).viability


def separability(image: LazyArray, labels: LazyArray) -> float:
    """Share of the grey variance that lies between the two classes: p (1 - p) viability^2 (Otsu 1979).

    Args:
        image: Grey values, any shape; read lazily.
        labels: 0 or 1, same shape; p is the share of 1.

    Returns:
        A value in [0, 1]; NaN where `viability` is.
    """
    return _contrast(image, labels).separability


@dataclass(frozen=True)
class _Contrast:
    """Grey values of two classes as moments about `origin`.

    Attributes:
        voxels: Of class 0 and 1.
        sums: Sum of (grey - origin) per class.
        squares: Sum of (grey - origin)^2 over both.
    """

    voxels: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]
    squares: float

    @property
    def viability(self) -> float:
        if not self.voxels.all():
            return float("nan")
        total = int(self.voxels.sum())
        variance = self.squares / total - (float(self.sums.sum()) / total) ** 2
        if not variance > 0:
            return float("nan")
        low, high = self.sums / self.voxels
        return float((high - low) / np.sqrt(variance))

    @property
    def separability(self) -> float:
        share = int(self.voxels[1]) / max(int(self.voxels.sum()), 1)
        score = share * (1 - share) * self.viability**2
        return score if np.isnan(score) else min(score, 1.0)


def _contrast(image: LazyArray, labels: LazyArray) -> _Contrast:
    if tuple(image.shape) != tuple(labels.shape):
        raise InputError(f"image {image.shape} and labels {labels.shape} differ in shape")
    voxels, sums, squares = np.zeros(2, dtype=np.int64), np.zeros(2), 0.0
    # Near the mean, so that nothing cancels; that of a constant image exactly, so that its variance is 0.
    origin: float | None = None
    for slab in slabs(tuple(image.shape)):
        grey = np.asarray(image[slab], dtype=np.float64).ravel()
        label = np.asarray(labels[slab]).ravel()
        one = label == 1
        if not (one | (label == 0)).all():
            raise InputError(f"viability compares the labels 0 and 1, found {np.setdiff1d(label, (0, 1))[0]}")
        if not np.isfinite(grey).all():
            return _Contrast(np.zeros(2, dtype=np.int64), sums, squares)
        if origin is None:
            origin = float(np.median(grey[:: max(1, grey.size // 1024)]))
        grey = grey - origin  # not in place: the slab may be a view of the image
        high = int(np.count_nonzero(one))
        above = float(grey[one].sum())
        voxels += (grey.size - high, high)
        sums += (float(grey.sum()) - above, above)
        squares += float(np.square(grey).sum())
    return _Contrast(voxels, sums, squares)
