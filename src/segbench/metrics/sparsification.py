"""Whether uncertainty finds the errors: sparsification curves and their area, from streamed histograms.

Voxels are taken away from the most uncertain to the least. The curve is the share of errors among those that are left.
An oracle takes the errors away first. AUSE is the area between the two curves (Ilg et al. 2018), here divided by the
error rate of all voxels, so that 0 is the oracle and about 1 is a ranking without information on few errors.
"""

import numpy as np

from segbench.metrics.counts import Int64
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import Float64

STEPS = 1000
"""Shares taken away, equally spaced, at which the curves are compared."""


def curve(errors: Histogram, steps: int = STEPS) -> tuple[Float64, Float64, Float64]:
    """(share taken away, errors among the rest, the same for the oracle), each of shape (steps,).

    Args:
        errors: Histogram of an uncertainty in [0, 1]: `positive` counts errors, `negative` what is right.
        steps: How many shares from 0 up to, but not including, 1.

    Within a bin errors and the rest are taken away in proportion. NaN where there are no voxels.
    """
    taken = np.arange(steps) / steps
    wrong, total = int(errors.positive.sum()), int(errors.positive.sum() + errors.negative.sum())
    if not total:
        return taken, np.full(steps, np.nan), np.full(steps, np.nan)
    left = (1 - taken) * total
    counts = _cumulated(errors.positive + errors.negative)
    kept_errors = np.interp(left, counts, _cumulated(errors.positive))
    oracle = np.maximum(wrong - taken * total, 0) / left
    return taken, kept_errors / left, oracle


def ause(errors: Histogram) -> float:
    """Area between curve and oracle over the area under a constant error rate; NaN without any error."""
    wrong, total = int(errors.positive.sum()), int(errors.positive.sum() + errors.negative.sum())
    if not wrong:
        return float("nan")
    _, rest, oracle = curve(errors)
    return float((rest - oracle).mean() / (wrong / total))


def _cumulated(counts: Int64) -> Float64:
    """Voxels below each edge of the bins, from the least uncertain on."""
    return np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
