"""Whether a probability means what it says: NLL, Brier score and expected calibration error, streamed.

The calibration error is that of Naeini et al. 2015 and Guo et al. 2017: bins of equal width, the mean over voxels of
|observed frequency - mean probability| of their bin. *Top-label* asks whether the class that is called is right as
often as its probability says; *class-wise* whether class 1 is there as often as its probability says. `multiclass` has
the same of more than two classes.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.metrics.counts import Int64
from segbench.metrics.slabs import slabs
from segbench.volume import LazyArray

BINS = 15
TINY = 1e-7  # probabilities are clipped to [TINY, 1 - TINY] in the logarithm, so that one sure error is not infinite
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Diagram:
    """A reliability diagram; all of shape (BINS,), over equal bins of a probability in [0, 1].

    Attributes:
        count: Voxels per bin.
        expected: Sum of their probabilities.
        observed: Voxels of the bin in which it came true.
    """

    count: Int64
    expected: Float64
    observed: Int64

    @property
    def error(self) -> float:
        """Calibration error in [0, 1]; NaN without voxels."""
        voxels = int(self.count.sum())
        return float(np.abs(self.observed - self.expected).sum() / voxels) if voxels else float("nan")

    @property
    def probability(self) -> Float64:
        """Mean probability of each bin; NaN where it is empty."""
        return self._share(self.expected)

    @property
    def frequency(self) -> Float64:
        """How often it came true in each bin; NaN where it is empty."""
        return self._share(self.observed)

    def _share(self, of: npt.NDArray[np.generic]) -> Float64:
        share = np.full(self.count.shape, np.nan)
        np.divide(of, self.count, out=share, where=self.count > 0)
        return share


@dataclass(frozen=True, eq=False)
class Judged(ABC):
    """Sums over the voxels of a segmentation into any number of classes; added up over tiles or cases with `+`.

    Attributes:
        nll: Sum of -ln p(true class), nats.
        brier: Sum of (p - y)²: of class 1 where there are two classes, else over all of them.
    """

    nll: float = 0.0
    brier: float = 0.0

    @abstractmethod
    def __add__(self, other: Self) -> Self: ...

    @property
    @abstractmethod
    def voxels(self) -> int:
        """How many."""

    @property
    @abstractmethod
    def confusion(self) -> Int64:
        """Voxels of true class i called class j, shape (K, K)."""

    @property
    @abstractmethod
    def top_label(self) -> Diagram:
        """Of the called class: its probability against how often it is right."""

    @property
    @abstractmethod
    def class_wise(self) -> tuple[Diagram, ...]:
        """Of single classes: their probability against how often they are there; of two classes class 1 alone."""

    @property
    def mean_nll(self) -> float:
        """Negative log-likelihood per voxel, nats; NaN without voxels."""
        return self.nll / self.voxels if self.voxels else float("nan")

    @property
    def mean_brier(self) -> float:
        """Brier score: of class 1, in [0, 1]; of K classes the sum over them, in [0, 2]; NaN without voxels."""
        return self.brier / self.voxels if self.voxels else float("nan")

    @property
    def ece(self) -> float:
        """Top-label calibration error in [0, 1]; NaN without voxels."""
        return self.top_label.error

    @property
    def ece_classwise(self) -> float:
        """Class-wise calibration error in [0, 1], the mean over classes; for two classes the same for either.

        NaN without voxels.
        """
        errors = [diagram.error for diagram in self.class_wise]
        return sum(errors) / len(errors)


def _count() -> Int64:
    return np.zeros((2, 2, BINS), dtype=np.int64)


def _sum() -> Float64:
    return np.zeros((2, 2, BINS), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Reliability(Judged):
    """Sums over the voxels of a two-class segmentation.

    Attributes:
        count: Voxels that are called class i, are class j and whose probability of class 1 lies in bin k, shape
            (2, 2, BINS).
        probability: Sum of that probability, same shape.
    """

    count: Int64 = field(default_factory=_count)
    probability: Float64 = field(default_factory=_sum)

    def add(self, probability: LazyArray, truth: LazyArray, threshold: float = 0.5) -> "Reliability":
        """These sums and those of one more array: the definition; `tally` takes the same sums in a compiled pass.

        Args:
            probability: Of class 1, any shape, in [0, 1]; read lazily.
            truth: Nonzero where class 1 is; the same shape.
            threshold: Class 1 is called above it.

        Raises:
            InputError: The shapes differ, or a probability is outside [0, 1] or NaN.
        """
        if tuple(probability.shape) != tuple(truth.shape):
            raise InputError(f"probabilities {probability.shape} and truth {truth.shape} differ in shape")
        total = self
        for slab in slabs(tuple(probability.shape)):
            p = np.asarray(probability[slab], dtype=np.float64).ravel()
            if not (p.min() >= 0 and p.max() <= 1):
                raise InputError("a probability is in [0, 1]; found one outside, or NaN")
            total += _of(p, np.asarray(truth[slab]).ravel() != 0, threshold)
        return total

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            self.nll + other.nll,
            self.brier + other.brier,
            self.count + other.count,
            self.probability + other.probability,
        )

    @property
    def voxels(self) -> int:
        """How many."""
        return int(self.count.sum())

    @property
    def confusion(self) -> Int64:
        """Voxels of true class i called class j, shape (2, 2)."""
        called: Int64 = self.count.sum(axis=2)
        return called.T

    @property
    def top_label(self) -> Diagram:
        """Of the called class: its probability against how often it is right.

        Where class 0 is called its probability is 1 - p, which lies in the mirrored bin.
        """
        zero, one = self.count
        sure = self.probability[1].sum(axis=0) + (zero - self.probability[0]).sum(axis=0)[::-1]
        return Diagram(one.sum(axis=0) + zero.sum(axis=0)[::-1], sure, one[1] + zero[0][::-1])

    @property
    def class_wise(self) -> tuple[Diagram, ...]:
        """Of class 1: its probability against how often it is there."""
        count = self.count.sum(axis=0)
        return (Diagram(count.sum(axis=0), self.probability.sum(axis=(0, 1)), count[1]),)


def _of(p: Float64, y: npt.NDArray[np.bool_], threshold: float) -> Reliability:
    clipped = np.clip(p, TINY, 1 - TINY)
    nll = -np.log(np.where(y, clipped, 1 - clipped)).sum()
    called = p > threshold
    cell = np.minimum((p * BINS).astype(np.intp), BINS - 1) + BINS * y + 2 * BINS * called
    count = np.bincount(cell, minlength=4 * BINS).astype(np.int64)
    total = np.bincount(cell, p, minlength=4 * BINS).astype(np.float64)
    brier = float(np.square(p - y).sum())
    return Reliability(float(nll), brier, count.reshape(2, 2, BINS), total.reshape(2, 2, BINS))
