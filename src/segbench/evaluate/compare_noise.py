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
    """Noise of each domain and of their mean, each from its own standard deviation.

    Nothing is pooled: masks move a domain that a model was trained on a hundred times less than one that it never saw,
    and they move all domains together, so that neither another domain nor the mean says what to expect of one.

    Args:
        runs: One score, shape (runs, domains); NaN where undefined.
        weight: Variance of the difference of two runs in units of a run's variance; 2 where both are alike.
    """
    if len(runs) <= FEWEST:
        return [UNKNOWN] * runs.shape[1], UNKNOWN
    known = ~np.isnan(runs).any(axis=0)
    lines = [*runs.T, runs[:, known].mean(axis=1) if known.any() else np.full(len(runs), math.nan)]
    deviations = [math.sqrt(weight * float(np.var(line, ddof=1))) for line in lines]
    found = [UNKNOWN if math.isnan(deviation) else Noise(deviation, len(runs) - 1) for deviation in deviations]
    return found[:-1], found[-1]


def of_blocks(
    base: Sequence[Row], new: Sequence[Row], name: str, classes: Sequence[str], *, paired: bool = False
) -> Noise:
    """Noise of a domain's difference by the bootstrap, where there are no repeats.

    By default blocks are drawn again in each run by itself: it is what two volumes of one kind differ by. The paired
    difference hardly moves, since masks act on a whole volume, and would call most changes of masks a change of the
    model. Where the masks are the same, `paired` draws the same blocks in both.

    Args:
        base: Cases of the domain.
        new: The same cases.
        name: A score that follows from the confusion matrix; any other cannot be measured so.
        classes: Names of the classes, for F1.
        paired: Both runs have the same masks.
    """
    variances: list[float] = []
    fewest = math.inf
    for rows in zip(base, new, strict=True):
        found = [_drawn(row, name, classes) for row in rows]
        if any(one is None for one in found) or len(rows[0].blocks) != len(rows[1].blocks):
            return UNKNOWN
        old, now = (np.asarray(one) for one in found)
        # each run's draws are the same, so their difference is that of the same blocks
        apart = [now - old] if paired else [old, now]
        variances += [float(np.nanvar(one, ddof=1)) for one in apart]
        fewest = min(fewest, len(rows[0].blocks) - 1)
    return Noise(math.sqrt(sum(variances)) / len(base), fewest) if variances else UNKNOWN


def _drawn(row: Row, name: str, classes: Sequence[str]) -> Float64 | None:
    """A score of every draw of a volume's blocks; None where it cannot be measured so."""
    blocks = np.array(row.blocks, dtype=np.float64)  # which holds such counts exactly, and is multiplied quickly
    return score(np.tensordot(_times(len(blocks)), blocks, axes=1), name, classes) if len(blocks) > 1 else None


def mean_of(each: Sequence[Noise]) -> Noise:
    """Noise of the mean over domains, as if they moved together: that is what masks make them do."""
    known = [noise for noise in each if not math.isnan(noise.deviation)]
    if not known:
        return UNKNOWN
    return Noise(sum(noise.deviation for noise in known) / len(known), min(noise.freedom for noise in known))


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
