"""Volumes as files: slices as PNG, arrays as TIFF."""

from pathlib import Path

import numpy as np

from segbench.cli.screen import NOTES
from segbench.data.case import Case
from segbench.data.fib import Fib
from segbench.data.fibre import Fibre
from segbench.io import check_output_folder, write_tiff
from segbench.volume import Float32, UInt8


def draw(out: Path, domain: str, image: Float32, planes: dict[str, UInt8], classes: int) -> None:
    """A slice beside planes of labels, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_output_folder(out.parent)
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    FigureCanvasAgg(figure)
    low, high = np.percentile(image, [0.5, 99.5])
    shown = {"slice": (image, low, high), **{title: (plane, 0, classes - 1) for title, plane in planes.items()}}
    for axis, (title, (plane, bottom, top)) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        axis.imshow(plane, cmap="gray", vmin=bottom, vmax=top, interpolation="nearest")
        axis.set(title=f"{domain}, {title}", xticks=[], yticks=[])
    figure.savefig(out, dpi=110)
    NOTES.print(f"written: {out}")


def write(out: Path, name: str, made: Case | Fib | Fibre) -> None:
    """Image, truth and, where they differ from it, labels of a volume, as TIFF."""
    for part in ("image", "truth") if isinstance(made, Fibre) else ("image", "truth", "label"):
        write_tiff(out / f"{name}.{part}.tif", getattr(made, part))
