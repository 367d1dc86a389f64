"""Tables as pure functions of rows: a line per domain, a mean, and the printed values in columns of their own."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segbench.evaluate.bounds import SAID, headings
from segbench.evaluate.columns import TRUST, Column, agreement, shares, trust, viability
from segbench.evaluate.estimates import estimate, of_counts, reference, said
from segbench.evaluate.printed import Printed
from segbench.io.message import printable
from segbench.metrics import overlap
from segbench.metrics.correlation import pearson
from segbench.metrics.overlap import mean
from segbench.rows import Row

Values = dict[str, float]

SHARES = (
    "share of each class; second network: share of the voxels that a model's local network decided; entropy is at most "
    "ln K, spread is that of the called class's probability"
)
TOO_FEW = "nan: the interval and the masks are of at least as many samples as the card's fit had"


@dataclass(frozen=True)
class Table:
    """Lines of unrounded values, NaN where undefined.

    Attributes:
        title: What the table shows.
        columns: After the first, which names the domain.
        lines: Domain and its values.
        mean: Mean over the domains of every column, undefined values left out.
        trained_on: Domains that are marked with an asterisk.
        notes: What a reader has to know.
    """

    title: str
    columns: tuple[Column, ...]
    lines: tuple[tuple[str, Values], ...]
    mean: Values
    notes: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()

    def text(self) -> list[list[str]]:
        """Heading, lines and mean as rounded text; undefined is "nan"."""
        head = ["domain", *(column.heading for column in self.columns)]
        body = [
            [f"{name}*" if name in self.trained_on else name, *(self._cell(values, c) for c in self.columns)]
            for name, values in self.lines
        ]
        return [head, *body, ["mean", *(self._cell(self.mean, c) for c in self.columns)]]

    @staticmethod
    def _cell(values: Values, column: Column) -> str:
        value = values.get(column.key, math.nan)
        return "nan" if math.isnan(value) else f"{value:.{column.digits}f}"


def per_domain(rows: Sequence[Row], name: str) -> dict[str, Values]:
    """Mean of every metric over the cases of a domain, for the model or baseline `name`, in the order of the rows."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        if row.model == name:
            grouped.setdefault(row.domain, []).append(row)
    return {
        domain: {key: mean([r.metrics.get(key, math.nan) for r in found]) for key in found[0].metrics}
        | {"cases": float(len(found))}
        for domain, found in grouped.items()
    }


def tables(
    rows: Sequence[Row], classes: Sequence[str], printed: Printed | None, trained_on: Sequence[str] = ()
) -> list[Table]:
    """The tables of one run: agreement with labels, then viability and uncertainty.

    Args:
        rows: Of one model and its baselines.
        classes: Names of the classes.
        printed: The study's values, for battery16.
        trained_on: Domains that the model was trained on; marked with an asterisk.
    """
    model = next(row.model for row in rows if row.kind == "case")
    lines = per_domain(rows, model)
    for name in {row.model for row in rows if row.kind == "baseline"}:
        for domain, values in per_domain(rows, name).items():
            lines[domain] |= {f"{name}_{key}": value for key, value in values.items()}
    for domain in lines:
        lines[domain] |= printed.of(domain) if printed else {}
    has_truth = any(row.confusion_truth is not None for row in rows)
    stack = any(row.stack for row in rows)
    against = "truth" if has_truth and not stack else "human"
    pairs = tuple(lines.items())
    marked = tuple(name for name in lines if name in trained_on)
    agreed = agreement(classes, against, printed is not None, has_truth)
    notes = [*_notes(against, marked, len(classes), stack), interval_note([row for row in rows if row.kind == "case"])]
    made = [_table(f"{model}: accuracy", agreed, pairs, notes, marked)]
    if len(classes) == 2:
        columns = viability(has_truth, printed is not None)
        notes = _wins(list(lines.values()), "human label" if has_truth else "label", printed)
        made.append(_table(f"{model}: viability and uncertainty", columns, pairs, notes, marked))
    known = {key for values in lines.values() for key in values}
    if len(classes) > 2:
        columns = [column for column in shares(classes, against) if column.key in known]
        made.append(_table(f"{model}: shares and uncertainty", columns, pairs, [SHARES], marked))
    shown = [column for column in trust(against) if column.key in known]
    if shown:
        made.append(_table(f"{model}: calibration, errors found, foreign input", shown, pairs, [TRUST], marked))
    if len(classes) == 2 and "share_low" in known:
        title, notes = f"{model}: share of {classes[1]} and its bounds", [SAID]
        if all(math.isnan(values.get("share_low", math.nan)) for values in lines.values()):
            notes.append(TOO_FEW)
        made.append(_table(title, [Column(*one) for one in headings(against)], pairs, notes, marked))
    return made


def interval_note(rows: Sequence[Row]) -> str:
    """The mean accuracy of a model with its interval, in a line."""
    against = "truth" if reference(rows[0]) == "truth" else "label"
    return said(f"mean accuracy ({against})", estimate(rows, of_counts(overlap.accuracy), overlap.accuracy))


