"""Scores of a run by domain, and how far they would move: pure functions of rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segbench.metrics import overlap
from segbench.metrics.intervals import Interval, of_mean, of_pooled
from segbench.report.folder import Int64, Run
from segbench.rows import Row

MEASURES = {
    "entropy": "entropy",
    "mutual_information": "mutual information",
    "spread": "percentile range",
    "deviation": "standard deviation",
}


@dataclass(frozen=True)
class Score:
    """A score with what it would be with other data: `of` says what was drawn, such as "domains"."""

    interval: Interval
    of: str

    @property
    def value(self) -> float:
        """The score itself."""
        return self.interval.value

    @property
    def has_ends(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.interval.low) and math.isfinite(self.interval.high)


def domain_value(rows: Sequence[Row], key: str) -> float | None:
    """Mean of a metric over the volumes of a domain, undefined ones left out; None where none has it."""
    there = [row.metrics[key] for row in rows if key in row.metrics]
    return overlap.mean(there) if there else None


def per_domain(run: Run, key: str) -> dict[str, float]:
    """The metric of each domain that has it; NaN where undefined."""
    found = {domain: domain_value(rows, key) for domain, rows in run.domains.items()}
    return {domain: value for domain, value in found.items() if value is not None}


def overall(run: Run, key: str) -> Score | None:
    """Mean over domains of a metric, with an interval over domains; over volumes where there is one domain.

    None where no row has it.
    """
    domains = per_domain(run, key)
    if not domains:
        return None
    if len(domains) > 1:
        return Score(of_mean(list(domains.values())), "domains")
    (rows,) = (rows for domain, rows in run.domains.items() if domain in domains)
    if len(rows) == 1 and key == f"accuracy_{run.reference}" and len(rows[0].blocks) > 1:
        return _pooled(rows[0])
    return Score(of_mean([row.metrics[key] for row in rows if key in row.metrics]), "volumes")


def accuracy_of_domain(run: Run, domain: str) -> Score | None:
    """Accuracy of a domain against the reference; interval over its volumes, or over blocks of the only one."""
    rows = run.domains[domain]
    if len(rows) == 1 and len(rows[0].blocks) > 1:
        return _pooled(rows[0])
    there = [row.metrics[f"accuracy_{run.reference}"] for row in rows if f"accuracy_{run.reference}" in row.metrics]
    return Score(of_mean(there), "volumes") if there else None


def parts_of_domain(run: Run, domain: str) -> tuple[list[float], str]:
    """Accuracies whose distribution a sparkline shows; what of: "volumes", or "blocks" or "slices" of the only one."""
    rows = run.domains[domain]
    if len(rows) == 1:
        values = [overlap.accuracy(np.array(block, dtype=np.int64)) for block in rows[0].blocks]
        return [value for value in values if not math.isnan(value)], _parts(rows[0])
    values = [overlap.accuracy(counts) for row in rows if (counts := run.counts(row)).size]
    return [value for value in values if not math.isnan(value)], "volumes"


def difference(base: Run, other: Run, key: str) -> Score | None:
    """Mean over the domains that both have of (other - base), paired; None where none has the metric in both."""
    a, b = per_domain(base, key), per_domain(other, key)
    common = [domain for domain in a if domain in b]
    return Score(of_mean([b[domain] - a[domain] for domain in common]), "domains") if common else None


def against_baseline(run: Run, name: str) -> Score | None:
    """Mean over domains of (accuracy of the model - that of a baseline), paired."""
    key = f"accuracy_{run.reference}"
    own, beside = per_domain(run, key), {}
    for domain in own:
        value = domain_value([row for row in run.baselines[name] if row.domain == domain], key)
        if value is not None:
            beside[domain] = own[domain] - value
    return Score(of_mean(list(beside.values())), "domains") if beside else None


def measured(run: Run, pattern: str) -> list[str]:
    """Measures of uncertainty of which a row has the metric or curve `pattern`, with M for the measure's name."""
    there = {key for row in run.rows for key in (*row.metrics, *row.curves)}
    return [name for name in MEASURES if pattern.replace("M", name) in there]


def pooled(matrices: Sequence[Int64]) -> Int64 | None:
    """The sum of confusion matrices of one size; None where there is none, or where they differ."""
    there = [matrix for matrix in matrices if matrix.size]
    if not there or len({matrix.shape for matrix in there}) > 1:
        return None
    total: Int64 = np.sum(there, axis=0, dtype=np.int64)
    return total


def _pooled(row: Row) -> Score | None:
    blocks = pooled_blocks(row)
    return None if blocks is None else Score(of_pooled(blocks, _accuracy), _parts(row))


def _parts(row: Row) -> str:
    return "slices" if row.stack else "blocks"


def pooled_blocks(row: Row) -> Int64 | None:
    """Confusion matrices of a row's blocks, (n, K, K); None where their sizes differ."""
    if len({len(block) for block in row.blocks}) != 1:
        return None
    return np.array(row.blocks, dtype=np.int64)


def _accuracy(counts: Int64) -> float:
    return overlap.accuracy(counts)
