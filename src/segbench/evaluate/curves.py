"""Robustness as a table and as a picture: accuracy against one error of the scan at a time."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segbench.evaluate.definitions import Stored
from segbench.evaluate.eval import FOREST, OTSU
from segbench.evaluate.robustness import KINDS, PICKED, level_of
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.io import replacing
from segbench.metrics.overlap import mean
from segbench.rows import Row

SHOWN = "accuracy_truth"
Curve = dict[float, list[float]]
BESIDE = {FOREST: "forest", OTSU: "Otsu"}


def curve(rows: Sequence[Row], kind: str) -> Curve:
    """Accuracy against the truth of every domain, by level of one kind, in the order of the kind's levels."""
    found: Curve = {level: [] for level in KINDS[kind].levels}
    for row in rows:
        if row.domain == kind and level_of(row.case) in found:
            found[level_of(row.case)].append(row.metrics[SHOWN])
    return {level: values for level, values in found.items() if values}


def methods(stored: Sequence[Stored]) -> dict[str, tuple[Row, ...]]:
    """Rows of every model and of the baselines, by name."""
    found = {part.own[0].model: part.own for part in stored if part.own}
    first = next((part for part in stored if part.own), None)
    return found | ({shown: first.of(name) for name, shown in BESIDE.items()} if first else {})


def robustness(stored: Sequence[Stored]) -> list[Sheet]:
    """A line per kind and level: mean accuracy over the domains, and how much each method lost."""
    found = methods(stored)
    if not found:
        return []
    columns = [Heading("degraded by", words=True), Heading("level", 2)]
    columns += [Heading(name) for name in found] + [Heading(f"{name}, worst domain") for name in list(found)[:1]]
    lines: list[tuple[Cell, ...]] = []
    for key, kind in KINDS.items():
        curves = [curve(rows, key) for rows in found.values()]
        for level in curves[0]:
            unchanged = ", unchanged" if level == kind.unchanged else ""
            values = [mean(one.get(level, [])) for one in curves]
            lines.append((f"{kind.title} ({kind.axis}){unchanged}", level, *values, min(curves[0][level])))
    notes = (
        f"accuracy against the truth, mean of {', '.join(PICKED)}: simulated scans, one error at a time",
        "the forest saw one labelled slice of the very same degraded volume, the model none",
        "voxel size: the particles are that much smaller in voxels, and each level is another specimen",
    )
    return [Sheet("Accuracy as a scan gets worse", tuple(columns), tuple(lines), notes)]


def draw(stored: Sequence[Stored], path: Path) -> None:
    """Six panels of curves, as PNG; the band of the first model spans its domains."""
    found = methods(stored)
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(2, 3, sharey=True).ravel())
    for axis, key in zip(axes, KINDS, strict=True):
        _panel(axis, key, found)
    for axis in axes[::3]:
        axis.set_ylabel("accuracy (truth)", fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels) or 1, fontsize=8, frameon=False)
    with replacing(path) as temp:
        figure.savefig(temp, dpi=110)


STYLES = (("#00429d", "o-"), ("#93003a", "v-"), ("#b36b00", "s--"), ("#6b6b6b", "^:"))


def _panel(axis: Axes, key: str, found: dict[str, tuple[Row, ...]]) -> None:
    kind = KINDS[key]
    styles = [*STYLES[: max(0, len(found) - len(BESIDE))], *STYLES[-2:]]
    for number, (name, rows) in enumerate(found.items()):
        one = curve(rows, key)
        colour, line = styles[number % len(styles)]
        levels = list(one)
        axis.plot(
            levels, [mean(one[at]) for at in levels], line, color=colour, label=name, markersize=3.5, linewidth=1.3
        )
        if number == 0:
            low, high = [min(one[at]) for at in levels], [max(one[at]) for at in levels]
            axis.fill_between(levels, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.axvline(kind.unchanged, color="0.6", linewidth=0.8, linestyle=":")
    if kind.levels[0] > kind.levels[-1]:
        axis.invert_xaxis()  # worse is to the right everywhere
    axis.set_title(kind.title, fontsize=9)
    axis.set_xlabel(kind.axis, fontsize=7)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25, linewidth=0.5)
