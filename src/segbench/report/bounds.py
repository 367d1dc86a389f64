"""The share of class 1, domain by domain, with what bounds it."""

import math

from segbench.evaluate.bounds import SAID, headings
from segbench.report.folder import Run, shown
from segbench.report.markup import Markup, element, join, number
from segbench.report.tables import cell, ends_of, head, region
from segbench.report.values import domain_value, overall, per_domain

DIGITS = 3


def bounds(run: Run) -> Markup | None:
    """A line a domain: shares of truth or label and of the model, both intervals, both masks; None of older rows."""
    there = {key for row in run.rows for key in row.metrics}
    used = [(key, words) for key, words in _headings(run) if key in there]
    if not any(key in ("share_samples_low", *(f"share_{name}" for name in run.classes)) for key, _ in used):
        return None
    heads = [head("domain", "text"), *(head(words, "number") for _, words in used)]
    lines = [
        element(
            "tr", element("th", shown(domain), scope="row", data_v=shown(domain)),
            *(cell(domain_value(rows, key), DIGITS) for key, _ in used),
        )
        for domain, rows in run.domains.items()
    ]  # fmt: skip
    scores = [overall(run, key) for key, _ in used]
    means = [element("td", number(None if score is None else score.value, DIGITS)) for score in scores]
    ranges = [element("td", ends_of(score, DIGITS)) for score in scores]
    foot = [
        element("tr", element("th", words, scope="row"), *cells)
        for words, cells in (("mean", means), ("95 % interval", ranges))
    ]
    table = element(
        "table", element("thead", element("tr", *heads)), element("tbody", *lines), element("tfoot", *foot),
        class_="sortable",
    )  # fmt: skip
    return join([element("p", _said(run), class_="note"), region(table, f"Share and its bounds, {run.title}")])


def _headings(run: Run) -> list[tuple[str, str]]:
    """Scores with their headings: of class 1 with its bounds, or of each of more than two classes."""
    if len(run.classes) <= 2:
        return headings(run.reference)
    pairs = [
        ((f"share_of_{name}_{run.reference}", f"{shown(name)[:24]}, {_told(run)}"), (f"share_{name}", "model"))
        for name in run.classes
    ]
    return [one for pair in pairs for one in pair]


def _told(run: Run) -> str:
    return "truth" if run.reference == "truth" else "label"


def _said(run: Run) -> str:
    if len(run.classes) > 2:
        return f"Shares of the classes among the voxels, in the {_told(run)} and as the model calls them."
    name = shown(run.classes[1])[:24] if len(run.classes) > 1 else "class 1"
    words = f"Shares of {name} among the voxels; samples 5 % and 95 %: percentiles of the samples' own shares. "
    defined = [value for value in per_domain(run, "share_low").values() if not math.isnan(value)]
    if defined:
        return f"{words}{SAID[0].upper()}{SAID[1:]}."
    return f"{words}No conformal interval: the card has none, or it was fitted with more samples than these."
