"""Seconds of two runs, as their ratio: what is slower than repeats of BASE differ by."""

import math
from collections.abc import Sequence

import numpy as np

from segbench.evaluate.compare_lines import Line, Verdict
from segbench.evaluate.compare_match import Matched
from segbench.evaluate.compare_noise import UNKNOWN, Noise
from segbench.evaluate.compare_scores import WALL, Allowed
from segbench.rows import Row


def of_runs(found: Matched, allow: Allowed) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """The line of all predictions' seconds together, or a note why there is none."""
    machines = {(row.device, row.threads) for row in (found.base[0], found.new[0])}
    if len(machines) > 1:
        named = " and ".join(f"{device} with {threads} threads" for device, threads in sorted(machines, key=str))
        return (), (f"speed is not compared: the machines differ ({named})",)
    base, new = _seconds(found.base), _seconds(found.new)
    alike = [rows for rows in found.repeats if (rows[0].device, rows[0].threads) in machines]
    chance = of_logarithms([math.log(s) for s in (base, *map(_seconds, alike)) if s > 0])
    line = ratio(WALL, "all", base, new, chance, 1, allow.of(WALL))
    if line.verdict == "unmeasured":
        return (line,), ("speed is shown and not judged: give --repeat, or --allow wall_s=0.1 for a tenth",)
    return (line,), ()


def ratio(
    metric: str, where: str, base: float, new: float, chance: Noise, comparisons: int, given: float | None
) -> Line:
    """A line of seconds; difference and limit are shares of BASE's.

    Args:
        metric: Its name.
        where: What was timed.
        base: Seconds.
        new: Seconds.
        chance: Noise of the logarithm of their ratio.
        comparisons: How many are made.
        given: What the user allows in place of the limit.
    """
    difference = new / base - 1 if base > 0 else math.nan
    limit = math.expm1(chance.limit(comparisons)) if given is None else given
    verdict: Verdict = "same"
    if math.isnan(limit) or math.isnan(difference):
        verdict = "unmeasured"
    elif difference > limit:
        verdict = "regression"
    elif difference < 1 / (1 + limit) - 1:
        verdict = "improved"
    return Line(metric, where, base, new, difference, limit, verdict)


def of_logarithms(seconds: Sequence[float]) -> Noise:
    """Noise of the difference of two logarithms, from those of equal runs."""
    if len(seconds) < 3:
        return UNKNOWN
    return Noise(math.sqrt(2 * float(np.var(seconds, ddof=1))), len(seconds) - 1)


def _seconds(rows: Sequence[Row]) -> float:
    return sum(row.wall_s for row in rows)
