"""Figures 1 to 3 of the MatPhase paper, of battery-fib: panels, uncertainty beside errors, logit maps."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segbench.data.fib import CLASSES
from segbench.evaluate.findings import Findings
from segbench.io import check_output_folder, replacing
from segbench.study.scene import SHOWN, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCH = 2.2
COLOURS = ("#12122b", "#7d9bc9", "#f2e6c4")
"""Of pore, carbon and nickel."""
RIGHT, WRONG = "#00429d", "#b3261e"
CERTAIN = 0.5


def draw(scene: Scene, found: Findings | None, out: Path, said: str) -> list[Path]:
    """Draws what can be drawn into `out`.

    Args:
        scene: Slices and predictions.
        found: Of UGSM's pixels; without them figures 2 and 3 have no curve and no histogram.
        out: Folder.
        said: Scale and seed, to be read on every figure.

    Raises:
        OutputError: The folder cannot be written.
    """
    check_output_folder(out)
    written = []
    figures: tuple[Callable[[Scene, Findings | None], Figure], ...] = (comparison, doubts, maps)
    for number, made in enumerate(figures, start=1):
        figure = made(scene, found)
        figure.supxlabel(said, fontsize=7)
        written.append(out / f"matphase-figure-{number}.png")
        with replacing(written[-1]) as temp:
            figure.savefig(temp, dpi=110)
    return written


def comparison(scene: Scene, _: Findings | None) -> "Figure":
    """Figure 1: slices, labels, and what U-Net and MatPhase make of them."""
    titles = ["slice", "label", SHOWN["unet"], SHOWN["matphase"]]
    figure, axes = _grid(len(scene.numbers), len(titles))
    for row, number in enumerate(scene.numbers):
        _grey(axes[row][0], scene.grey[row])
        axes[row][0].set_ylabel(f"slice {number}", fontsize=8)
        for axis, labels in zip(
            axes[row][1:], (scene.label, scene.labels["unet"], scene.labels["matphase"]), strict=True
        ):
            _classes(axis, labels[row])
            right = float((labels[row] == scene.label[row]).mean())
            if labels is not scene.label:
                axis.set_xlabel(f"accuracy {right:.3f}", fontsize=7)
    _titled(axes, titles)
    _legend(figure)
    return figure


def doubts(scene: Scene, found: Findings | None) -> "Figure":
    """Figure 2: UGSM's uncertainty beside its errors, and how many errors are among certain pixels (A1)."""
    titles = ["slice", "uncertainty u (nats)", "errors", "errors that are certain"]
    figure, axes = _grid(len(scene.numbers), len(titles), curve=found is not None)
    middle = float(np.median(scene.entropy))
    for row, number in enumerate(scene.numbers):
        wrong = scene.labels["ugsm"][row] != scene.label[row]
        _grey(axes[row][0], scene.grey[row])
        axes[row][0].set_ylabel(f"slice {number}", fontsize=8)
        axes[row][1].imshow(scene.entropy[row], cmap="magma", vmin=0, vmax=np.log(len(CLASSES)))
        axes[row][2].imshow(wrong, cmap="gray_r", interpolation="nearest")
        axes[row][3].imshow(wrong & (scene.entropy[row] < middle), cmap="gray_r", interpolation="nearest")
    _titled(axes, titles)
    if found is not None:
        _curve(axes[-1][0], found)
    return figure


def maps(scene: Scene, found: Findings | None) -> "Figure":
    """Figure 3: UGSM's three logit maps, and its largest logits where it is right and where it is wrong (A2)."""
    titles = ["slice", *(f"F, {name}" for name in CLASSES)]
    figure, axes = _grid(len(scene.numbers), len(titles), curve=found is not None)
    limit = float(np.quantile(np.abs(scene.logits), 0.995)) or 1.0
    shown = None
    for row, number in enumerate(scene.numbers):
        _grey(axes[row][0], scene.grey[row])
        axes[row][0].set_ylabel(f"slice {number}", fontsize=8)
        for axis, one in zip(axes[row][1:], scene.logits[:, row], strict=True):
            shown = axis.imshow(one, cmap="RdBu_r", vmin=-limit, vmax=limit)
    _titled(axes, titles)
    if shown is not None:
        figure.colorbar(shown, ax=[axis for row in axes[: len(scene.numbers)] for axis in row], shrink=0.6)
    if found is not None:
        _histogram(axes[-1][0], found)
    return figure


def _curve(axis: "Axes", found: Findings) -> None:
    shares = np.linspace(0, 1, len(found.found))
    axis.plot(shares, found.found, color=WRONG, label="UGSM")
    axis.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="no information")
    certain = found.certain_errors(CERTAIN)
    axis.plot([CERTAIN], [certain], "o", color=WRONG)
    axis.annotate(f"{certain:.1%} of the errors are among\nthe less uncertain half of the pixels", (CERTAIN, certain),
                  xytext=(-8, 8), textcoords="offset points", fontsize=8, ha="right")  # fmt: skip
    axis.set_xlabel("share of the pixels, the least uncertain first", fontsize=8)
    axis.set_ylabel("share of the errors", fontsize=8)
    axis.legend(fontsize=7, frameon=False)


def _histogram(axis: "Axes", found: Findings) -> None:
    for group, colour, name in ((found.right, RIGHT, "right"), (found.wrong, WRONG, "wrong")):
        if group.pixels:
            said = f"{name}: {group.mean:.2f} +- {group.deviation:.2f}, n = {group.pixels}"
            axis.stairs(np.array(group.counts) / group.pixels, found.edges, color=colour, fill=True, alpha=0.4,
                        label=said)  # fmt: skip
    axis.set_xlabel("largest logit of a pixel", fontsize=8)
    axis.set_ylabel("share of these pixels", fontsize=8)
    axis.legend(fontsize=7, frameon=False)


def _grid(rows: int, columns: int, *, curve: bool = False) -> "tuple[Figure, list[list[Axes]]]":
    """Pictures in rows and columns; with a curve one wide plot below, which is the last line of axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    more = 1.4 if curve else 0.0
    figure = Figure(figsize=(INCH * columns, INCH * (rows + more) * 0.95), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows + curve, columns, height_ratios=[1.0] * rows + [more] * curve)
    axes = [[figure.add_subplot(grid[row, column]) for column in range(columns)] for row in range(rows)]
    for axis in (axis for line in axes for axis in line):
        axis.set_xticks([])
        axis.set_yticks([])
    if curve:
        below = figure.add_subplot(grid[rows, :])
        below.tick_params(labelsize=7)
        axes.append([below])
    return figure, axes


def _titled(axes: "list[list[Axes]]", titles: list[str]) -> None:
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)


def _grey(axis: "Axes", image: Any) -> None:  # noqa: ANN401
    low, high = np.percentile(image, [0.5, 99.5])
    axis.imshow(image, cmap="gray", vmin=low, vmax=high)


def _classes(axis: "Axes", labels: Any) -> None:  # noqa: ANN401
    from matplotlib.colors import ListedColormap

    axis.imshow(labels, cmap=ListedColormap(COLOURS), vmin=0, vmax=len(COLOURS) - 1, interpolation="nearest")


def _legend(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    marks = [
        Patch(facecolor=colour, edgecolor="0.5", label=name) for colour, name in zip(COLOURS, CLASSES, strict=True)
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), fontsize=8, frameon=False)
