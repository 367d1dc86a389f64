"""Runs side by side: a column a run, and what moved from the first, domain by domain."""

import math

from segbench.report.chart import sparkline
from segbench.report.folder import shown
from segbench.report.groups import Group
from segbench.report.markup import DASH, MINUS, Markup, element, number
from segbench.report.tables import Column, cell, columns, head, region, scored
from segbench.report.values import Score, difference, domain_value, overall

FEWEST = 6  # domains: fewer all move one way by chance more often than once in 20, and their interval leaves out 0 then


def beside(group: Group) -> Markup:
    """Runs side by side: a line a metric, a column a run, and the differences from the first, paired by domain."""
    base, *others = group.runs
    known = {column.key: column for run in group.runs for column in columns(run)}
    heads = [element("th", "mean over domains", scope="col"), element("th", f"{base.letter} {base.title}", scope="col")]
    for run in others:
        heads.append(element("th", f"{run.letter} {run.title}", scope="col"))
        heads.append(element("th", f"{run.letter} {MINUS} {base.letter}", scope="col"))
    lines = []
    for column in known.values():
        cells = [element("th", column.heading, scope="row"), scored(overall(base, column.key), column.digits)]
        for run in others:
            cells += [
                scored(overall(run, column.key), column.digits),
                _moved(difference(base, run, column.key), column),
            ]
        lines.append(element("tr", *cells))
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *lines), class_="beside")
    return region(table, "Runs side by side")


def by_domain(group: Group, column: Column) -> Markup:
    """One metric: a line a domain, a column a run, differences from the first; a sparkline over the runs."""
    base, *others = group.runs
    heads = [head("domain", "text"), element("th", "runs", scope="col"), head(base.letter, "number")]
    for run in others:
        heads += [head(run.letter, "number"), head(f"{run.letter} {MINUS} {base.letter}", "number")]
    found = {d: [domain_value(run.domains.get(d, ()), column.key) for run in group.runs] for d in group.domains}
    every = [v for values in found.values() for v in values if v is not None and math.isfinite(v)]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    lines = []
    for domain, (first, *rest) in found.items():
        there = [v for v in (first, *rest) if v is not None and math.isfinite(v)]
        said = f"{column.heading} of {shown(domain)} in {len(there)} runs, the thick mark is {base.letter}"
        spark = sparkline(there, low, high, math.nan if first is None else first, said) if len(there) > 1 else None
        name = shown(domain)
        cells = [element("th", name, scope="row", data_v=name), element("td", spark), cell(first, column.digits)]
        for value in rest:
            gap = None if value is None or first is None else value - first
            signed = number(gap, column.digits, signed=True)
            sortable = "" if gap is None or not math.isfinite(gap) else repr(gap)
            cells += [cell(value, column.digits), element("td", signed, data_v=sortable)]
        lines.append(element("tr", *cells))
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *lines), class_="sortable")
    return region(table, f"{column.heading} by domain")


def _moved(score: Score | None, column: Column) -> Markup:
    if score is None:
        return element("td", DASH)
    low, high = score.interval.low, score.interval.high
    told = ""
    apart = score.has_ends and score.interval.n >= FEWEST and (low > 0 or high < 0)
    if apart and column.better:
        told = "better" if (low > 0) == (column.better > 0) else "worse"
    ends_ = f"{number(low, column.digits, signed=True)} to {number(high, column.digits, signed=True)}"
    words = number(score.value, column.digits, signed=True) + (f" {told}" if told else "")
    range_ = ends_ if score.has_ends else f"n = {score.interval.n}"
    return element("td", words, element("small", range_), class_=told or None)
