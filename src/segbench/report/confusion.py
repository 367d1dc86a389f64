"""Which class was taken for which."""

import math
from collections.abc import Callable

import numpy as np

from segbench.metrics import overlap
from segbench.report.folder import Int64, Run, shown
from segbench.report.markup import Markup, count, element, join, percent
from segbench.report.tables import region
from segbench.report.values import pooled


def confusion(run: Run) -> Markup | None:
    """The matrices of all volumes together, against truth and human label, then those of single domains."""
    made = []
    for end, told in (("truth", "truth"), ("human", "human label")):
        total = pooled([_counts(run, n, end) for n in range(len(run.rows))])
        if total is not None:
            made.append(_matrix(run, total, told, f"All volumes against the {told}"))
    if not made:
        return None
    single: list[Markup] = []
    for domain, rows in list(run.domains.items())[:64] if len(run.domains) > 1 else ():
        total = pooled([run.counts(row) for row in rows])
        if total is not None:
            single.append(_matrix(run, total, "truth" if run.reference == "truth" else "human label", shown(domain)))
    boxes = element("div", *made, class_="figures")
    if not single:
        return boxes
    inside = element("div", *single, class_="figures small")
    return join([boxes, element("details", element("summary", "Each domain"), inside)])


def _counts(run: Run, n: int, end: str) -> Int64:
    told = run.rows[n].confusion_truth if end == "truth" else run.rows[n].confusion_human
    return np.array(told if told is not None else [], dtype=np.int64)


def _matrix(run: Run, counts: Int64, told: str, title: str) -> Markup:
    size = len(counts)
    names = [shown(run.classes[n])[:24] if n < len(run.classes) else f"class {n}" for n in range(size)]
    shares: Callable[[int, int], float] = lambda i, j: counts[i, j] / counts[i].sum() if counts[i].sum() else math.nan  # noqa: E731
    heads = [element("th", f"{told} \\ predicted", scope="col"), *(element("th", name, scope="col") for name in names)]
    lines = []
    for i, name in enumerate(names):
        cells = []
        for j in range(size):
            share = shares(i, j)
            level = _level(share, right=i == j)
            class_ = f"{'hit' if i == j else 'miss'} c{level}"
            cells.append(element("td", percent(share), element("small", count(int(counts[i, j]))), class_=class_))
        lines.append(element("tr", element("th", name, scope="row"), *cells))
    caption = element("caption", f"{title}: accuracy {percent(overlap.accuracy(counts))}")
    table = element(
        "table", caption, element("thead", element("tr", *heads)), element("tbody", *lines), class_="matrix"
    )
    return region(table, title)


def _level(share: float, *, right: bool) -> int:
    """How strongly a cell is coloured, 0 to 5: a tenth of a class that is missed matters more than a tenth found."""
    if not math.isfinite(share):
        return 0
    return round(5 * share) if right else min(5, math.ceil(10 * share - 0.1))
