"""Volumes that are made: with a bar, and as files, slices as PNG and arrays as TIFF."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from segbench.cli.screen import NOTES, progress_bar
from segbench.data.case import Case
from segbench.data.fib import Fib
from segbench.data.fibre import Fibre
from segbench.errors import InputError
from segbench.io import check_output_folder, write_tiff
from segbench.volume import Float32, UInt8

V = TypeVar("V", Fib, Fibre)
PLAIN_SIZE = 96
"""The size that is asked for where nobody says one."""


@dataclass(frozen=True)
class Simulated(Generic[V]):
    """A simulated set of one size.

    Attributes:
        name: Of the set.
        domains: Names of its volumes.
        shape: Of each (Z, Y, X).
        make: A volume of a domain and a seed; made once, then read from the cache.
        voxel_bytes: That a voxel takes in files.
    """

    name: str
    domains: tuple[str, ...]
    shape: tuple[int, int, int]
    make: Callable[[str, int], V]
    voxel_bytes: int

    def load(self, names: tuple[str, ...], size: int, seed: int) -> list[V]:
        """Volumes, with a bar where they have to be made.

        Raises:
            InputError: Another size than theirs is asked for.
        """
        if size != PLAIN_SIZE:
            shape = " x ".join(str(n) for n in self.shape)
            raise InputError(f"{self.name} has one size, {shape}: leave out --size {size}")
        with progress_bar() as bars:
            task = bars.add_task(f"making {self.name}", total=len(names))
            found = []
            for name in names:
                found.append(self.make(name, seed))
                bars.advance(task)
        return found

    def write(self, size: int, seed: int, out: Path | None) -> None:
        """Makes all domains, and writes them as TIFF where a folder is named."""
        if out is not None:
            check_output_folder(out, need_bytes=len(self.domains) * int(np.prod(self.shape)) * self.voxel_bytes)
        found = self.load(self.domains, size, seed)
        for name, volume in zip(self.domains, found, strict=True):
            if out is not None:
                write(out, name, volume)
        where = f", written to {out}" if out is not None else ""
        NOTES.print(f"{self.name}: {len(found)} domains of {self.shape} voxels, seed {seed}{where}")


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
