"""Where a network of tomo2seg's study errs: layers with their phases in colour and what is wrong in red."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from segbench.engines import start
from segbench.evaluate.cases import open_data
from segbench.io import replacing
from segbench.predict import predict
from segbench.volume import Float32, UInt8
from segbench.zoo import find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, YELLOW, RED = (0.10, 0.35, 0.95), (1.0, 0.85, 0.10), (0.85, 0.10, 0.10)
"""Fibres, porosity and errors, as in the lecture; the matrix keeps its grey values."""
FIBRE, POROSITY = 1, 2
STRENGTH = 0.55
"""Of the colour of a phase over the grey values; errors cover them."""
LAYERS = 3
SEED = 0


@dataclass(frozen=True, eq=False)
class Overlay:
    """Layers evenly spread over the test part; arrays are (N, Y, X).

    Attributes:
        numbers: Of the layers within the test part.
        grey: Grey values.
        truth: True phases.
        labels: Predicted ones.
    """

    numbers: tuple[int, ...]
    grey: Float32
    truth: UInt8
    labels: UInt8


def overlay(place: Path, data: str, samples: int) -> Overlay:
    """Predicts the first test volume by the model of a folder."""
    case = next(iter(open_data(data)))
    model = find(str(place))
    labels = predict(case.image, model.card, start(model), samples, SEED).labels
    depth = len(labels)
    at = sorted({round(z) for z in np.linspace(0, depth - 1, min(LAYERS, depth) + 2)[1:-1]})
    grey = np.asarray(case.image.data[:], dtype=np.float32)[at]
    return Overlay(tuple(at), grey, case.reference[at], labels[at])


def coloured(grey: Float32, labels: UInt8, truth: UInt8) -> npt.NDArray[np.float32]:
    """A layer as RGB (Y, X, 3) in [0, 1]: fibres blue, porosity yellow, errors red, the matrix grey."""
    low, high = np.percentile(grey, [0.5, 99.5])
    shown = np.repeat(np.clip((grey - low) / ((high - low) or 1.0), 0, 1)[..., None], 3, axis=-1).astype(np.float32)
    for phase, colour in ((FIBRE, BLUE), (POROSITY, YELLOW)):
        where = labels == phase
        shown[where] = (1 - STRENGTH) * shown[where] + STRENGTH * np.array(colour, dtype=np.float32)
    shown[labels != truth] = RED
    return shown


def draw(shown: Overlay, path: Path, said: str) -> None:
    """Grey values, truth and prediction with its errors, a row for each layer, as PNG."""
    figure = _figure(shown)
    figure.supxlabel(said, fontsize=7)
    with replacing(path) as temp:
        figure.savefig(temp, dpi=110)


def _figure(shown: Overlay) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(9, 3 * len(shown.numbers) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown.numbers), 3, squeeze=False)
    layers = zip(shown.numbers, shown.grey, shown.truth, shown.labels, strict=True)
    for line, (number, grey, truth, labels) in zip(axes, layers, strict=True):
        nothing = np.zeros_like(truth)
        line[0].imshow(coloured(grey, nothing, nothing))
        line[1].imshow(coloured(grey, truth, truth))
        line[2].imshow(coloured(grey, labels, truth))
        line[0].set_ylabel(f"layer {number}", fontsize=8)
        line[2].set_xlabel(f"{np.mean(labels != truth):.2%} wrong", fontsize=7)
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], ("layer", "truth", "prediction and its errors"), strict=True):
        axis.set_title(title, fontsize=9)
    marks = [Patch(facecolor=c, label=name) for c, name in ((BLUE, "fibre"), (YELLOW, "porosity"), (RED, "error"))]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), fontsize=8, frameon=False)
    return figure
