"""Split-conformal statistics: how wide an interval has to be, and how far a mask, on blocks whose truth is known.

Both promise something of one more block that is *exchangeable* with those that they were fitted on, whatever the model
is worth: a simulated block of the same domains and size is, a scan from elsewhere need not be. The promise is a mean
over such blocks; it does not hold for each of them.

*Interval*. From T samples' shares of class 1 in a block to an interval for the true share: percentiles 5 and 95 of the
samples, moved outwards by `widen` units. A unit is the samples' standard deviation plus a floor, so that samples that
agree do not make an interval of no width. The score of a block is how many units outwards the interval would have to
move to reach its truth, below zero where it had room to spare (Romano et al. 2019, eq. 6, in units), and `widen` is the
scores' conformal quantile. One more block is covered with a probability of `level` to `level` + 1 / (n + 1).

*Masks*. A threshold on the mean probability such that the mean share of a class that is missed in one more block is at
most alpha (conformal risk control, Angelopoulos et al. 2022, eq. 4), or is so with a confidence of 1 - delta over the
blocks of the fit (risk-controlling prediction sets, Bates et al. 2021, with the Hoeffding-Bentkus bound).
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.metrics.slabs import slabs
from segbench.volume import LazyArray

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

INTERVAL = (5.0, 95.0)
"""Percentiles of the samples between which their own interval lies."""
STEPS = 1000
GRID = (np.arange(STEPS + 1) / STEPS).astype(np.float32)
"""Thresholds on a probability that are tried: thousandths, so that voxels need only be counted."""


def rank(n: int, level: float) -> int:
    """Which of n ordered scores is their conformal quantile, from 1: ceil((n + 1) level); n + 1 means infinite.

    Raises:
        InputError: The level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"the level of an interval is between 0 and 1, not {level}")
    # as a decimal: in floats 0.95 * 20 could come out above 19
    return math.ceil((n + 1) * Fraction(str(level)))


def fewest(level: float) -> int:
    """The least number of blocks that gives a finite interval of this level."""
    n = 1
    while rank(n, level) > n:
        n += 1
    return n


def quantile(scores: Sequence[float], level: float) -> float:
    """The conformal quantile: at least `level` of exchangeable scores lie at or below it, one more included.

    Returns:
        A score as it is, not interpolated; infinity where there are too few for the level.

    Raises:
        InputError: A score is NaN.
    """
    if any(math.isnan(score) for score in scores):
        raise InputError("a conformal score is NaN: leave blocks without truth or samples out")
    place = rank(len(scores), level)
    return math.inf if place > len(scores) else float(sorted(scores)[place - 1])


def of_samples(shares: Sequence[float]) -> tuple[float, float]:
    """Percentiles 5 and 95 of the samples' shares, linear between them; NaN without samples."""
    if not len(shares):
        return math.nan, math.nan
    low, high = np.percentile(np.asarray(shares, dtype=np.float64), INTERVAL)
    return float(low), float(high)


def unit(shares: Sequence[float], floor: float) -> float:
    """What an interval is widened in: the samples' standard deviation, dividing by T, plus `floor`."""
    return float(np.std(np.sort(np.asarray(shares, dtype=np.float64)))) + floor  # sorted: no order shows in the sum


def score(shares: Sequence[float], truth: float, floor: float) -> float:
    """Units by which the samples' interval misses the true share; negative where the truth lies inside it."""
    low, high = of_samples(shares)
    return max(low - truth, truth - high) / unit(shares, floor)


def interval(shares: Sequence[float], widen: float, floor: float) -> tuple[float, float]:
    """The samples' interval moved outwards by `widen` units, within [0, 1]; NaN without samples.

    Where it is moved inwards past its middle, both ends are the middle: more than the method asks for.
    """
    low, high = of_samples(shares)
    if math.isnan(low) or math.isinf(widen):
        return (low, high) if math.isnan(low) else (0.0, 1.0)
    by = max(widen * unit(shares, floor), (low - high) / 2)
    return max(low - by, 0.0), min(high + by, 1.0)


