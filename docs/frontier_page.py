"""Tables and figure of the frontier."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import marked
import numpy as np

Rows = Sequence[dict[str, Any]]
SETS = ("battery16", "nano-CT")
SCORES = ("accuracy", "NLL", "Brier", "ECE", "AUSE", "AUROC")
HIGHER = ("accuracy", "AUROC")
SINGLE = ("no dropout", "ensemble of 4")  # one T each
CHOSEN = "half, light end without dropout"
REFERENCE = ("Bernoulli, everywhere", "fixed", 64)


def groups(rows: Rows) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """Rows by (design, masks, T)."""
    found: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["design"], row["masks"], row["T"]), []).append(row)
    return found


def table(rows: Rows, where: str) -> list[str]:
    """Means over seeds of every design at T = 16 (Bernoulli everywhere at 64), with the spread over seeds."""
    text = [
        f"| design | masks | T | dense passes | {' | '.join(SCORES)} |",
        "|---|---|---:|---:|" + "---:|" * len(SCORES),
    ]
    for (design, masks, t), found in groups([row for row in rows if row["set"] == where]).items():
        wanted = 64 if (design, masks) == REFERENCE[:2] else 16
        if t != wanted and design not in SINGLE:
            continue
        cells = []
        for score in SCORES:
            values = np.array([row[score] for row in found])
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.3f}{spread}")
        passes = np.mean([row["passes"] for row in found])
        text.append(f"| {design} | {masks} | {t} | {passes:.2f} | {' | '.join(cells)} |")
    return text


def losses(rows: Rows, design: str) -> list[str]:
    """What the design at T = 16 loses against the reference, in percent of it: mean over seeds; below 0 is better."""
    shown = ("NLL", "ECE", "AUSE", "1 - AUROC")
    text = [f"| set | masks | {' | '.join(shown)} |", "|---|---|" + "---:|" * len(shown)]
    found = groups(rows)
    for where in SETS:
        for masks in ("fixed", "balanced"):
            own, other = (
                {row["seed"]: row for row in found.get(key, []) if row["set"] == where}
                for key in ((design, masks, 16), REFERENCE)
            )
            seeds = sorted(own.keys() & other.keys())
            if not seeds:
                continue
            cells = []
            for score in shown:
                a, b = (np.mean([_score(side[seed], score) for seed in seeds]) for side in (own, other))
                cells.append(f"{100 * (a / b - 1):+.0f} %")
            text.append(f"| {where} | {masks} | {' | '.join(cells)} |")
    return text


def _score(row: dict[str, Any], name: str) -> float:
    return 1 - row["AUROC"] if name == "1 - AUROC" else row[name]


def picture(rows: Rows, path: Path) -> None:
    """Each score against the cost: a line per design over T."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(13, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    shown = ("NLL", "ECE", "AUSE", "AUROC")
    axes = figure.subplots(len(SETS), len(shown))
    designs = list(dict.fromkeys((row["design"], row["masks"]) for row in rows))
    for axis_row, where in zip(axes, SETS, strict=True):
        for axis, score in zip(axis_row, shown, strict=True):
            for design, masks in designs:
                own = [r for r in rows if (r["set"], r["design"], r["masks"]) == (where, design, masks)]
                counts = sorted({r["T"] for r in own})
                x = [np.mean([r["passes"] for r in own if r["T"] == t]) for t in counts]
                y = [np.mean([r[score] for r in own if r["T"] == t]) for t in counts]
                style = {"fixed": "o-", "balanced": "s--"}[masks] if len(counts) > 1 else "*"
                label = design if masks == "fixed" else None
                colour = f"C{list(dict.fromkeys(d for d, _ in designs)).index(design) % 10}"
                axis.plot(x, y, style, color=colour, label=label, markersize=4 if len(counts) > 1 else 10, linewidth=1)
            axis.set(title=f"{where}: {score}", xscale="log", xlabel="cost in dense passes")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.grid(alpha=0.3)
    lines, names = axes[0][0].get_legend_handles_labels()
    lines.append(Line2D([], [], color="0.3", linestyle="--", marker="s", markersize=4, linewidth=1))
    names.append("dashed: the same with balanced masks")
    figure.legend(lines, names, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)


def written(rows: Rows, text: str) -> str:
    """The page `text` with the tables of these rows between its marks."""
    parts = []
    for where in SETS:
        found = table(rows, where)
        if len(found) > 2:
            parts += [f"**{where}**", "", *found, ""]
    parts += [f"**{CHOSEN}, T = 16, against Bernoulli everywhere, T = 64**", "", *losses(rows, CHOSEN)]
    return marked.between(text, parts, "tables")


def page(rows: Rows, to: Path) -> None:
    """Writes the tables into the page `to`, its figure, and the rows of both beside it: a row a line."""
    to.write_text(written(rows, to.read_text()))
    record(to).write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    picture(rows, to.parent / "img" / "frontier.png")


def record(page: Path) -> Path:
    """The rows of a page."""
    return page.with_suffix(".json")
