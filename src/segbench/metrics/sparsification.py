"""Whether uncertainty finds the errors: risk-coverage and sparsification curves and their areas, from histograms.

Voxels are taken away from the most uncertain to the least. The curve is the share of errors among those that are left.
An oracle takes the errors away first.

- AURC (Geifman & El-Yaniv 2017): the mean of that share over every number of voxels left, 1 to N.
- AUSE (Ilg et al. 2018): AURC minus that of the oracle, here divided by the error rate of all voxels: 0 is the oracle,
  and about 1 is a ranking without information where errors are few.

Voxels of one bin are taken away in random order, of which this is the expectation: within a bin errors leave in
proportion. So both areas are sums in closed form, by harmonic numbers, and exact to the bin at any number of voxels.
"""

import numpy as np

from segbench.metrics.counts import Int64
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import Float64

STEPS = 50
"""Shares taken away, equally spaced, at which a curve is drawn."""
GAMMA = float(np.euler_gamma)
EXACT = 64  # harmonic numbers are added up to here; beyond, their asymptotic series is exact to 1e-17
HARMONIC = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, EXACT + 1))])


def curve(errors: Histogram, steps: int = STEPS) -> tuple[Float64, Float64, Float64]:
    """(share taken away, errors among the rest, the same for the oracle), each of shape (steps,).

    Args:
        errors: Histogram of an uncertainty in [0, 1]: `positive` counts errors, `negative` what is right.
        steps: How many shares from 0 up to, but not including, 1.

    NaN where there are no voxels.
    """
    taken = np.arange(steps) / steps
    wrong, total = _totals(errors)
    if not total:
        return taken, np.full(steps, np.nan), np.full(steps, np.nan)
    left = (1 - taken) * total
    counts = _cumulated(errors.positive + errors.negative)
    kept_errors = np.interp(left, counts, _cumulated(errors.positive))
    oracle = np.maximum(wrong - taken * total, 0) / left
    return taken, kept_errors / left, oracle


def aurc(errors: Histogram) -> float:
    """Area under the risk-coverage curve, in [0, 1]; NaN without voxels."""
    _, total = _totals(errors)
    if not total:
        return float("nan")
    held = errors.positive + errors.negative
    some = held > 0
    wrong, voxels = errors.positive[some], held[some]
    before, wrong_before = np.cumsum(voxels) - voxels, np.cumsum(wrong) - wrong
    # of n voxels left in a bin, (wrong_before + rate (n - before)) are errors, so risk = rate + offset / n
    offset = wrong_before - wrong / voxels * before
    return float((wrong + offset * (_harmonic(before + voxels) - _harmonic(before))).sum() / total)


def ause(errors: Histogram) -> float:
    """Area between curve and oracle over the error rate; NaN without any error."""
    wrong, total = _totals(errors)
    if not wrong:
        return float("nan")
    right = total - wrong
    harmonic = _harmonic(np.array([right, total]))
    oracle = float(wrong - right * (harmonic[1] - harmonic[0])) / total
    return (aurc(errors) - oracle) / (wrong / total)


def _totals(errors: Histogram) -> tuple[int, int]:
    """Errors, and all voxels."""
    wrong = int(errors.positive.sum())
    return wrong, wrong + int(errors.negative.sum())


def _cumulated(counts: Int64) -> Float64:
    """Voxels below each edge of the bins, from the least uncertain on."""
    return np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])


def _harmonic(n: Int64) -> Float64:
    """1 + 1/2 + ... + 1/n."""
    x = np.maximum(n, EXACT).astype(np.float64)
    square = 1 / (x * x)
    series = np.log(x) + GAMMA + 0.5 / x - square * (1 / 12 - square * (1 / 120 - square / 252))
    return np.where(n <= EXACT, HARMONIC[np.minimum(n, EXACT)], series)
