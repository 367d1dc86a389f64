"""How far two runs of an unchanged model lie apart: from repeats with other masks, or from the blocks of a volume.

The difference of two runs that differ by chance alone has sqrt(2) times the standard deviation s of one run; with
probability 0.95 it stays within sqrt(2) * 1.96 s = 2.8 s, the repeatability limit of ISO 5725-6. Two things widen it:
s is measured on a few runs, so that 1.96 becomes a quantile of Student's t, and many scores are compared at once, so
that the quantile is the one at which all of them together give a false alarm in at most 5 % of the comparisons of
unchanged models (Bonferroni, both sides; half of that on the worse side).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.metrics.reliability import Float64
from segbench.rows import Row

ALARM = 0.05
BORROWED = 4  # repeats that the other domains are worth to one domain: the false alarm is simulated in the tests
DRAWS = 1000
FEWEST = 2  # repeats: two runs alone say next to nothing of their spread


@dataclass(frozen=True)
class Noise:
    """Standard deviation of the difference of two runs by chance, and how well it is known.

    Attributes:
        deviation: NaN where it could not be measured.
        freedom: Degrees of freedom of Student's t.
    """

    deviation: float
    freedom: float

    def repeatability(self) -> float:
        """2.8 s: what one comparison alone stays within with probability 0.95, were s known."""
        return quantile(math.inf, 1) * self.deviation

    def limit(self, comparisons: int) -> float:
        """What none of so many comparisons exceeds, with probability 0.95 or more."""
        return quantile(self.freedom, comparisons) * self.deviation


UNKNOWN = Noise(math.nan, 1)


def quantile(freedom: float, comparisons: int) -> float:
    """Of Student's t at 1 - 0.05 / (2 comparisons); 1.96 for one comparison and many degrees of freedom."""
    from scipy.special import ndtri, stdtrit

    level = 1 - ALARM / (2 * max(1, comparisons))
    return float(ndtri(level) if math.isinf(freedom) else stdtrit(freedom, level))


def of_repeats(runs: Float64, weight: float) -> tuple[list[Noise], Noise]:
    """Noise of each domain and of their mean.

    A variance of a few runs is itself uncertain, and a domain that happens to look quiet would raise the alarm. So
    each is drawn towards the mean variance of all domains, which counts as much as `BORROWED` further repeats. The
    variance of the mean is drawn towards the same, which is safe: a mean is never noisier than what it is made of.

    Args:
        runs: One score, shape (runs, domains); NaN where undefined.
        weight: Variance of the difference of two runs in units of a run's variance; 2 where both are alike.
    """
    count, domains = runs.shape
    own = np.var(runs, axis=0, ddof=1)
    measured = own[~np.isnan(own)]
    if count <= FEWEST or not measured.size:
        return [UNKNOWN] * domains, UNKNOWN
    freedom = count - 1
    borrowed = min(BORROWED, freedom * (measured.size - 1))
    prior = float(measured.mean())

    def drawn(variance: float) -> Noise:
        found = (borrowed * prior + freedom * variance) / (borrowed + freedom)
        return Noise(math.sqrt(weight * found), borrowed + freedom)

    mean = float(np.var(runs[:, ~np.isnan(own)].mean(axis=1), ddof=1))
    return [UNKNOWN if math.isnan(v) else drawn(float(v)) for v in own], drawn(mean)


def of_blocks(base: Sequence[Row], new: Sequence[Row], name: str, classes: Sequence[str]) -> Noise:
    """Noise of a domain's difference by the paired bootstrap: the same blocks are drawn again in both runs.

    It says how far the difference would move on other material of the kind, and nothing of what other masks do to a
    whole volume.

    Args:
        base: Cases of the domain.
        new: The same cases in the same order.
        name: A score that follows from the confusion matrix; any other cannot be measured so.
        classes: Names of the classes, for F1.
    """
    variances, fewest = [], math.inf
    for one, other in zip(base, new, strict=True):
        a, b = np.array(one.blocks, dtype=np.int64), np.array(other.blocks, dtype=np.int64)
        if len(a) < 2 or a.shape != b.shape or not np.array_equal(a.sum(axis=2), b.sum(axis=2)):
            return UNKNOWN
        # float64 holds such counts exactly and is multiplied quickly
        first, second = (
            score(np.tensordot(_times(len(a)), c.astype(np.float64), axes=1), name, classes) for c in (a, b)
        )
        if first is None or second is None:
            return UNKNOWN
        variances.append(float(np.nanvar(second - first, ddof=1)))
        fewest = min(fewest, len(a) - 1)
    return Noise(math.sqrt(sum(variances)) / len(variances), fewest) if variances else UNKNOWN


def mean_of(each: Sequence[Noise]) -> Noise:
    """Noise of the mean over domains that know nothing of each other."""
    known = [noise for noise in each if not math.isnan(noise.deviation)]
    if not known:
        return UNKNOWN
    together = math.sqrt(sum(noise.deviation**2 for noise in known)) / len(known)
    return Noise(together, min(noise.freedom for noise in known))


def score(counts: npt.NDArray[Any], name: str, classes: Sequence[str]) -> Float64 | None:
    """A score of many confusion matrices (n, K, K) at once, as `metrics.overlap` defines it; None for any other."""
    bare = name.removesuffix("_truth").removesuffix("_human")
    counts = counts.astype(np.float64)
    hits = counts.diagonal(axis1=1, axis2=2)
    both = counts.sum(axis=2) + counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        if bare == "accuracy":
            return np.asarray(hits.sum(axis=1) / counts.sum(axis=(1, 2)))
        if bare == "miou":
            union = both - hits
            occurs = union > 0
            return np.asarray(np.where(occurs, hits / union, 0.0).sum(axis=1) / occurs.sum(axis=1))
        if bare.removeprefix("f1_") in classes and bare.startswith("f1_"):
            return np.asarray((2 * hits / both)[:, list(classes).index(bare.removeprefix("f1_"))])
    return None


@cache
def _times(blocks: int) -> Float64:
    """How often each block is drawn, shape (draws, blocks)."""
    drawn = np.random.default_rng(0).integers(0, blocks, size=(DRAWS, blocks))
    return np.stack([np.bincount(one, minlength=blocks) for one in drawn]).astype(np.float64)
