"""Intervals of a score by the bootstrap: cases, or blocks of the only one, are drawn again with replacement.

The percentile interval of Efron & Tibshirani 1993. It says how far a score would move with other cases like these; what
moves with other masks or with another training is measured apart, by repeating with other seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segbench.errors import InputError
from segbench.metrics.counts import Int64
from segbench.metrics.reliability import Float64

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A score and where it would lie with other cases.

    Attributes:
        value: Of all cases as they are.
        low: Lower end; NaN for a single case, which says nothing of others.
        high: Upper end; NaN for a single case.
        n: Cases or blocks that were drawn from.
        level: Share of the draws inside.
        seed: Of the draws.
    """

    value: float
    low: float
    high: float
    n: int
    level: float = LEVEL
    seed: int = 0


def of_mean(values: Sequence[float], level: float = LEVEL, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Interval of the mean of one score per case; undefined scores are left out."""
    there = np.array([v for v in values if not np.isnan(v)], dtype=np.float64)
    if not there.size:
        return Interval(float("nan"), float("nan"), float("nan"), 0, level, seed)
    drawn = there[_drawn(there.size, seed, draws)].mean(axis=1)
    return _interval(float(there.mean()), drawn, there.size, level, seed)


def of_pooled(
    counts: Int64, score: Callable[[Int64], float], level: float = LEVEL, seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Interval of a score of added-up counts, such as an accuracy of pooled confusion matrices.

    Args:
        counts: One array per case, shape (n, ...).
        score: Of an array of shape (...).
        level: Share of the draws inside.
        seed: Of the draws.
        draws: How many.

    Raises:
        InputError: There are no cases.
    """
    if not len(counts):
        raise InputError("an interval needs at least one case")
    times = np.stack([np.bincount(row, minlength=len(counts)) for row in _drawn(len(counts), seed, draws)])
    pooled = np.tensordot(times, counts, axes=1)
    drawn = np.array([score(one) for one in pooled], dtype=np.float64)
    return _interval(score(counts.sum(axis=0)), drawn, len(counts), level, seed)


def of_lines(
    lines: Float64, score: Callable[[Float64], float], level: float = LEVEL, seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Interval of a score of several numbers per case, such as a correlation: a case's numbers are drawn together.

    Args:
        lines: Shape (n, k), a line per case; lines with an undefined number are left out.
        score: Of some lines, shape (any, k).
        level: Share of the draws inside.
        seed: Of the draws.
        draws: How many.
    """
    there = lines[~np.isnan(lines).any(axis=1)]
    if not len(there):
        return Interval(float("nan"), float("nan"), float("nan"), 0, level, seed)
    drawn = np.array([score(there[chosen]) for chosen in _drawn(len(there), seed, draws)], dtype=np.float64)
    return _interval(score(there), drawn, len(there), level, seed)


def _drawn(n: int, seed: int, draws: int) -> Int64:
    return np.random.default_rng(seed).integers(0, n, size=(draws, n))


def _interval(value: float, drawn: Float64, n: int, level: float, seed: int) -> Interval:
    defined = drawn[~np.isnan(drawn)]
    if n < 2 or not defined.size:
        return Interval(value, float("nan"), float("nan"), n, level, seed)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), n, level, seed)
