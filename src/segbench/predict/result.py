"""A result as OME-Zarr 0.5: a multiscale image of four maps, and labels below it (https://ngff.openmicroscopy.org/0.5).

    RESULT.zarr                  maps (c, z, y, x), uint16, whole numbers of `UNIT`
      0, 1, 2 …                  full resolution, then half of it, …
      labels/segmentation/0 …    labels (z, y, x), uint8
      labels/doubted/0 …         1 where a model's second network decided, where it has one
      labels/sample-0000/0 …     labels of single samples, where they were asked for

A chunk is the core of a tile, so that every tile writes files of its own, and each appears whole or not at all.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.predict.job import Job
from segbench.predict.said import Said
from segbench.tiling import Grid, Tile
from segbench.volume import Float32

Shape = tuple[int, int, int]
Array = Any  # zarr.Array; zarr is imported where it is needed

UNIT = 1e-3
"""Maps are whole numbers of this: probabilities, or nats; so the error is at most half of it."""
MAPS = ("probability", "entropy", "mutual_information", "spread")
NATS = ("entropy", "mutual_information")
MAP_COLOURS = {"probability": "FFFFFF", "entropy": "FF8000", "mutual_information": "00C0FF", "spread": "C060FF"}
# The first is what lies around; the others are told apart by people of any colour vision (Okabe, Ito).
COLOURS = (
    (0, 0, 0, 0), (230, 159, 0, 160), (86, 180, 233, 160), (0, 158, 115, 160), (204, 121, 167, 160),
    (240, 228, 66, 160), (0, 114, 178, 160), (213, 94, 0, 160),
)  # fmt: skip
SEGMENTATION, DOUBTED = "segmentation", "doubted"
WRITE_ALL: Any = {"write_empty_chunks": True}
"""A chunk of zeros is a file as well: what is missing was not computed."""


class Result:
    """The arrays of a result, opened or made.

    Args:
        path: Folder of the group.
        grid: Of the tiles; its cores are the chunks.
        keep: How many samples' labels are kept.
        doubts: Whether the model has a second network, so that there is a label image of where it decided.
    """

    def __init__(self, path: Path, grid: Grid, keep: int, doubts: bool = False) -> None:
        self.path, self.grid, self.keep, self.doubts = path, grid, keep, doubts
        self.shapes = tuple(level_shapes(grid.volume, max(grid.cores)))
        self._open: dict[str, Array] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the label images."""
        second = (DOUBTED,) if self.doubts else ()
        return (SEGMENTATION, *second, *self.samples)

    @property
    def samples(self) -> tuple[str, ...]:
        """Names of those of single samples."""
        return tuple(f"sample-{number:04d}" for number in range(self.keep))

    def make(self) -> None:
        """Writes the metadata of all arrays and groups; the same again where they are there already."""
        import zarr

        for name in ("", "labels", *(f"labels/{label}" for label in self.labels)):
            zarr.open_group(self.path / name, mode="a", zarr_format=3)
        for level in range(len(self.shapes)):
            self.array(str(level))
            for label in self.labels:
                self.array(f"labels/{label}/{level}")

    def array(self, name: str) -> Array:
        """The array of that path below the group."""
        if name not in self._open:
            self._open[name] = self._array(name)
        return self._open[name]

    def _array(self, name: str) -> Array:
        import zarr
        from zarr.codecs import BloscCodec

        path = self.path / name
        if (path / "zarr.json").exists():
            return zarr.open_array(path, mode="r+").with_config(WRITE_ALL)
        shape, labels = self.shapes[int(path.name)], name.startswith("labels/")
        chunk = tuple(min(a, b) for a, b in zip(self.grid.cores, shape, strict=True))
        return zarr.create_array(
            path,
            shape=shape if labels else (len(MAPS), *shape),
            chunks=chunk if labels else (1, *chunk),
            dtype="uint8" if labels else "uint16",
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=1 if labels else 2),
            fill_value=0,
            dimension_names=["z", "y", "x"] if labels else ["c", "z", "y", "x"],
            config=WRITE_ALL,
            overwrite=False,
        )

    def write(self, tile: Tile, found: Said) -> None:
        """Writes what was said of a tile, a file for each array."""
        at = tile.core
        # not the deviation, which evaluations use: a fifth map would take as much of the disk as each of these
        for channel, values in enumerate((found.probability, found.entropy, found.mutual, found.spread)):
            self.array("0")[(channel, *at)] = quantised(values)
        self.array(f"labels/{SEGMENTATION}/0")[at] = found.labels
        if found.doubted is not None:
            self.array(f"labels/{DOUBTED}/0")[at] = found.doubted
        for name, labels in zip(self.samples, found.samples, strict=True):
            self.array(f"labels/{name}/0")[at] = labels

    def describe(self, job: Job, summary: dict[str, Any]) -> None:
        """Writes what the arrays mean into the groups: the last thing that is written."""
        import zarr

        image = {"image": "../../"}
        for name in self.labels:
            classes = ("sure", DOUBTED) if name == DOUBTED else job.classes
            colours = [{"label-value": n, "rgba": list(COLOURS[n % len(COLOURS)])} for n in range(len(classes))]
            named = [{"label-value": n, "segbench:class": each} for n, each in enumerate(classes)]
            scales = self._multiscales(name, job, channels=False, kind="mode")
            described: dict[str, Any] = {"colors": colours, "properties": named, "source": image}
            group = zarr.open_group(self.path / "labels" / name, mode="r+")
            group.attrs.put({"ome": {"version": "0.5", "multiscales": scales, "image-label": described}})
        labels = zarr.open_group(self.path / "labels", mode="r+")
        labels.attrs.put({"ome": {"version": "0.5", "labels": list(self.labels)}})
        scales = self._multiscales(self.path.stem, job, channels=True, kind="mean")
        root = zarr.open_group(self.path, mode="r+")
        channels = [_channel(name, len(job.classes)) for name in MAPS]
        root.attrs.put(
            {
                "ome": {"version": "0.5", "multiscales": scales, "omero": {"channels": channels}},
                "segbench": summary,
            }
        )

    def _multiscales(self, name: str, job: Job, *, channels: bool, kind: str) -> list[dict[str, Any]]:
        voxel = job.wanted.voxel_um or (1.0, 1.0, 1.0)
        unit = {} if job.wanted.voxel_um is None else {"unit": "micrometer"}
        axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] if channels else []
        axes += [{"name": axis, "type": "space", **unit} for axis in "zyx"]
        datasets = []
        for level in range(len(self.shapes)):
            steps = [2.0**level if n > 1 else 1.0 for n in self.grid.volume]
            edges = [step * v for step, v in zip(steps, voxel, strict=True)]
            # the centre of the first voxel of a coarser level lies between those that it is made from
            shifts = [(step - 1) / 2 * v for step, v in zip(steps, voxel, strict=True)]
            lead = ([1.0], [0.0]) if channels else ([], [])
            transformations = [
                {"type": "scale", "scale": [*lead[0], *edges]},
                {"type": "translation", "translation": [*lead[1], *shifts]},
            ]
            datasets.append({"path": str(level), "coordinateTransformations": transformations})
        return [{"name": name, "axes": axes, "datasets": datasets, "type": kind}]


def _channel(name: str, classes: int) -> dict[str, Any]:
    highest = round((math.log(classes) if name in NATS else 1) / UNIT)
    return {
        "label": name,
        "color": MAP_COLOURS[name],
        "active": name == "probability",
        "window": {"min": 0, "max": highest, "start": 0, "end": highest},
    }


def level_shapes(shape: Shape, enough: int) -> Iterator[Shape]:
    """Shapes of a pyramid: halves, rounded up, until no edge is longer than `enough`."""
    yield shape
    while max(shape) > enough:
        z, y, x = ((n + 1) // 2 for n in shape)
        shape = (z, y, x)
        yield shape


def quantised(values: Float32) -> npt.NDArray[np.uint16]:
    """Probabilities or nats as whole numbers of `UNIT`."""
    return np.asarray(np.rint(values / np.float32(UNIT)), dtype=np.uint16)
