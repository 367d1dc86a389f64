"""Reliability and sparsification: whether a probability means what it says, and whether uncertainty finds errors."""

from collections.abc import Sequence

import numpy as np

from segbench.metrics.reliability import Float64
from segbench.report.chart import Axis, Chart, axis, drawable, figure, legend, series
from segbench.report.folder import Run, shown
from segbench.report.markup import Markup, element, join, number, percent
from segbench.report.values import MEASURES, measured
from segbench.rows import Row

SMALL = 24  # domains that are drawn one by one
Bins = tuple[Float64, Float64, Float64]


def reliability(rows: Sequence[Row], end: str) -> Bins | None:
    """Voxels, mean confidence and share right of each bin over all rows, (bins,) each; None where no row has them."""
    return binned(rows, ("reliability_count", "reliability_confidence", "reliability_right"), end)


def binned(rows: Sequence[Row], names: Sequence[str], end: str) -> Bins | None:
    """Counts, and means weighted by them, of three curves over all rows; None where no row has them."""
    keys = [f"{name}_{end}" for name in names]
    found = [np.array([row.curves[key] for key in keys]) for row in rows if _has(row, keys)]
    if not found or len({each.shape for each in found}) > 1:
        return None
    counts, confidence, right = (np.stack(part) for part in zip(*found, strict=True))
    counts = np.nan_to_num(counts)
    total = counts.sum(axis=0)
    means = []
    for values in (confidence, right):
        summed = (counts * np.where(counts > 0, values, 0)).sum(axis=0)
        means.append(np.divide(summed, total, out=np.full(total.shape, np.nan), where=total > 0))
    return total, means[0], means[1]


def sparsification(rows: Sequence[Row], name: str, end: str) -> Float64 | None:
    """Mean over rows of the error among what is left, (steps,), for a measure or "oracle"; None where none has it."""
    key = f"sparsification_{name}_{end}"
    found = [np.array(row.curves[key]) for row in rows if row.curves.get(key)]
    if not found or len({each.shape for each in found}) > 1:
        return None
    stacked = np.stack(found)
    there = ~np.isnan(stacked)
    n = there.sum(axis=0)
    summed = np.where(there, stacked, 0).sum(axis=0)
    mean: Float64 = np.divide(summed, n, out=np.full(n.shape, np.nan), where=n > 0)
    return mean


def calibration(runs: Sequence[Run]) -> Markup | None:
    """The reliability diagram of all runs, and a small one for each domain."""
    drawn = [(run, bins) for run in runs if (bins := reliability(run.rows, run.reference)) is not None]
    if not drawn:
        return None
    words = ", ".join(f"{run.letter} {_gap(bins)}" if len(runs) > 1 else _gap(bins) for run, bins in drawn)
    chart = _diagram([(runs.index(run), bins) for run, bins in drawn], "Reliability diagram", words)
    entries = [("ideal", "as right as it is sure")]
    entries += [
        (series(runs.index(run)), f"{run.letter}: {run.title}" if len(runs) > 1 else run.title) for run, _ in drawn
    ]
    caption = join([legend(entries), Markup(
        "Above the diagonal the model is more often right than it believes, below it is overconfident. Grey bars: how "
        "many voxels have that confidence (their share; the tallest bar fills the figure)."
    )])  # fmt: skip
    both = element("div", figure(chart, caption), *_classwise(runs), class_="figures")
    return join([both, *_small(runs)])


def _classwise(runs: Sequence[Run]) -> list[Markup]:
    """How often a class is there where its mean probability is so and so: of two class 1, else a figure for each."""
    classes = runs[0].classes
    if len(classes) <= 2:
        made = [_of_class(runs, "", shown(classes[1])[:24] if len(classes) == 2 else "class 1")]
    else:
        made = [_of_class(runs, f"{name}_", shown(name)[:24]) for name in classes]
    return [each for each in made if each is not None]


def _of_class(runs: Sequence[Run], infix: str, name: str) -> Markup | None:
    names = ("classwise_count", "classwise_probability", "classwise_present")
    found = [(run, binned(run.rows, names, f"{infix}{run.reference}")) for run in runs]
    drawn = [(run, bins) for run, bins in found if bins is not None]
    if not drawn:
        return None
    chart = Chart(Axis(0, 1, f"probability of {name}"), Axis(0, 1, f"share that is {name}"), 400, 330)
    marks = [chart.curve([0, 1], [0, 1], "ideal")]
    for run, (count, probability, present) in drawn:
        there = count > 0
        n = series(runs.index(run))
        marks += [chart.curve(probability[there], present[there], n), chart.dots(probability[there], present[there], n)]
    words = f"The same for the probability of {name} itself, from 0 to 1."
    return figure(chart.draw(f"Class-wise reliability diagram. {words}", *marks), words)


