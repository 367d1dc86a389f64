"""A benchmark as a bar chart."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segbench.bench import summary
from segbench.bench.row import BenchRow
from segbench.bench.sheet import name, sampled, threads
from segbench.io import replacing

OURS, PEER, PART = "#00429d", "#b36b00", "#9aa7b5"
SHOWN = ("segbench", "onnxruntime", "monai-engine", "monai-torch", "dense")


def draw(rows: Sequence[BenchRow], path: Path) -> None:
    """Seconds of every contender that computes T samples, and of one dense pass, as PNG; whiskers are quartiles."""
    shown = sorted((row for row in rows if row.kind in SHOWN), key=summary.median)
    figure = Figure(figsize=(8, 1.3 + 0.42 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    slowest = summary.baseline(rows)
    for place, row in enumerate(shown):
        low, middle, high = summary.quartiles(row.seconds)
        colour = OURS if row.kind == "segbench" else PART if row.kind == "dense" else PEER
        axis.barh(place, middle, color=colour, height=0.66)
        axis.errorbar(middle, place, xerr=[[middle - low], [high - middle]], color="0.15", capsize=3, linewidth=1)
        times = "" if slowest in (None, row) or row.kind == "dense" else f"  ({summary.ratio(slowest, row):.1f} x)"
        axis.annotate(
            f"{middle:.3g} s{times}", (high, place), (6, 0), textcoords="offset points", va="center", fontsize=8
        )
    axis.set_yticks(range(len(shown)), [f"{name(row)}, {row.precision}" for row in shown], fontsize=9)
    axis.margins(x=0.18)
    axis.set_xlim(left=0)
    told = f"; in brackets: times as fast as {name(slowest)}" if slowest else ""
    axis.set_xlabel(f"seconds (median; whiskers: quartiles{told})", fontsize=9)
    first = rows[0]
    title = f"{first.model}, {first.size}³ voxels, {sampled(first)}, {threads(first)}"
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temp:
        figure.savefig(temp, dpi=120)
