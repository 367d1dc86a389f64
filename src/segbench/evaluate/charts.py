"""Figures of trained methods as pure functions of rows: bars, curves along an axis, scores against size and speed."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from segbench.evaluate.definitions import TableDefinition
from segbench.evaluate.estimates import Estimate, Pooled, counts
from segbench.evaluate.measured import Collection
from segbench.evaluate.sheets.tomo2seg import CLASSES, Line, lines, of_class, pooled
from segbench.io import replacing
from segbench.metrics import overlap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"matrix": "#6b6b6b", "fibre": "#00429d", "porosity": "#b36b00", "macro": "#93003a"}
MARKS = ("o", "s", "^", "D", "v")
SCORES: dict[str, Pooled] = {name: of_class(overlap.iou, number) for number, name in enumerate(CLASSES)} | {
    "macro": overlap.miou
}


def draw(table: TableDefinition, found: Collection, path: Path) -> None:
    """The figure that a table's definition names, as PNG; what was not measured is left out."""
    shown = [line for line in lines(table, found) if line.measured]
    kinds: dict[str, Callable[[Sequence[Line], TableDefinition], Figure]] = {
        "bars": bars,
        "curve": curve,
        "scaling": scaling,
    }
    assert table.figure is not None
    figure = kinds[table.figure](shown, table)
    stored = found.study.scale_named(found.scale).stored
    figure.supxlabel(f"scale {found.scale}{'' if stored else ': these numbers mean nothing'}", fontsize=7)
    with replacing(path) as temp:
        figure.savefig(temp, dpi=110)


def bars(shown: Sequence[Line], _: TableDefinition) -> "Figure":
    """A panel for each phase and their mean, with its own scale; a bar, its interval and trainings for each method."""
    figure, axes = _panels(max(2.4, 0.32 * len(shown)))
    at = np.arange(len(shown))
    for axis, (name, score) in zip(axes, SCORES.items(), strict=True):
        values, low, high = _values(shown, score)
        axis.barh(at, values, color=COLOURS[name], alpha=0.75)
        axis.errorbar(values, at, xerr=_errors(values, low, high), fmt="none", ecolor="0.15", capsize=2, linewidth=0.9)
        single = [_trainings(line, score) for line in shown]
        for place, some in zip(at, single, strict=True):
            axis.plot(some, [place] * len(some), ".", color="0.15", markersize=4)
        there = [v for v in (*values, *low, *high, *chain.from_iterable(single)) if not np.isnan(v)]
        if there:
            margin = max(0.05 * (max(there) - min(there)), 1e-4)
            axis.set_xlim(max(0.0, min(there) - 2 * margin), min(1.0, max(there) + margin))
        axis.set_title(f"Jaccard {name}", fontsize=9)
        axis.set_yticks(at, [line.title for line in shown] if axis is axes[0] else [""] * len(shown), fontsize=7)
        axis.invert_yaxis()
    return figure


def curve(shown: Sequence[Line], table: TableDefinition) -> "Figure":
    """A panel for each phase and their mean, along the table's axis, a curve for each group."""
    figure, axes = _panels(2.8)
    for axis, (name, score) in zip(axes, SCORES.items(), strict=True):
        for number, some in enumerate(_groups(shown).values()):
            _along(axis, some, [line.definition.at or 0.0 for line in some], score, name, number)
        axis.set_title(f"Jaccard {name}", fontsize=9)
        axis.set_xlabel(table.axis or "", fontsize=8)
        axis.set_xscale("log", base=2)
        places = sorted({line.definition.at or 0.0 for line in shown})
        axis.set_xticks(places, [f"{place:g}" for place in places])
        axis.minorticks_off()
    _named(figure, axes)
    return figure


def scaling(shown: Sequence[Line], _: TableDefinition) -> "Figure":
    """Mean Jaccard and that of porosity, the rarest phase, against parameters and against measured speed."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = _panels(2.8)
    trained = [line for line in shown if line.trained]
    fast = [line for line in trained if line.measured[0].speed is not None]
    for column, (some, label) in enumerate(
        ((trained, "parameters"), (fast, "Mvoxel a second of one thread, one pass"))
    ):
        for row, name in enumerate(("macro", "porosity")):
            axis = axes[2 * column + row]
            for number, group in enumerate(_groups(some).values()):
                where = [_speed(line) if column else float(line.measured[0].trained.parameters) for line in group]
                _along(axis, group, where, SCORES[name], name, number)
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_title(f"Jaccard {name}", fontsize=9)
            axis.set_xlabel(label, fontsize=8)
    _named(figure, axes)
    return figure


def _speed(line: Line) -> float:
    return overlap.mean([one.speed.single for one in line.measured if one.speed is not None])


def _along(axis: "Axes", some: Sequence[Line], where: Sequence[float], score: Pooled, name: str, number: int) -> None:
    order = np.argsort(where)
    values, low, high = (np.array(part)[order] for part in _values(some, score))
    axis.errorbar(
        np.array(where)[order], values, yerr=_errors(values, low, high), color=COLOURS[name],
        marker=MARKS[number % len(MARKS)], linestyle=("-", "--", ":", "-.")[number % 4], markersize=4, linewidth=1.1,
        capsize=2, label=some[0].definition.group or "",
    )  # fmt: skip
    for place, line in zip(where, some, strict=True):
        single = _trainings(line, score)
        axis.plot([place] * len(single), single, ".", color=COLOURS[name], markersize=4, alpha=0.6)


def _groups(shown: Sequence[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in shown:
        found.setdefault(line.definition.group or "", []).append(line)
    return found


def _values(shown: Sequence[Line], score: Pooled) -> tuple[list[float], list[float], list[float]]:
    """Values with the ends of their intervals, on the table's first domain; ends are NaN where there is no interval."""
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    for line in shown:
        cell = pooled(line.rows(line.measured[0].rows[0].domain), score)
        ends = (cell.interval.value, cell.interval.low, cell.interval.high) if isinstance(cell, Estimate) else None
        value = float("nan") if cell is None or isinstance(cell, str | Estimate) else cell
        for part, end in zip(found, ends or (value, float("nan"), float("nan")), strict=True):
            part.append(end)
    return found


def _trainings(line: Line, score: Pooled) -> list[float]:
    """The score of each training, on the table's first domain; none where there is one alone."""
    rows = line.rows(line.measured[0].rows[0].domain)
    return [score(counts(row)) for row in rows] if len(rows) > 1 else []


def _errors(values: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Lengths below and above; NaN, which draws nothing, where there is no interval."""
    middle, least, most = (np.asarray(part, dtype=np.float64) for part in (values, low, high))
    lengths: npt.NDArray[np.float64] = np.maximum([middle - least, most - middle], 0.0)  # of NaN and 0: NaN
    return lengths


def _panels(height: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, height + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, len(SCORES)))
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25, linewidth=0.5)
    return figure, axes


def _named(figure: "Figure", axes: "Sequence[Axes]") -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    if any(labels):
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8, frameon=False)
