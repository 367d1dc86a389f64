"""How well a probability ranks the voxels of one class above the rest: the area under the ROC curve."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.metrics.counts import Int64
from segbench.metrics.slabs import slabs
from segbench.volume import LazyArray

BINS = 4096
"""A power of two, so that a float32 score falls into its bin without rounding."""


def _empty() -> Int64:
    return np.zeros(BINS, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Scores of the voxels in and out of a class, in bins of equal width over [0, 1].

    Frozen: `add` gives a new one. Histograms of tiles or cases add up with `+`, in any order.

    Attributes:
        positive: Voxels of the class per bin, shape (BINS,), int64.
        negative: All other voxels per bin, shape (BINS,), int64.
    """

    positive: Int64 = field(default_factory=_empty)
    negative: Int64 = field(default_factory=_empty)

    def add(self, score: LazyArray, truth: LazyArray) -> "Histogram":
        """This histogram and the voxels of one more array.

        Args:
            score: Probability of the class, any shape, in [0, 1]; read lazily.
            truth: Whether a voxel is of the class: bool, or integers where nonzero is in it; same shape.

        Raises:
            InputError: The shapes differ, or a score is outside [0, 1] or NaN.
        """
        if tuple(score.shape) != tuple(truth.shape):
            raise InputError(f"scores {score.shape} and truth {truth.shape} differ in shape")
        counts = np.zeros(2 * BINS, dtype=np.int64)
        for slab in slabs(tuple(score.shape)):
            block = np.asarray(score[slab]).ravel()
            if not (block.min() >= 0 and block.max() <= 1):
                raise InputError("a score to rank by is a probability in [0, 1]; found one outside, or NaN")
            place = np.minimum((block * BINS).astype(np.intp), BINS - 1)
            place += BINS * (np.asarray(truth[slab]).ravel() != 0)
            counts += np.bincount(place, minlength=counts.size)
        return self + Histogram(counts[BINS:], counts[:BINS])

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(self.positive + other.positive, self.negative + other.negative)

    def auc(self) -> float:
        """Area under the ROC curve, by trapezoids: equal scores count half; scores in one bin are equal.

        Returns:
            A value in [0, 1]: how often a voxel of the class scores above one that is not. Exact to the bin
            at any number of voxels (pairs are counted in unbounded integers). NaN where a side is empty.
        """
        positive, negative = self.positive.tolist(), self.negative.tolist()
        pairs = sum(positive) * sum(negative)
        if not pairs:
            return float("nan")
        below, doubled = 0, 0
        for inside, outside in zip(positive, negative, strict=True):
            doubled += inside * (2 * below + outside)
            below += outside
        return float(doubled / (2 * pairs))


def auc(score: LazyArray, truth: npt.NDArray[np.bool_] | LazyArray) -> float:
    """Area under the ROC curve of one array of scores; see `Histogram`."""
    return Histogram().add(score, truth).auc()
