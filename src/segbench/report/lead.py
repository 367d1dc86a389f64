"""What a run says, in plain words and with intervals."""

import math
from collections.abc import Iterator

from segbench.document import short
from segbench.evaluate.table import viability_gap
from segbench.io.message import printable
from segbench.report.folder import Run, shown, where
from segbench.report.markup import SPACE, Markup, element, join, number, percent
from segbench.report.values import Score, against_baseline, domain_value, overall, per_domain

MOST = 40  # warnings that are shown one by one
NAMED = 8  # volumes that one warning names
WORDS = 400  # characters of one


def tiles(run: Run) -> Markup:
    """The few numbers that a reader wants first."""
    end = run.reference
    wanted = [
        (f"accuracy_{end}", f"accuracy against the {_word(end)}", True),
        (f"miou_{end}", f"mIoU against the {_word(end)}", False),
        (f"ece_{end}", "calibration error (ECE)", False),
        (f"error_auroc_entropy_{end}", "entropy finds errors (AUROC)", False),
        ("foreign", "foreign score (0 usual, 1 unlike all)", False),
    ]
    found = []
    for key, words, share in wanted:
        score = overall(run, key)
        if score is not None:
            text = percent(score.value) if share else number(score.value)
            found.append(
                element(
                    "div", element("dt", words), element("dd", text, class_="value"),
                    element("dd", ends(score, share=share)), class_="tile",
                )
            )  # fmt: skip
    return element("dl", *found, class_="tiles")


def ends(score: Score, *, share: bool = False) -> str:
    """The interval in words, or why there is none."""
    n = score.interval.n
    if not score.has_ends:
        return "n = 1: one volume, so no interval" if n == 1 else f"n = {n}: no interval"
    together = f"n = {n} {score.of}".replace(" ", SPACE)
    text = percent if share else number
    low, high = text(score.interval.low), text(score.interval.high)
    return f"{100 * score.interval.level:.0f} % interval {low} to {high}; {together}"


def sentences(run: Run) -> list[str]:
    """What the scores say, a sentence each; nothing is said of what was not measured."""
    return [*_accuracy(run), *_baselines(run), *_trust(run), *_viability(run), *_foreign(run)]


def warnings(run: Run) -> list[str]:
    """What speaks against trusting single volumes: the rows' own words, and a class that is missing."""
    said: dict[str, list[str]] = {}
    for row in run.rows:
        for text in (*row.warnings, *(["the negative of the image was segmented (--invert)"] if row.inverted else [])):
            said.setdefault(short(printable(text), WORDS), []).append(where(row))
    found = [f"{_names(names)}: {text}" for text, names in said.items()]
    more = len(found) - MOST
    return [*found[:MOST], f"… and {more} more warnings, in rows.json."] if more > 0 else found


def _names(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more volumes" if len(names) > NAMED else "")


def _many(values: list[float]) -> str:
    return "1 domain" if len(values) == 1 else f"{len(values)} domains"


def _word(end: str) -> str:
    return "truth" if end == "truth" else "human label"


def _accuracy(run: Run) -> Iterator[str]:
    key = f"accuracy_{run.reference}"
    domains = {domain: value for domain, value in per_domain(run, key).items() if not math.isnan(value)}
    score = overall(run, key)
    if score is None or not domains:
        yield "No accuracy was measured."
        return
    many = f"on the mean over {len(domains)} domains " if len(domains) > 1 else ""
    yield (
        f"{percent(score.value)} of the voxels are as in the {_word(run.reference)} {many}({ends(score, share=True)})."
    )
    if len(domains) > 1:
        best, worst = max(domains, key=lambda d: domains[d]), min(domains, key=lambda d: domains[d])
        yield f"Best: {shown(best)}, {percent(domains[best])}. Worst: {shown(worst)}, {percent(domains[worst])}."
    inside = [value for domain, value in domains.items() if domain in run.trained_on]
    outside = [value for domain, value in domains.items() if domain not in run.trained_on]
    if inside and outside:
        yield (
            f"In domain, other volumes of {_many(inside)} of its training: {percent(sum(inside) / len(inside))}; "
            f"out of domain, {_many(outside)}: {percent(sum(outside) / len(outside))}."
        )


def _baselines(run: Run) -> Iterator[str]:
    for name in run.baselines:
        score = against_baseline(run, name)
        if score is None or math.isnan(score.value):
            continue
        side = "above" if score.value >= 0 else "below"
        clear = ""
        if score.has_ends:
            low, high = (
                number(100 * score.interval.low, 1, signed=True),
                number(100 * score.interval.high, 1, signed=True),
            )
            apart = score.interval.low > 0 or score.interval.high < 0
            clear = f", interval {low} to {high}" + ("" if apart else ": not told apart")
        note = " (it saw one labelled slice)" if name == "forest" else ""
        yield f"{number(100 * abs(score.value), 1)} points {side} {shown(name)}{note} in accuracy{clear}."


def _trust(run: Run) -> Iterator[str]:
    end = run.reference
    ece = overall(run, f"ece_{end}")
    if ece is not None and not math.isnan(ece.value):
        yield f"Its confidence is off by {number(100 * ece.value, 1)} points on the mean (ECE; {ends(ece)})."
    auroc = overall(run, f"error_auroc_entropy_{end}")
    if auroc is not None and not math.isnan(auroc.value):
        yield (
            f"A wrong voxel has a higher entropy than a right one with probability {number(auroc.value, 2)} "
            f"({ends(auroc)}); 0.5 would be chance."
        )


def _viability(run: Run) -> Iterator[str]:
    lines = []
    for rows in run.domains.values():
        keys = ("viability", "viability_of_human", "accuracy_human")
        values = {key: domain_value(rows, key) for key in keys}
        lines.append({key: value for key, value in values.items() if value is not None})
    wins, of, _ = viability_gap(lines)
    if of:
        yield f"The model's viability score is above the human label's in {wins} of {of} domains."


def _foreign(run: Run) -> Iterator[str]:
    scored = {where(row): row.metrics["foreign"] for row in run.rows if "foreign" in row.metrics}
    found = {name: value for name, value in scored.items() if not math.isnan(value)}
    if found:
        most = max(found, key=lambda name: found[name])
        yield (
            f"The highest foreign score is {number(found[most], 4)}, of {most}: that share of the training scans is "
            "nearer to the usual one."
        )
    if len(found) < len(scored):
        yield f"{len(scored) - len(found)} of {len(scored)} volumes have no foreign score: nothing there can be judged."


def list_of(texts: list[str], class_: str) -> Markup | None:
    """A list, or nothing where there is nothing to list."""
    return element("ul", join(element("li", text) for text in texts), class_=class_) if texts else None
