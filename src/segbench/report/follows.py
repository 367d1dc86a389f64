"""Whether a domain's mean uncertainty says how wrong the model is there, in and out of its training."""

import math
from collections.abc import Sequence

from segbench.metrics.correlation import pearson
from segbench.report.chart import Chart, axis, drawable, figure, legend, series
from segbench.report.folder import Run, shown
from segbench.report.markup import Markup, join, number, percent
from segbench.report.values import domain_value


def points(run: Run) -> list[tuple[str, float, float]]:
    """(domain, mean entropy, share of wrong voxels) of every domain that has both."""
    found = []
    for domain, rows in run.domains.items():
        entropy, accuracy = (domain_value(rows, key) for key in ("entropy", f"accuracy_{run.reference}"))
        if entropy is not None and accuracy is not None and drawable(entropy) and drawable(accuracy):
            found.append((domain, entropy, 1 - accuracy))
    return found


def follows(runs: Sequence[Run]) -> Markup | None:
    """A point a domain: mean entropy across, share of wrong voxels up; domains of the training are larger."""
    every = [points(run) for run in runs]
    if max(map(len, every)) < 2:
        return None
    flat = [point for found in every for point in found]
    across = axis([x for _, x, _ in flat], "mean entropy of the domain (nat)")
    chart = Chart(across, axis([y for _, _, y in flat], "share of wrong voxels", zero=True), 420, 320)
    marks, words = [], []
    for n, (run, found) in enumerate(zip(runs, every, strict=True)):
        for inside in (False, True):
            part = [point for point in found if (point[0] in run.trained_on) == inside]
            titles = [f"{shown(d)}: entropy {number(x)}, {percent(y)} wrong" for d, x, y in part]
            class_ = series(n) + (" trained" if inside else "")
            marks.append(chart.dots([x for _, x, _ in part], [y for _, _, y in part], class_, titles))
        r = pearson([x for _, x, _ in found], [y for _, _, y in found]) if len(found) > 2 else math.nan
        words.append(f"{run.letter + ': ' if len(runs) > 1 else ''}correlation {number(r)} over {len(found)} domains")
    entries = [(series(n), run.title if len(runs) == 1 else f"{run.letter}: {run.title}") for n, run in enumerate(runs)]
    known = any(run.trained_on for run in runs)
    ringed = " Ringed: domains of its training, other volumes." if known else ""
    caption = join(
        [legend(entries, "dot"), f"Does the uncertainty of a domain follow its errors? {'; '.join(words)}.{ringed}"]
    )
    return figure(chart.draw(f"Mean entropy and errors by domain: {'; '.join(words)}", *marks), caption)
