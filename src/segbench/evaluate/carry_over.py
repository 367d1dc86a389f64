"""Whether a model carries over: its scores on data of its training and on scans that it has never seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segbench.evaluate.definitions import Stored
from segbench.evaluate.eval import FOREST, OTSU
from segbench.evaluate.scores import THRESHOLDS, count_key
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.metrics import overlap
from segbench.rows import Row

Values = dict[str, float]


@dataclass(frozen=True)
class Spread:
    """Values of one score over trainings from several seeds: how many, standard deviation (n - 1), least, most."""

    n: int
    deviation: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Spread of the defined ones of `values`; NaN where there are too few of them."""
    there = np.array([value for value in values if not math.isnan(value)], dtype=np.float64)
    if not there.size:
        return Spread(0, math.nan, math.nan, math.nan)
    deviation = float(there.std(ddof=1)) if there.size > 1 else math.nan
    return Spread(int(there.size), deviation, float(there.min()), float(there.max()))


def scores(rows: Sequence[Row]) -> Values:
    """Scores of one method: of each volume, then the mean over a domain's volumes, then over the domains.

    Precision, recall and F1 are those of class 1, against the truth where there is one.
    """
    domains: dict[str, list[Values]] = {}
    for row in rows:
        domains.setdefault(row.domain, []).append(_of_case(row))
    keys = ("accuracy", "f1", "precision", "recall", "auc")
    per_domain = [{key: overlap.mean([case[key] for case in cases]) for key in keys} for cases in domains.values()]
    return {key: overlap.mean([domain[key] for domain in per_domain]) for key in keys}


def _of_case(row: Row) -> Values:
    against = "human" if row.confusion_truth is None else "truth"
    counts = np.array(row.confusion_human if row.confusion_truth is None else row.confusion_truth, dtype=np.int64)
    return {
        "accuracy": overlap.accuracy(counts),
        "f1": float(overlap.f1(counts)[1]),
        "precision": float(overlap.precision(counts)[1]),
        "recall": float(overlap.recall(counts)[1]),
        "auc": row.metrics.get(f"auc_{against}", math.nan),
    }


COLUMNS = (
    Heading("data", words=True),
    Heading("volumes", 0),
    Heading("accuracy"),
    Heading("F1 class 1"),
    Heading("precision"),
    Heading("recall"),
    Heading("AUC"),
    Heading("compared by", words=True),
    Heading("Otsu"),
    Heading("forest"),
    Heading("seeds n", 0),
    Heading("sd", 4),
    Heading("min"),
    Heading("max"),
)


def carry_over(stored: Sequence[Stored]) -> list[Sheet]:
    """The sheets of a carry-over table: scores beside the baselines' and the spread over seeds, then thresholds."""
    lines: list[tuple[Cell, ...]] = []
    chosen: list[tuple[Cell, ...]] = []
    for main in (part for part in stored if part.rows and not part.run.of_seed):
        seeds = [main, *(s for s in stored if s.run.of_seed and s.rows and s.run.data == main.run.data)]
        for name, domains in _groups(main):
            lines.append(_line(name, domains, main, seeds))
        if main.run.measured:
            chosen += _thresholds(main, seeds)
    sheets = []
    if lines:
        sheets.append(Sheet("Scores on data of its training and on scans never seen", COLUMNS, tuple(lines), NOTES))
    if chosen:
        sheets.append(Sheet("A threshold chosen on one folder, reported on the other", CHOSEN, tuple(chosen), ADVICE))
    return sheets


def _groups(main: Stored) -> list[tuple[str, list[str]]]:
    """Lines of a run: name and domains."""
    there = list(dict.fromkeys(row.domain for row in main.own))
    if main.run.measured:
        lines = [(domain, [domain]) for domain in there]
        return [*lines, (f"{main.run.data}, mean of {len(there)}", there)] if len(there) > 1 else lines
    trained = [domain for domain in there if domain in main.trained_on]
    outside = [domain for domain in there if domain not in main.trained_on]
    data = main.run.data
    parts = [(f"{data}, {len(trained)} training domains", trained), (f"{data}, {len(outside)} others", outside)]
    return [part for part in parts if trained and part[1]] + [(f"{data}, all {len(there)}", there)]


