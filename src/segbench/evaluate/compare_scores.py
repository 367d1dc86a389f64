"""What two runs are compared by: which scores, which way is worse, and what a precision may cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from segbench.errors import InputError, UnknownNameError
from segbench.evaluate.definitions import home
from segbench.metrics.overlap import mean
from segbench.recipe import Strict, read_toml
from segbench.rows import Row

MEASURES = ("entropy", "mutual_information", "spread", "deviation")
DISAGREEMENT = ("mutual_information", "spread", "deviation")
"""Measures that are 0 where all samples say the same."""

BETTER = {
    "accuracy": 1, "miou": 1, "f1": 1, "auc": 1, "nll": -1, "brier": -1, "ece": -1, "error_auroc": 1, "ause": -1,
    "viability": 0, "entropy": 0, "mutual_information": 0, "spread": 0, "deviation": 0,
}  # fmt: skip
"""Families of scores: 1 where more is better, -1 where less is, 0 where neither is."""

WALL, MEDIAN = "wall_s", "median_s"
SECONDS = (WALL, MEDIAN)
REFERENCES = ("_truth", "_human")
Values = dict[str, dict[str, float]]
"""Score by name, then by domain or case."""


class Tolerances(Strict):
    """What the same network with the same masks may differ by; `evaluate/tolerances.toml`.

    Attributes:
        precision: By precision, then by family of scores: the largest difference of a case that is no regression.
    """

    precision: dict[str, dict[str, float]] = Field(min_length=1)

    def of(self, precisions: Iterable[str]) -> dict[str, float]:
        """By family, the largest of what the precisions may cost.

        Raises:
            InputError: One of them is not in the file.
        """
        found: dict[str, float] = {}
        for name in precisions:
            if name not in self.precision:
                known = ", ".join(self.precision)
                raise InputError(
                    f"precision {name!r}: what it may cost is not stated (evaluate/tolerances.toml: {known})"
                )
            for family, value in self.precision[name].items():
                found[family] = max(value, found.get(family, 0.0))
        return found


def tolerances() -> Tolerances:
    """The file of them, as installed."""
    read = read_toml(home() / "tolerances.toml", Tolerances)
    for name, table in read.precision.items():
        if set(table) != set(BETTER):
            raise InputError(f"tolerances.toml: {name}: states {', '.join(table)}; it has to state {', '.join(BETTER)}")
    return read


def family(name: str) -> str | None:
    """Family of a score by its name; None for what is not compared, such as a score of the boundary alone."""
    bare = name
    for reference in REFERENCES:
        bare = bare.removesuffix(reference)
    if bare == name:  # of the image or of the samples, not against a reference
        return bare if BETTER.get(bare) == 0 else None
    if bare.startswith("f1_"):
        return "f1"
    for measured in ("error_auroc", "ause"):
        if bare.removeprefix(f"{measured}_") in MEASURES:
            return measured
    return bare if BETTER.get(bare) else None


def compared(row: Row) -> dict[str, float]:
    """The scores of a case that are compared: against the truth where there is one, else against the human label.

    Of a stack they are against the label where there is one, as its blocks are.
    """
    found = {name: value for name, value in row.metrics.items() if family(name)}
    first, other = ("_human", "_truth") if row.stack else ("_truth", "_human")
    return {
        name: value
        for name, value in found.items()
        if not name.endswith(other) or f"{name.removesuffix(other)}{first}" not in found
    }


def by_case(rows: Sequence[Row]) -> Values:
    """Scores of each case; a volume that is its domain's only one goes by the domain's name."""
    several = {row.domain for row in rows if row.case != row.domain}
    return _turned({f"{r.domain}/{r.case}" if r.domain in several else r.domain: compared(r) for r in rows})


def by_domain(rows: Sequence[Row]) -> Values:
    """Scores of each domain: means over its cases, undefined ones left out."""
    grouped: dict[str, list[dict[str, float]]] = {}
    for row in rows:
        grouped.setdefault(row.domain, []).append(compared(row))
    return _turned(
        {
            domain: {name: mean([case.get(name, math.nan) for case in cases]) for name in cases[0]}
            for domain, cases in grouped.items()
        }
    )


def _turned(lines: Mapping[str, Mapping[str, float]]) -> Values:
    found: Values = {}
    for line, scores in lines.items():
        for name, value in scores.items():
            found.setdefault(name, {})[line] = value
    return found


@dataclass(frozen=True)
class Allowed:
    """What a user says a score may get worse by, by its name or by its family; it replaces the limit."""

    by_name: Mapping[str, float]

    def of(self, name: str) -> float | None:
        """For the score of that name; None where nothing was said."""
        return self.by_name.get(name, self.by_name.get(family(name) or name))


def allowed(given: Sequence[str], names: Iterable[str]) -> Allowed:
    """From "METRIC=VALUE".

    Args:
        given: As written.
        names: Scores that are compared.

    Raises:
        InputError: Not of that form, or the value is no number from 0.
        UnknownNameError: No score of that name is compared.
    """
    known = dict.fromkeys([*names, *BETTER, WALL])
    found: dict[str, float] = {}
    for one in given:
        name, equals, text = one.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not equals or not 0 <= value < math.inf:
            raise InputError(f"--allow {one}: write METRIC=VALUE with a value from 0, such as accuracy_truth=0.002")
        if name not in known:
            raise UnknownNameError("metric", name, known)
        found[name] = value
    return Allowed(found)