def _table(
    title: str,
    columns: Sequence[Column],
    lines: tuple[tuple[str, Values], ...],
    notes: Sequence[str],
    marked: tuple[str, ...],
) -> Table:
    used = tuple(c for c in columns if any(not math.isnan(v.get(c.key, math.nan)) for _, v in lines) or not c.printed)
    means = {c.key: mean([values.get(c.key, math.nan) for _, values in lines]) for c in used}
    missing: dict[int, list[str]] = {}
    for c in used:
        missing.setdefault(sum(math.isnan(values.get(c.key, math.nan)) for _, values in lines), []).append(c.heading)
    left_out = [_left_out(found, n, len(lines)) for n, found in missing.items() if n]
    return Table(title, used, lines, means, (*notes, *left_out), marked)


def _left_out(headings: Sequence[str], n: int, of: int) -> str:
    if len(headings) == 1:
        return f"{headings[0]} is undefined for {n} of {of} domains, which its mean leaves out"
    return f"{', '.join(headings)} are undefined for {n} of {of} domains, which their means leave out"


def _notes(against: str, trained_on: Sequence[str], classes: int, stack: bool) -> list[str]:
    reference = "the truth" if against == "truth" else "the label"
    ranked = "AUC" if classes == 2 else "the accuracy within 2 voxels of a boundary"
    notes = [
        f"mIoU, fIoU, F1, {ranked}, forest and Otsu (their accuracy) are against {reference}; voxels are pooled per "
        "volume, then volumes are averaged; an absent class is nan and left out"
    ]
    if stack:
        notes.append("the slices of a domain are images of their own, pooled like a volume; blocks are slices")
    if trained_on:
        notes.append("* trained on this domain (other volumes of it)")
    return notes


def viability_gap(lines: Sequence[Values]) -> tuple[int, int, float]:
    """How often the model's viability exceeds the human label's, of how many, and Pearson's r of accuracy and gap.

    The accuracy is that against the human label; the gap is model minus human (Sandia study, table 0.2).
    """
    gaps = np.array([v.get("viability", math.nan) - v.get("viability_of_human", math.nan) for v in lines])
    accuracies = np.array([v.get("accuracy_human", math.nan) for v in lines])
    there = np.isfinite(gaps) & np.isfinite(accuracies)
    return int((gaps[there] > 0).sum()), int(there.sum()), pearson(accuracies[there], gaps[there])


def _wins(lines: Sequence[Values], label: str, printed: Printed | None) -> list[str]:
    wins, count, r = viability_gap(lines)
    study = f" (the study: {printed.wins} of {len(printed.domains)})" if printed else ""
    study_r = f" (the study: {printed.correlation:.3f})" if printed else ""
    correlation = f"{r:.3f}" if count > 2 and not math.isnan(r) else "undefined"  # two points are always on a line
    return [
        f"the model's viability is above the {label}'s in {wins} of {count} domains{study}",
        f"correlation of accuracy ({label}) and viability gap (model - label): {correlation}{study_r}",
    ]


def provenance(rows: Sequence[Row], note: str) -> str:
    """What the data is and how the model's rows came about, in one sentence each."""
    row = next(row for row in rows if row.kind == "case")
    seconds = sum(r.wall_s for r in rows if r.kind == "case")
    engine = f"{row.engine} {row.versions.get(row.engine, '')}".strip()
    threads = f"{row.threads} threads" if row.threads != 1 else "1 thread"
    thin = ", thin samples" if row.thin else ""
    return (
        f"{row.data}: {note}. {drawn(row)}, {engine} {row.precision} on {row.device}, {threads}{thin}; "
        f"prediction took {seconds:.1f} s. segbench {row.segbench}, commit {(row.git or 'unknown')[:12]}."
    )


def cautions(rows: Sequence[Row]) -> list[str]:
    """What spoke against trusting the predictions, a line each."""
    return [f"warning: {printable(text)}" for text in dict.fromkeys(text for row in rows for text in row.warnings)]


def drawn(row: Row) -> str:
    """How many samples a model's row is of, in words."""
    said = f"T = {row.samples}, seed {row.seed}" if row.samples else "T = 0 (no dropout, one pass)"
    said += f", {row.merge}" if row.merge else ""
    return said if row.calibrated else f"{said}, uncalibrated"


def markdown(made: Sequence[Table], heading: str, foot: str) -> str:
    """All tables as one Markdown page, printed values in italics, with their provenance at the end."""
    parts = [f"# {heading}\n"]
    for table in made:
        head, *body = table.text()
        italic = [False, *(c.printed for c in table.columns)]
        parts.append(f"## {table.title}\n")
        parts.append("| " + " | ".join(head) + " |\n|" + "---|" + "---:|" * (len(head) - 1))
        for line in body:
            cells = [f"*{cell}*" if slanted else cell for cell, slanted in zip(line, italic, strict=True)]
            parts.append("| " + " | ".join(cells) + " |")
        parts.append("\n" + "\n".join(f"- {note}" for note in table.notes) + "\n")
    return "\n".join([*parts, f"{foot}\n"])


def comma_separated(made: Sequence[Table]) -> str:
    """All columns of all tables, unrounded, a line per domain; undefined is empty."""
    keys = list(dict.fromkeys(c.key for table in made for c in table.columns))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["domain", *keys])
    number: Callable[[float], str] = lambda v: "" if math.isnan(v) else repr(v)  # noqa: E731
    for name, values in made[0].lines:
        writer.writerow([name, *(number(values.get(key, math.nan)) for key in keys)])
    means = {key: value for table in made for key, value in table.mean.items()}
    writer.writerow(["mean", *(number(means[key]) for key in keys)])
    return out.getvalue()
