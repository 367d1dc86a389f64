"""A benchmark of a server as a picture: throughput of closed loops, memory under overload."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segbench.bench.chart import OURS, PEER
from segbench.bench.serving import summary
from segbench.bench.serving.row import ServingRow
from segbench.bench.serving.sheet import NAMES
from segbench.io import replacing


def draw(rows: Sequence[ServingRow], path: Path) -> None:
    """Answers a second of every closed loop beside bare inference's, and the server's memory, as PNG."""
    loops = [row for row in rows if row.kind == "loop"]
    strained = next((row for row in rows if row.kind == "overload"), None)
    figure = Figure(figsize=(8, 2.2 + 0.42 * len(loops) + 2.2 * (strained is not None)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1 + (strained is not None), 1, squeeze=False)[:, 0]
    bars = axes[0]
    for place, row in enumerate(reversed(loops)):
        low, middle, high = summary.throughput(row)
        bars.barh(place, middle, color=OURS if row.server == "segbench" else PEER, height=0.66)
        bars.errorbar(middle, place, xerr=[[middle - low], [high - middle]], color="0.15", capsize=3, linewidth=1)
    labels = [f"{NAMES[row.server]}, {row.wire}, {row.clients} clients" for row in reversed(loops)]
    bars.set_yticks(range(len(loops)), labels, fontsize=9)
    base = summary.bare(rows)
    if base is not None:
        bars.axvline(summary.throughput(base)[1], color="0.15", linestyle="--", linewidth=1)
    bars.set_xlabel("answers a second (median; whiskers: quartiles; dashed: bare inference)", fontsize=9)
    first = rows[0]
    bars.set_title(
        f"{first.model}: {first.samples} samples of {first.size}³ voxels, {first.threads} threads", fontsize=10
    )
    if strained is not None:
        seen = strained.rounds[0].resident_mib
        span = strained.rounds[0].seconds
        axes[1].plot([span * i / max(1, len(seen) - 1) for i in range(len(seen))], seen, color=OURS, linewidth=1)
        axes[1].set_ylim(bottom=0)
        axes[1].set_xlabel("seconds at three times the capacity", fontsize=9)
        axes[1].set_ylabel("memory (MiB)", fontsize=9)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temp:
        figure.savefig(temp, dpi=120)
