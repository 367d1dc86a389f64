"""The verdict on one score of one domain, and all of them together."""

import math
from dataclasses import dataclass
from typing import Literal

from segbench.evaluate.compare_noise import Noise
from segbench.evaluate.compare_scores import BETTER, DISAGREEMENT, Allowed, family

MEAN = "mean of domains"
DEAD = 1e-6  # nats: where all samples are the same float32 leaves some 1e-8; the released models say 1e-3 and more
DEATHS = {
    0: "T = 0: nothing is sampled",
    1: "one sample shows no uncertainty",
    2: "dropout is dead: all samples are the same",
}

Verdict = Literal["same", "moved", "changed", "improved", "unmeasured", "regression"]


@dataclass(frozen=True)
class Line:
    """One score of one domain in both runs.

    Attributes:
        metric: Name of the score.
        domain: Or "domain/case", or "mean".
        base: Of BASE; NaN where undefined.
        new: Of NEW.
        difference: NEW - BASE; of seconds NEW / BASE - 1.
        limit: Largest difference that is none; NaN where nothing measures it.
        verdict: "same"; "moved": beyond 2.8 sigma, as some of many comparisons are; "changed": neither better nor
            worse; "improved"; "unmeasured": nothing says how much chance would do; "regression".
        why: In words, where the figures do not say it.
    """

    metric: str
    domain: str
    base: float
    new: float
    difference: float
    limit: float
    verdict: Verdict
    why: str = ""

    @property
    def excess(self) -> float:
        """Difference in units of its limit; infinite where the figures do not say it."""
        known = not self.why and not math.isnan(self.difference) and self.limit > 0
        return abs(self.difference) / self.limit if known else math.inf


@dataclass(frozen=True)
class Comparison:
    """What was compared, how, and what moved.

    Attributes:
        base: Name of BASE.
        new: Name of NEW.
        how: Where limits come from, in words.
        comparisons: How many differences were judged.
        over: How many domains, or contenders of a benchmark.
        lines: Every score of every domain, then of the mean.
        notes: What a reader has to know.
    """

    base: str
    new: str
    how: str
    comparisons: int
    over: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def regressions(self) -> tuple[Line, ...]:
        """What makes it fail, what is farthest beyond its limit first."""
        bad = [line for line in self.lines if line.verdict == "regression"]
        return tuple(sorted(bad, key=lambda line: -line.excess))

    @property
    def passed(self) -> bool:
        """Whether nothing is worse."""
        return not self.regressions


@dataclass(frozen=True)
class Judge:
    """Says of a difference what it is.

    Attributes:
        floor: By family: what the precision may cost.
        allow: What the user allows instead.
        comparisons: How many are made.
        samples: T of NEW.
        paired: Whether it is the same network with the same masks.
    """

    floor: dict[str, float]
    allow: Allowed
    comparisons: int
    samples: int
    paired: bool

    def line(self, metric: str, domain: str, base: float, new: float, chance: Noise | None) -> Line:
        """The line of one score; `chance` is None where nothing is left to it."""
        kind = family(metric) or metric
        floor, given = self.floor.get(kind, 0.0), self.allow.of(metric)
        limit = floor + (chance.limit(self.comparisons) if chance else 0.0) if given is None else given
        alone = floor + chance.repeatability() if chance and given is None else limit
        verdict, why = self._verdict(kind, base, new, limit, alone)
        return Line(metric, domain, base, new, new - base, limit, verdict, why)

    def _verdict(self, kind: str, base: float, new: float, limit: float, alone: float) -> tuple[Verdict, str]:
        if kind == "mutual_information" and new <= DEAD and (self.samples > 1 or base > DEAD):
            return "regression", DEATHS.get(self.samples, DEATHS[2])
        if math.isnan(new) or math.isnan(base):
            return self._undefined(kind, base, new)
        if math.isnan(limit):
            return "unmeasured", ""
        difference = new - base
        if abs(difference) <= limit:
            return ("moved" if abs(difference) > alone else "same"), ""
        better = BETTER.get(kind, -1)
        if self.paired and kind in DISAGREEMENT and difference < 0:
            # equal weights and masks make equal samples: where they disagree less, part of the dropout is lost
            return "regression", ""
        return ("changed" if not better else "improved" if difference * better > 0 else "regression"), ""

    def _undefined(self, kind: str, base: float, new: float) -> tuple[Verdict, str]:
        if math.isnan(base):
            return ("same", "undefined in both") if math.isnan(new) else ("changed", "undefined in BASE")
        if kind in DISAGREEMENT and not self.samples:
            return "regression", DEATHS[0]
        return "regression", "undefined in NEW"
