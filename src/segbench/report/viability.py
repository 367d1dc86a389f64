"""The study's plot: where a model agrees less with a human label, does it separate the grey values better?"""

import math
from collections.abc import Sequence

from segbench.evaluate.cases import BATTERY16
from segbench.evaluate.printed import sandia
from segbench.metrics.correlation import pearson
from segbench.report.chart import Chart, axis, drawable, figure, legend, series
from segbench.report.folder import Run, shown
from segbench.report.markup import Markup, join, number
from segbench.report.values import domain_value

NAMED = 24  # points that bear their name
Point = tuple[str, float, float]


def points(run: Run) -> list[Point]:
    """(domain, accuracy against the human label, viability of the model - of the label), where both are defined."""
    found = []
    for domain, rows in run.domains.items():
        values = [domain_value(rows, key) for key in ("accuracy_human", "viability", "viability_of_human")]
        accuracy, own, human = (math.nan if value is None else value for value in values)
        if drawable(accuracy) and drawable(own - human):
            found.append((domain, accuracy, own - human))
    return found


def plot(runs: Sequence[Run]) -> Markup | None:
    """Accuracy across, viability gap up; the study's printed values beside ours where the domains bear its names."""
    every = [points(run) for run in runs]
    if not any(every):
        return None
    study = _printed() if runs[0].first.data == BATTERY16 else []
    flat = [*(point for each in every for point in each), *study]
    chart = Chart(
        axis([x for _, x, _ in flat], "accuracy against the human label"),
        axis([y for _, _, y in flat], "viability of the model - of the label", zero=True), 480, 360,
    )  # fmt: skip
    marks = [chart.curve([chart.x.low, chart.x.high], [0, 0], "ideal")]
    said = [f"{d}, printed by the study: accuracy {number(x)}, gap {number(y, 2)}" for d, x, y in study]
    marks.append(chart.diamonds([x for _, x, _ in study], [y for _, _, y in study], "printed", said))
    entries, words = [], []
    for n, (run, found) in enumerate(zip(runs, every, strict=True)):
        told = [f"{shown(d)}: accuracy {number(x)}, gap {number(y, 2)}" for d, x, y in found]
        marks.append(chart.dots([x for _, x, _ in found], [y for _, _, y in found], series(n), told))
        r = pearson([x for _, x, _ in found], [y for _, _, y in found]) if len(found) > 2 else math.nan
        prefix = f"{run.letter}: " if len(runs) > 1 else ""
        entries.append((series(n), f"{prefix}{run.title}"))
        words.append(f"{prefix}correlation {number(r)} over {len(found)} domains")
    marks += [chart.label(x, y, short) for short, x, y in _apart(chart, every[0][:NAMED])]
    if study:
        entries.append(("printed", "as printed by the study, of measured scans that are not these"))
        words.append(
            f"the study's printed values: {number(pearson([x for _, x, _ in study], [y for _, _, y in study]))}"
        )
    caption = join(
        [legend(entries, "dot"), f"Pearson: {'; '.join(words)}. Above the line the model separates grey values better."]
    )
    return figure(chart.draw(f"Viability plot; {'; '.join(words)}", *marks), caption)


def _apart(chart: Chart, found: Sequence[Point]) -> list[Point]:
    """Those whose name would cover no other's, in their order."""
    kept: list[tuple[float, float, float]] = []
    named = []
    for domain, x, y in found:
        text = shown(domain)[:24]
        at, down, wide = chart.px(x), chart.py(y), 6.0 * len(text)
        if all(abs(down - other) > 12 or at + wide < left or at > left + span for left, other, span in kept):
            kept.append((at, down, wide))
            named.append((text, x, y))
    return named


def _printed() -> list[Point]:
    return [(line.domain, line.accuracy, line.ml_viability - line.human_viability) for line in sandia().domains]