def missed(probability: LazyArray, present: LazyArray, sure: bool = False) -> Int64:
    """Voxels of a class that a mask misses at each threshold of `GRID`, shape (STEPS + 1,).

    Args:
        probability: Of class 1, any shape, float32; read lazily.
        present: Nonzero where the class is; the same shape.
        sure: The class is class 0, and what is missed has a probability *above* the threshold. Else it is class 1, and
            what is missed has one *below* it.
    """
    if tuple(probability.shape) != tuple(present.shape):
        raise InputError(f"probabilities {probability.shape} and a mask {present.shape} differ in shape")
    counts = np.zeros(len(GRID) + 1, dtype=np.int64)
    for slab in slabs(tuple(probability.shape)):
        there = np.asarray(probability[slab], dtype=np.float32)[np.asarray(present[slab]) != 0]
        # how many thresholds lie below a voxel (sure), or at or below it
        passed = np.searchsorted(GRID, there, side="left" if sure else "right")
        counts += np.bincount(passed, minlength=len(counts))
    if sure:
        return np.asarray(counts[::-1].cumsum()[::-1][1:])
    return np.asarray(counts.cumsum()[:-1])


def losses(counts: Int64, voxels: Int64) -> Float64:
    """Share that each threshold misses in each block, shape (n, m); NaN in blocks without the class.

    Args:
        counts: Voxels that are missed, shape (n, m).
        voxels: Voxels of the class, shape (n,).
    """
    of = np.where(voxels > 0, voxels, np.nan)[:, None]
    return np.asarray(counts / of, dtype=np.float64)


def controlled(losses: Float64, alpha: float) -> int:
    """The boldest choice whose loss in one more block is at most `alpha` on the mean.

    Args:
        losses: In [0, 1], shape (n, m): of n blocks under m choices, from one that cannot lose to the boldest, not
            falling from choice to choice. Blocks that are NaN are left out.
        alpha: The wanted bound.

    Returns:
        Number of the choice: the largest j whose mean over n + 1 blocks stays within alpha were one more block lost
        wholly; 0, the one that cannot lose, where blocks are too few (n < 1 / alpha - 1) or all of them lose too much.
    """
    there = _defined(losses, alpha)
    n = len(there)
    return _last((there.sum(axis=0) + 1) / (n + 1) <= alpha)


def surely_controlled(losses: Float64, alpha: float, delta: float) -> int:
    """The boldest choice whose mean loss is at most `alpha`, but for a share `delta` of all sets of blocks.

    Args:
        losses: As for `controlled`.
        alpha: The wanted bound.
        delta: How often the blocks of a fit may be such that it is broken.
    """
    there = _defined(losses, alpha)
    if not len(there):
        return 0
    return _last(np.array([_chance(float(mean), len(there), alpha) <= delta for mean in there.mean(axis=0)]))


def _defined(losses: Float64, alpha: float) -> Float64:
    if not 0 < alpha < 1:
        raise InputError(f"the bound of a risk is between 0 and 1, not {alpha}")
    there = losses[~np.isnan(losses).any(axis=1)]
    if there.size and (np.diff(there, axis=1) < 0).any():
        raise InputError("risk control needs losses that do not fall from one choice to a bolder one")
    return there


def _last(good: npt.NDArray[np.bool_]) -> int:
    """The last choice before the first one that is not good; 0 where the first is not."""
    bad = np.flatnonzero(~good)
    return max((int(bad[0]) if bad.size else len(good)) - 1, 0)


def _chance(mean: float, n: int, alpha: float) -> float:
    """Hoeffding-Bentkus: at most so likely is a mean loss of `mean` or less over n blocks if it really is alpha."""
    if mean >= alpha:
        return 1.0
    apart = (mean * math.log(mean / alpha) if mean else 0.0) + (1 - mean) * math.log((1 - mean) / (1 - alpha))
    return min(math.exp(-n * apart), math.e * _binomial(math.ceil(n * mean), n, alpha))


def _binomial(k: int, n: int, p: float) -> float:
    """P(at most k of n) with a chance of p each."""
    whole = math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p))
        for i in range(k + 1)
    )