def _line(name: str, domains: list[str], main: Stored, seeds: Sequence[Stored]) -> tuple[Cell, ...]:
    def picked(rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if row.domain in domains]

    own = scores(picked(main.own))
    headline = "f1" if main.run.measured else "accuracy"
    over = spread([scores(picked(seed.own))[headline] for seed in seeds])
    beside = [scores(picked(main.of(baseline)))[headline] for baseline in (OTSU, FOREST)]
    return (
        name,
        float(len(picked(main.own))),
        *(own[key] for key in ("accuracy", "f1", "precision", "recall", "auc")),
        "F1" if main.run.measured else "accuracy",
        *beside,
        float(over.n),
        over.deviation,
        over.least,
        over.most,
    )


NOTES = (
    "battery16 is simulated and scored against its truth, at other seeds than any training's; the other sets are "
    "measured, never trained on, and scored against their labels",
    'Otsu, forest and the spread over seeds are of the score that "compared by" names: F1 of class 1 on measured '
    "data, accuracy on simulated data",
    "a score is of each volume, then the mean over a domain's volumes, then over domains; an undefined one is left out",
    "seeds: trainings of one recipe from n seeds, this model among them; sd is the sample standard deviation (n - 1)",
    "the forest saw one labelled slice of the same volume, or of another volume of its domain; the model saw none",
)

CHOSEN = (
    Heading("chosen on", words=True),
    Heading("threshold", 2),
    Heading("F1 there"),
    Heading("reported on", words=True),
    Heading("F1"),
    Heading("F1 at 0.50"),
    Heading("best F1"),
    Heading("at", 2),
    Heading("seeds n", 0),
    Heading("sd of F1", 4),
    Heading("min"),
    Heading("max"),
)
ADVICE = (
    "voxels are pooled over a folder's volumes; thresholds are tried from 0.05 to 0.95 in steps of 0.05",
    'only "F1" is a result: "best F1" is chosen on what it reports and is the most that any threshold gives',
)


def pooled_f1(rows: Sequence[Row]) -> dict[float, float]:
    """F1 of class 1 at each threshold, over the voxels of all rows together; empty where rows hold no counts."""
    against = "human" if rows and rows[0].confusion_truth is None else "truth"
    if not rows or any(count_key("tp", THRESHOLDS[0], against) not in row.metrics for row in rows):
        return {}
    positives = sum(sum(row.confusion_human[1]) for row in rows if row.confusion_human) if against == "human" else 0
    if against == "truth":
        positives = sum(sum(row.confusion_truth[1]) for row in rows if row.confusion_truth)
    out = {}
    for at in THRESHOLDS:
        hits, alarms = (sum(row.metrics[count_key(name, at, against)] for row in rows) for name in ("tp", "fp"))
        # 2 tp / (2 tp + fp + fn), with tp + fn the voxels that are class 1
        out[at] = 2 * hits / (hits + alarms + positives) if hits + alarms + positives else math.nan
    return out


def best(f1: dict[float, float]) -> float:
    """The threshold with the highest F1; of equals the one nearest to 0.5."""
    return max(f1, key=lambda at: (-1.0 if math.isnan(f1[at]) else f1[at], -abs(at - 0.5)))


def _thresholds(main: Stored, seeds: Sequence[Stored]) -> list[tuple[Cell, ...]]:
    """A line for every ordered pair of domains of a measured set."""
    domains = list(dict.fromkeys(row.domain for row in main.own))
    lines: list[tuple[Cell, ...]] = []
    for on in domains:
        for other in (domain for domain in domains if domain != on):
            there, here = (pooled_f1([r for r in main.own if r.domain == d]) for d in (on, other))
            if not there or not here:
                continue
            over = spread([carried(seed.own, on, other) for seed in seeds])
            at, oracle = best(there), best(here)
            lines.append(
                (on, at, there[at], other, here[at], here[0.5], here[oracle], oracle, float(over.n), over.deviation,
                 over.least, over.most)
            )  # fmt: skip
    return lines


def carried(rows: Sequence[Row], on: str, other: str) -> float:
    """F1 on domain `other` at the threshold that is best on domain `on`; NaN where rows hold no counts."""
    there, here = (pooled_f1([row for row in rows if row.domain == domain]) for domain in (on, other))
    return here[best(there)] if there and here else math.nan
