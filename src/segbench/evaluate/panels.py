"""Pictures of one slice: grey values, labels, prediction and uncertainty, in and out of the training domains."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpl_toolkits.axes_grid1.inset_locator import inset_axes

from segbench.document.colours import label_colours
from segbench.evaluate.cases import Labelled
from segbench.predict import Prediction

Plane = npt.NDArray[np.generic]
WIDTH_INCH = 2.1
SPREAD_TOP = 0.25  # one scale for all panels, so that they can be compared


@dataclass(frozen=True, eq=False)
class Panel:
    """What one row of a picture shows, all of shape (Y, X).

    Attributes:
        name: Domain, and case where it has several.
        z: Which slice.
        grey: Intensities.
        human: Human, or human-like, labels.
        truth: True phases; None where unknown.
        labels: Predicted classes.
        spread: Percentile 70 - percentile 30 of the samples' probabilities.
        classes: Their names, in the order of their index.
    """

    name: str
    z: int
    grey: Plane
    human: Plane
    truth: Plane | None
    labels: Plane
    spread: Plane
    classes: tuple[str, ...] = ()


def panel(case: Labelled, prediction: Prediction, classes: tuple[str, ...] = ()) -> Panel:
    """The middle slice of a case."""
    z = case.image.shape[0] // 2
    name = case.domain if case.name == case.domain else f"{case.domain}/{case.name}"
    truth = None if case.truth is None else case.truth[z].copy()
    return Panel(
        name,
        z,
        np.array(case.image.data[z]),
        case.human[z].copy(),
        truth,
        prediction.labels[z].copy(),
        prediction.spread[z].copy(),
        classes,
    )


def draw(rows: Sequence[Panel], path: Path, headings: Sequence[str] = ()) -> None:
    """One row of pictures per panel; `headings` are put before the names."""
    truth = any(row.truth is not None for row in rows)
    columns = ["slice", "human-like label" if truth else "label", *(["truth"] if truth else [])]
    columns += ["prediction", "uncertainty (P70 - P30)"]
    size = (WIDTH_INCH * len(columns), WIDTH_INCH * len(rows) + 0.25)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for number, row in enumerate(rows):
        heading = f"{headings[number]}\n" if headings else ""
        _row(list(axes[number]), row, f"{heading}{row.name}")
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=9)
    named = max((row.classes for row in rows), key=len)
    if len(named) > 2:
        marks = [Patch(color=colour, label=name) for colour, name in zip(_colours(len(named)), named, strict=True)]
        figure.legend(handles=marks, loc="outside lower center", ncols=len(named), fontsize=8)
    figure.savefig(path, dpi=110)


def _colours(classes: int) -> list[tuple[float, float, float]]:
    """Of each class, as on every page."""
    return [(red / 255, green / 255, blue / 255) for red, green, blue in label_colours(classes)]


def _row(axes: list[Axes], row: Panel, name: str) -> None:
    low, high = np.percentile(row.grey.astype(np.float32), [0.5, 99.5])
    axes[0].imshow(row.grey, cmap="gray", vmin=low, vmax=high)
    axes[0].set_ylabel(f"{name}\nz = {row.z}", fontsize=8)
    labels = [row.human, *([] if row.truth is None else [row.truth]), row.labels]
    several = len(row.classes) > 2
    colouring = ListedColormap(_colours(len(row.classes))) if several else "cividis"
    for axis, plane in zip(axes[1:], labels, strict=False):
        top = len(row.classes) - 1 if several else max(1, int(plane.max()))
        axis.imshow(plane, cmap=colouring, vmin=0, vmax=top, interpolation="nearest")
    shown = axes[len(labels) + 1].imshow(row.spread, cmap="magma", vmin=0, vmax=SPREAD_TOP)
    bar = inset_axes(axes[len(labels) + 1], width="4%", height="50%", loc="lower right")
    colours = axes[0].figure.colorbar(shown, cax=bar, ticks=[0, SPREAD_TOP])
    colours.ax.tick_params(labelsize=6, colors="white", left=True, labelleft=True, right=False, labelright=False)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
