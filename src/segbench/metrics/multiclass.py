"""Whether the probabilities of K classes mean what they say: `reliability` of more than two classes, streamed.

Each voxel is counted once by the class that is called, and once for every class by that class's probability. The
class-wise calibration error is the mean over the classes (Kull et al. 2019).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.metrics.counts import Int64
from segbench.metrics.reliability import BINS, TINY, Diagram, Float64, Judged
from segbench.metrics.slabs import slabs
from segbench.volume import LazyArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Multiclass(Judged):
    """Sums over the voxels of a segmentation into K classes.

    Attributes:
        called: Voxels that are called class i, are class j and whose probability of the called class lies in bin k,
            shape (K, K, BINS).
        confidence: Sum of that probability, same shape.
        present: Voxels whose probability of class i lies in bin k and that are not (0) or are (1) of that class, shape
            (K, 2, BINS).
        probability: Sum of that probability, same shape.
    """

    called: Int64
    confidence: Float64
    present: Int64
    probability: Float64

    @classmethod
    def of(cls, classes: int) -> "Multiclass":
        """No voxels of so many classes."""
        top, wise = (classes, classes, BINS), (classes, 2, BINS)
        return cls(
            called=np.zeros(top, np.int64), confidence=np.zeros(top), present=np.zeros(wise, np.int64),
            probability=np.zeros(wise),
        )  # fmt: skip

    def add(self, probabilities: LazyArray, labels: LazyArray, truth: LazyArray) -> "Multiclass":
        """These sums and those of one more array: the definition; `tally` takes the same sums in a compiled pass.

        Args:
            probabilities: Of each class, shape (K, ...), in [0, 1]; read lazily.
            labels: Called classes, shape (...), integers in [0, K).
            truth: True classes, likewise.

        Raises:
            InputError: The shapes differ, a probability is outside [0, 1] or NaN, or a label is no class.
        """
        classes, shape = len(self.called), tuple(truth.shape)
        if tuple(probabilities.shape) != (classes, *shape) or tuple(labels.shape) != shape:
            told = f"probabilities {probabilities.shape}, labels {labels.shape} and truth {truth.shape}"
            raise InputError(f"{told}: not those of {classes} classes of one shape")
        total = self
        for slab in slabs(shape):
            p = np.asarray(probabilities[(slice(None), *slab)], dtype=np.float64).reshape(classes, -1)
            if not (p.min() >= 0 and p.max() <= 1):
                raise InputError("a probability is in [0, 1]; found one outside, or NaN")
            found = [np.asarray(each[slab]).ravel().astype(np.intp) for each in (labels, truth)]
            if any(each.min() < 0 or each.max() >= classes for each in found):
                raise InputError(f"a label is none of the {classes} classes 0 to {classes - 1}")
            total += _of(p, *found)
        return total

    def __add__(self, other: "Multiclass") -> "Multiclass":
        return Multiclass(
            nll=self.nll + other.nll, brier=self.brier + other.brier, called=self.called + other.called,
            confidence=self.confidence + other.confidence, present=self.present + other.present,
            probability=self.probability + other.probability,
        )  # fmt: skip

    @property
    def voxels(self) -> int:
        """How many."""
        return int(self.called.sum())

    @property
    def confusion(self) -> Int64:
        """Voxels of true class i called class j, shape (K, K)."""
        called: Int64 = self.called.sum(axis=2)
        return called.T

    @property
    def top_label(self) -> Diagram:
        """Of the called class: its probability against how often it is right."""
        right: Int64 = self.called.diagonal().sum(axis=1)
        return Diagram(self.called.sum(axis=(0, 1)), self.confidence.sum(axis=(0, 1)), right)

    @property
    def class_wise(self) -> tuple[Diagram, ...]:
        """Of each class: its probability against how often it is there."""
        pairs = zip(self.present, self.probability, strict=True)
        return tuple(Diagram(count.sum(axis=0), total.sum(axis=0), count[1]) for count, total in pairs)


def _of(p: Float64, called: npt.NDArray[np.intp], truth: npt.NDArray[np.intp]) -> Multiclass:
    """Of probabilities (K, N) and classes (N,)."""
    classes, at = len(p), np.arange(len(truth))
    there = np.arange(classes)[:, None] == truth
    sure = p[called, at]
    top = (called * classes + truth) * BINS + _bins(sure)
    wise = ((np.arange(classes)[:, None] * 2 + there) * BINS + _bins(p)).ravel()
    shapes = (classes, classes, BINS), (classes, 2, BINS)
    sizes = [int(np.prod(shape)) for shape in shapes]
    return Multiclass(
        nll=float(-np.log(np.clip(p[truth, at], TINY, 1 - TINY)).sum()),
        brier=float(np.square(p - there).sum()),
        called=np.bincount(top, minlength=sizes[0]).astype(np.int64).reshape(shapes[0]),
        confidence=np.bincount(top, sure, minlength=sizes[0]).astype(np.float64).reshape(shapes[0]),
        present=np.bincount(wise, minlength=sizes[1]).astype(np.int64).reshape(shapes[1]),
        probability=np.bincount(wise, p.ravel(), minlength=sizes[1]).astype(np.float64).reshape(shapes[1]),
    )


def _bins(p: Float64) -> npt.NDArray[np.intp]:
    return np.minimum((p * BINS).astype(np.intp), BINS - 1)