def _small(runs: Sequence[Run]) -> list[Markup]:
    made = []
    domains = list(dict.fromkeys(domain for run in runs for domain in run.domains))
    for domain in domains[:SMALL]:
        found = [(n, reliability(run.domains.get(domain, ()), run.reference)) for n, run in enumerate(runs)]
        there = [(n, bins) for n, bins in found if bins is not None]
        if there:
            words = ", ".join(_gap(bins) for _, bins in there)
            chart = _diagram(there, f"Reliability diagram of {shown(domain)}", words, small=True)
            made.append(figure(chart, join([element("b", shown(domain)), " ", words])))
    if len(made) < 2:
        return []
    title = f"Each domain ({len(made)} of {len(domains)})" if len(made) < len(domains) else "Each domain"
    return [element("details", element("summary", title), element("div", *made, class_="figures small"))]


def _diagram(drawn: Sequence[tuple[int, Bins]], title: str, words: str, *, small: bool = False) -> Markup:
    # the confidence of the top label of two classes begins at 0.5
    low = min(float(np.nanmin(bins[1], initial=1.0)) for _, bins in drawn)
    start = 0.5 if low >= 0.5 else 0.0
    size = (230, 190) if small else (400, 330)
    chart = Chart(Axis(start, 1, "confidence"), Axis(0, 1, "share right"), *size)
    marks = []
    counts = drawn[0][1][0]
    if len(counts) and counts.max() > 0:
        edges = (np.arange(len(counts)) + 0.5) / len(counts)
        kept = edges > start
        marks.append(chart.bars(edges[kept], (counts / counts.max())[kept], 1 / len(counts), "bar"))
    marks.append(chart.curve([start, 1], [start, 1], "ideal"))
    for n, (count, confidence, right) in drawn:
        there = count > 0
        said = [f"confidence {number(c)}, right {number(r)}, {v:.0f} voxels" for v, c, r in
                zip(count[there], confidence[there], right[there], strict=True)]  # fmt: skip
        marks += [chart.curve(confidence[there], right[there], series(n))]
        marks += [chart.dots(confidence[there], right[there], series(n), said)]
    return chart.draw(f"{title}: {words}", *marks)


def _gap(bins: Bins) -> str:
    count, confidence, right = bins
    total = count.sum()
    if not total:
        return "no voxels"
    gap = float(np.nansum(count * np.abs(confidence - right)) / total)
    return f"ECE {number(gap)} over all voxels together"


def errors(runs: Sequence[Run]) -> Markup | None:
    """Sparsification curves: a figure a run, a line a measure."""
    made = []
    for run in runs:
        names = measured(run, f"sparsification_M_{run.reference}")
        curves = {name: curve for name in [*names, "oracle"]
                  if (curve := sparsification(run.rows, name, run.reference)) is not None}  # fmt: skip
        if names and any(name in curves for name in names):
            made.append(_sparsified(run, curves, alone=len(runs) == 1))
    return join(made) if made else None


def _sparsified(run: Run, curves: dict[str, Float64], *, alone: bool) -> Markup:
    highest = [float(value) for curve in curves.values() for value in curve if drawable(value)]
    across = Axis(0, 1, "share of voxels taken away, the most uncertain first")
    chart = Chart(across, axis(highest, "error among the rest", zero=True), 420, 320)
    marks, entries = [], []
    for name, curve in curves.items():
        taken = np.arange(len(curve)) / max(1, len(curve))
        class_ = "ideal" if name == "oracle" else series(list(MEASURES).index(name))
        marks.append(chart.curve(taken, curve, class_))
        entries.append((class_, "errors first (oracle)" if name == "oracle" else MEASURES[name]))
    first = next(iter(curves.values()))
    half = {MEASURES[n]: float(c[len(c) // 2]) for n, c in curves.items() if n != "oracle"}
    said = "; ".join(f"by {name} {percent(value, 2)} at one half" for name, value in half.items())
    title = f"Sparsification of {run.title}: error {percent(float(first[0]), 2)} with all voxels, {said}"
    words = "" if alone else f"{run.letter}: {run.title}. "
    caption = join(
        [legend(entries), f"{words}Error {percent(float(first[0]), 2)} with all voxels; {said}. Mean over volumes."]
    )
    return figure(chart.draw(title, *marks), caption)


def _has(row: Row, keys: Sequence[str]) -> bool:
    there = [row.curves.get(key, ()) for key in keys]
    return all(there) and len({len(curve) for curve in there}) == 1
