"""Whether a probability means what it says: NLL, Brier score and expected calibration error, streamed.

The calibration error is that of Naeini et al. 2015 and Guo et al. 2017: bins of equal width, the mean over voxels of
|observed frequency - mean probability| of their bin. *Top-label* asks whether the class that is called is right as
often as its probability says; *class-wise* whether class 1 is there as often as its probability says.
"""

from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.metrics.slabs import slabs
from segbench.volume import LazyArray

BINS = 15
TINY = 1e-7  # probabilities are clipped to [TINY, 1 - TINY] in the logarithm, so that one sure error is not infinite
Float64 = npt.NDArray[np.float64]


def _bins() -> Float64:
    return np.zeros(BINS, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Sums over the voxels of a two-class segmentation; frozen, and added up over tiles or cases with `+`.

    Attributes:
        voxels: How many.
        nll: Sum of -ln p(true class), nats.
        brier: Sum of (p - y)² of class 1.
        called: Voxels per bin of the called class' probability, shape (BINS,).
        confidence: Sum of that probability per bin.
        right: Voxels of the bin whose called class is the true one.
        seen: Voxels per bin of class 1's probability.
        probability: Sum of that probability per bin.
        present: Voxels of the bin that are class 1.
    """

    voxels: int = 0
    nll: float = 0.0
    brier: float = 0.0
    called: Float64 = field(default_factory=_bins)
    confidence: Float64 = field(default_factory=_bins)
    right: Float64 = field(default_factory=_bins)
    seen: Float64 = field(default_factory=_bins)
    probability: Float64 = field(default_factory=_bins)
    present: Float64 = field(default_factory=_bins)

    def add(self, probability: LazyArray, truth: LazyArray) -> "Reliability":
        """These sums and those of one more array.

        Args:
            probability: Of class 1, any shape, in [0, 1]; read lazily.
            truth: Nonzero where class 1 is; the same shape.

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
            total += _of(p, np.asarray(truth[slab]).ravel() != 0)
        return total

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def mean_nll(self) -> float:
        """Negative log-likelihood per voxel, nats; NaN without voxels."""
        return self.nll / self.voxels if self.voxels else float("nan")

    @property
    def mean_brier(self) -> float:
        """Brier score of class 1, in [0, 1]; NaN without voxels."""
        return self.brier / self.voxels if self.voxels else float("nan")

    @property
    def ece(self) -> float:
        """Top-label calibration error in [0, 1]; NaN without voxels."""
        return self._error(self.right, self.confidence)

    @property
    def ece_classwise(self) -> float:
        """Class-wise calibration error in [0, 1], for two classes the same for either; NaN without voxels."""
        return self._error(self.present, self.probability)

    def _error(self, observed: Float64, expected: Float64) -> float:
        return float(np.abs(observed - expected).sum() / self.voxels) if self.voxels else float("nan")


def _of(p: Float64, y: npt.NDArray[np.bool_]) -> Reliability:
    clipped = np.clip(p, TINY, 1 - TINY)
    nll = -np.log(np.where(y, clipped, 1 - clipped)).sum()
    yes = p > 0.5
    sure = np.where(yes, p, 1 - p)
    return Reliability(p.size, float(nll), float(np.square(p - y).sum()), *_binned(sure, yes == y), *_binned(p, y))


def _binned(p: Float64, hit: npt.NDArray[np.bool_]) -> tuple[Float64, Float64, Float64]:
    place = np.minimum((p * BINS).astype(np.intp), BINS - 1)
    count, total, hits = (np.bincount(place, w, minlength=BINS).astype(np.float64) for w in (None, p, hit))
    return count, total, hits
