"""How well a score ranks the voxels of one class above the rest: ROC area and average precision, from histograms.

The bins are fixed and the same for every score in [0, 1], so histograms add up. They are fine at both ends, where the
scores of a network crowd: a bin is the leading bits of the distance to the nearer end, as a float32 writes it. A bin is
at most 1/128 of that distance wide; only what is within 2^-25 of an end is one bin.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.metrics.counts import Int64
from segbench.metrics.slabs import slabs
from segbench.volume import LazyArray

DROPPED = 16  # bits of a float32 that a bin does not tell: 7 of its 23 bits of fraction stay
LOWEST = 102 << 7  # exponent and fraction of 2^-25
HALF = 24 << 7  # from there to 1/2
BINS = 2 * HALF
"""Bins from 0 to 1, mirrored about 1/2."""


def place(score: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """The bin of each score in [0, 1], taken as float32; a higher score never has a lower bin."""
    value = np.asarray(score, dtype=np.float32)
    near = np.where(value > 0.5, np.float32(1) - value, value)
    bits = near.view(np.int32).astype(np.intp) >> DROPPED
    inner = np.clip(bits - LOWEST, 0, HALF - 1)
    mirrored: npt.NDArray[np.intp] = np.where(value > 0.5, BINS - 1 - inner, inner)
    return mirrored


def _empty() -> Int64:
    return np.zeros(BINS, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Scores of the voxels in and out of a class, in the bins of `place`.

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
            score: Such as the probability of the class, any shape, in [0, 1]; read lazily.
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
            inside = np.asarray(truth[slab]).ravel() != 0
            counts += np.bincount(place(block) + BINS * inside, minlength=counts.size)
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

    def average_precision(self) -> float:
        """Average precision: precision at each bin's lower edge, weighted by the recall that the bin adds.

        As `sklearn.metrics.average_precision_score` has it, without interpolation. NaN where the class is empty.
        """
        found = self.positive[::-1]
        called = np.cumsum(found + self.negative[::-1])
        some = found > 0
        if not some.any():
            return float("nan")
        precision = np.cumsum(found)[some] / called[some]
        return float((found[some] * precision).sum() / found.sum())


def auc(score: LazyArray, truth: npt.NDArray[np.bool_] | LazyArray) -> float:
    """Area under the ROC curve of one array of scores; see `Histogram`."""
    return Histogram().add(score, truth).auc()
