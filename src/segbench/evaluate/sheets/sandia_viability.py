"""The study's table 0.2, viability of the human label and of the model's: the printed values, and ours beside them."""

from collections.abc import Sequence

import numpy as np

from segbench.evaluate.definitions import Stored
from segbench.evaluate.estimates import Estimate, Score
from segbench.evaluate.printed import Printed
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.evaluate.sheets.groups import Method, mains, methods
from segbench.evaluate.sheets.sandia_accuracy import marked, mean_over, notes, of
from segbench.evaluate.table import Values, viability_gap
from segbench.metrics.correlation import pearson
from segbench.metrics.intervals import of_lines
from segbench.metrics.reliability import Float64
from segbench.rows import Row

KEYS = ("accuracy_human", "viability", "viability_of_human")


def sandia_viability(stored: Sequence[Stored], printed: Printed) -> list[Sheet]:
    """T0.2 in the order of the paper, then wins and correlation."""
    found = methods(mains(stored))
    return [_domains(found, printed), _summary(found, printed)] if found else []


def stored_score(key: str) -> Score:
    """A stored score by its full name."""

    def score(row: Row) -> float:
        return row.metrics.get(key, float("nan"))

    return score


def _domains(found: Sequence[Method], printed: Printed) -> Sheet:
    columns = [
        Heading("domain", words=True),
        Heading("accuracy, the study", printed=True),
        Heading("human label, the study", printed=True),
        Heading("model, the study", printed=True),
        Heading("human-like label"),
        Heading("truth"),
    ]
    for method in found:
        columns += [Heading(f"accuracy {method.name}"), Heading(f"viability {method.name}")]
    label, truth = stored_score("viability_of_human"), stored_score("viability_of_truth")
    accuracy, viability = stored_score("accuracy_human"), stored_score("viability")
    lines: list[tuple[Cell, ...]] = []
    for line in printed.domains:
        own = [of(method, line.domain, score) for method in found for score in (accuracy, viability)]
        ours = (of(found[0], line.domain, label), of(found[0], line.domain, truth))
        said = (line.accuracy, line.human_viability, line.ml_viability)
        lines.append((marked(line.domain, found), *said, *ours, *own))
    names = [line.domain for line in printed.domains]
    means = [mean_over(method, names, score) for method in found for score in (accuracy, viability)]
    ours_mean = (mean_over(found[0], names, label), mean_over(found[0], names, truth))
    mean = printed.mean
    lines.append(("mean", mean.accuracy, mean.human_viability, mean.ml_viability, *ours_mean, *means))
    title = "T0.2: viability of the human label and of the model's"
    return Sheet(title, tuple(columns), tuple(lines), notes(found, printed))


def _summary(found: Sequence[Method], printed: Printed) -> Sheet:
    columns = (Heading("", words=True), Heading("the study", printed=True), *(Heading(m.name) for m in found))
    lines: tuple[tuple[Cell, ...], ...] = (
        (
            "model's viability above the human label's",
            f"{printed.wins} of {len(printed.domains)}",
            *(_wins(m, printed) for m in found),
        ),
        ("Pearson's r of accuracy and gap", printed.correlation, *(_correlation(m, printed) for m in found)),
        ("mean gap", printed.mean.ml_viability - printed.mean.human_viability, *(_gap(m, printed) for m in found)),
    )
    said = "gap: the model's viability less the human label's; the study's r and gap follow from its printed values"
    return Sheet("Wins, correlation and gap over the domains", columns, lines, (said,))


def _values(method: Method, printed: Printed) -> list[Values]:
    return [{key: of(method, line.domain, stored_score(key)) for key in KEYS} for line in printed.domains]


def _table(method: Method, printed: Printed) -> Float64:
    """Accuracy and gap of every domain, shape (domains, 2)."""
    values = _values(method, printed)
    return np.array([[v["accuracy_human"], v["viability"] - v["viability_of_human"]] for v in values], np.float64)


def _wins(method: Method, printed: Printed) -> str:
    wins, count, _ = viability_gap(_values(method, printed))
    return f"{wins} of {count}"


def _correlation(method: Method, printed: Printed) -> Estimate:
    def r(lines: Float64) -> float:
        # two points are always on a line
        return pearson(lines[:, 0], lines[:, 1]) if len(np.unique(lines, axis=0)) > 2 else float("nan")

    return Estimate(of_lines(_table(method, printed), r), "domain")


def _gap(method: Method, printed: Printed) -> Estimate:
    return Estimate(of_lines(_table(method, printed), lambda lines: float(lines[:, 1].mean())), "domain")
