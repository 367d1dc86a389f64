"""The table of a run's domains, and what all tables share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segbench.report.chart import sparkline
from segbench.report.folder import Run, shown
from segbench.report.lead import ends
from segbench.report.markup import DASH, Markup, element, number
from segbench.report.values import Score, accuracy_of_domain, domain_value, overall, parts_of_domain


@dataclass(frozen=True)
class Column:
    """A metric as a column: its heading, its digits, and which direction is better: 1, -1, or 0 for neither."""

    key: str
    heading: str
    digits: int = 3
    better: int = 1


def columns(run: Run) -> list[Column]:
    """Those that a row of the run has."""
    end = run.reference
    label = "human label" if run.has_truth else "label"
    wanted = [
        Column("accuracy_human", f"accuracy, {label}"),
        Column("accuracy_truth", "accuracy, truth"),
        Column(f"miou_{end}", "mIoU"),
        Column(f"fiou_{end}", "fIoU"),
        *(Column(f"f1_{name}_{end}", f"F1 {shown(name)[:24]}") for name in run.classes),
        Column(f"auc_{end}", "AUC"),
        *([Column(f"accuracy_band_{end}", "accuracy, boundary")] if len(run.classes) > 2 else []),
        Column(f"ece_{end}", "ECE", 3, -1),
        Column(f"error_auroc_entropy_{end}", "error AUROC"),
        Column("viability_of_human", f"viability, {label}", 2, 0),
        Column("viability", "viability, model", 2, 0),
        Column("entropy", "entropy (nat)", 3, 0),
        Column("doubted", "second network", 3, 0),
        Column("foreign", "foreign score", 4, 0),
        Column("foreign_tiles", "foreign tiles", 2, 0),
    ]
    there = {key for row in run.rows for key in row.metrics}
    return [column for column in wanted if column.key in there]


def region(table: Markup, name: str) -> Markup:
    """A table that scrolls by itself, by keyboard too."""
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=name)


def domains(run: Run) -> Markup:
    """A line a domain, with the distribution of the accuracy within it, and the mean; sorted by what is clicked on."""
    wide = columns(run)
    parts = {domain: parts_of_domain(run, domain) for domain in run.domains}
    every = [value for values, _ in parts.values() for value in values if math.isfinite(value)]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    heads = [head("domain", "text"), *([head("accuracy within", "number")] if every else [])]
    many = len(run.rows) > len(run.domains)
    heads += [head("volumes", "number")] if many else []
    heads += [head(column.heading, "number") for column in wide]
    body = []
    for domain, rows in run.domains.items():
        star = element("abbr", "*", title="the model was trained on this domain") if domain in run.trained_on else None
        cells = [element("th", shown(domain), star, scope="row", data_v=shown(domain))]
        if every:
            cells.append(_within(run, domain, parts[domain], low, high))
        cells += [cell(float(len(rows)), 0)] if many else []
        cells += [cell(domain_value(rows, column.key), column.digits) for column in wide]
        body.append(element("tr", *cells))
    foot = _means(run, wide, within=bool(every), many=many)
    table = element(
        "table", element("caption", f"Domains of {run.title}", class_="hidden"),
        element("thead", element("tr", *heads)), element("tbody", *body), element("tfoot", *foot), class_="sortable",
    )  # fmt: skip
    return region(table, f"Domains, {run.title}")


def _means(run: Run, wide: Sequence[Column], *, within: bool, many: bool) -> list[Markup]:
    scores = [overall(run, column.key) for column in wide]
    values = [
        element("td", number(None if s is None else s.value, c.digits)) for s, c in zip(scores, wide, strict=True)
    ]
    ranges = [element("td", ends_of(s, c.digits)) for s, c in zip(scores, wide, strict=True)]
    blank = element("td")
    first = [blank] if within else []
    total = [element("td", str(len(run.rows)))] if many else []
    named = (element("th", words, scope="row") for words in ("mean", "95 % interval"))
    return [
        element("tr", next(named), *first, *total, *values),
        element("tr", next(named), *first, *([blank] if many else []), *ranges),
    ]


def ends_of(score: Score | None, digits: int) -> str:
    """The interval in few signs; "n = 1" where there is none for that reason."""
    if score is None:
        return ""
    if not score.has_ends:
        return "n = 1" if score.interval.n == 1 else ""
    return f"{number(score.interval.low, digits)} to {number(score.interval.high, digits)}"


def _within(run: Run, domain: str, parts: tuple[list[float], str], low: float, high: float) -> Markup:
    values, of = parts
    score = accuracy_of_domain(run, domain)
    mean = math.nan if score is None else score.value
    if len(values) < 2:
        return element("td", "n = 1" if values else DASH, data_v=mean if math.isfinite(mean) else "")
    said = f"accuracy over {len(values)} {of}: from {number(min(values))} to {number(max(values))}"
    if score is not None:
        said += f"; mean {number(mean)}, {ends(score)}"
    return element("td", sparkline(values, low, high, mean, said), data_v=mean if math.isfinite(mean) else "")


def head(words: str, kind: str) -> Markup:
    """A heading by which lines are sorted: as "text" or as "number"."""
    return element("th", words, scope="col", data_sort=kind)


def cell(value: float | None, digits: int) -> Markup:
    """A number by which lines are sorted; undefined ones come last."""
    text = number(value, digits)
    known = value is not None and math.isfinite(value)
    return element("td", text, data_v=repr(float(value)) if known and value is not None else "")


def scored(score: Score | None, digits: int) -> Markup:
    """A cell with a score, its interval below."""
    if score is None:
        return element("td", DASH)
    return element("td", number(score.value, digits), element("small", ends_of(score, digits)))
