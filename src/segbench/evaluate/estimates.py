"""Scores of several volumes with their interval: what is drawn again is the largest unit of which there are several.

Domains where there are several of them (each by the mean of its volumes), else the volumes of the only domain, else
the blocks of the only volume. Blocks say how a score varies within a scan and nothing of other scans, so they are
marked; where there is nothing to draw from, there is no interval, which is marked too. Tables of trained methods have
intervals over trainings, by Student's t because they are few, or over the slices of one training.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from segbench.metrics import overlap
from segbench.metrics.counts import Int64
from segbench.metrics.intervals import DRAWS, LEVEL, Interval, of_mean, of_pooled
from segbench.rows import Row

Score = Callable[[Row], float]
Pooled = Callable[[Int64], float]

BLOCKS, SINGLE = "†", "‡"
PARTS = ("block", "slice")
FEW = 5
"""An interval over fewer than this is hardly more than their range."""


@dataclass(frozen=True)
class Estimate:
    """A score, its interval, and what was drawn for it."""

    interval: Interval
    drawn: Literal["domain", "volume", "block", "slice", "training"]

    @property
    def mark(self) -> str:
        """What a reader has to be warned of; else empty."""
        if self.drawn in PARTS:
            return BLOCKS
        return SINGLE if self.interval.n == 1 else ""


def reference(row: Row) -> Literal["truth", "human"]:
    """What a row's scores and blocks are against: the truth where there is one, else and of a stack the label."""
    return "human" if row.confusion_truth is None or row.stack else "truth"


def counts(row: Row) -> Int64:
    """The confusion matrix against the row's reference."""
    return np.array(row.confusion_human if reference(row) == "human" else row.confusion_truth, dtype=np.int64)


def metric(name: str) -> Score:
    """A stored score by name, against the row's reference or as it is; NaN where the row lacks it."""
    nan = float("nan")
    return lambda row: row.metrics.get(f"{name}_{reference(row)}", row.metrics.get(name, nan))


def of_counts(score: Pooled) -> Score:
    """A score of the confusion matrix against the row's reference."""
    return lambda row: score(counts(row))


def f1_of_class_1(matrix: Int64) -> float:
    """F1 of class 1."""
    return float(overlap.f1(matrix)[1])


def estimate(rows: Sequence[Row], score: Score, pooled: Pooled | None = None) -> Estimate:
    """A score over the volumes of one method.

    Args:
        rows: One per volume.
        score: Of a volume.
        pooled: The same of a confusion matrix, where it has one: so that the blocks of an only volume can be drawn.
    """
    domains: dict[str, list[float]] = {}
    for row in rows:
        domains.setdefault(row.domain, []).append(score(row))
    if len(domains) > 1:
        return Estimate(of_mean([overlap.mean(values) for values in domains.values()]), "domain")
    values = [value for only in domains.values() for value in only]
    if len(values) == 1 and pooled is not None and len(rows[0].blocks) > 1:
        drawn = of_pooled(np.array(rows[0].blocks, dtype=np.int64), pooled)
        return Estimate(replace(drawn, value=values[0]), "slice" if rows[0].stack else "block")
    return Estimate(of_mean(values), "volume")


def of_slices(values: Sequence[float]) -> Estimate:
    """Mean of one score per slice of a stack, with the bootstrap over its slices."""
    return Estimate(of_mean(values), "slice")


def of_trainings(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean of one score per training with the interval of Student's t: a bootstrap of three hardly exceeds their range.

    Undefined scores are left out; there is no interval of fewer than two.
    """
    from scipy.special import stdtrit

    there = np.array([v for v in values if not np.isnan(v)], dtype=np.float64)
    middle = overlap.mean(there)
    half = float("nan")
    if there.size > 1:
        half = float(stdtrit(there.size - 1, (1 + level) / 2) * there.std(ddof=1) / np.sqrt(there.size))
    return Estimate(Interval(middle, middle - half, middle + half, there.size, level), "training")


def explained(estimates: Iterable[Estimate]) -> list[str]:
    """What a reader has to know of these estimates, a sentence each."""
    there = list(estimates)
    ranged = [e for e in there if not np.isnan(e.interval.low)]
    notes = []
    trainings = [e for e in ranged if e.drawn == "training"]
    if trainings:
        level, units = trainings[0].interval.level, "; ".join(_drawn(trainings))
        notes.append(f"in brackets: {level * 100:.0f} % interval of Student's t over {units} of other seeds")
    resampled = [e for e in ranged if e.drawn != "training"]
    if resampled:
        first, units = resampled[0].interval, "; ".join(_drawn(resampled))
        where = "in brackets" if not trainings else "in brackets elsewhere"
        notes.append(
            f"{where}: {first.level * 100:.0f} % percentile interval of the bootstrap, {DRAWS} draws, "
            f"seed {first.seed}, over {units}"
        )
        if any(e.interval.n < FEW for e in resampled):
            notes.append(f"over fewer than {FEW} an interval is hardly more than their range")
    drawn = " or ".join(f"{part}s" for part in PARTS if any(e.drawn == part for e in there))
    if drawn:
        notes.append(f"{BLOCKS} one volume (n = 1): its {drawn} are drawn, which says nothing of other volumes")
    if any(e.mark == SINGLE for e in there):
        notes.append(f"{SINGLE} n = 1: nothing to draw from, so no interval")
    return notes


def _drawn(ranged: Sequence[Estimate]) -> list[str]:
    """What was drawn and how many of them, such as "domains (n = 2 to 14)"."""
    found = []
    for unit in dict.fromkeys(e.drawn for e in ranged):
        sizes = sorted({e.interval.n for e in ranged if e.drawn == unit})
        n = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        found.append(f"{unit}s (n = {n})")
    return found


def said(name: str, found: Estimate) -> str:
    """An estimate in one line, such as "mean accuracy 0.944, 95 % interval 0.930 to 0.955 over 16 domains, ..."."""
    interval = found.interval
    if np.isnan(interval.low):
        return f"{name} {interval.value:.3f}, without an interval: n = {interval.n}"
    one = " of one volume" if found.drawn in PARTS else ""
    return (
        f"{name} {interval.value:.3f}, {interval.level * 100:.0f} % interval {interval.low:.3f} to {interval.high:.3f} "
        f"over {interval.n} {found.drawn}s{one} (bootstrap, seed {interval.seed}, {DRAWS} draws)"
    )
