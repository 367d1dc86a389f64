"""What `segbench predict` wrote, opened: maps (Z, Y, X) at several resolutions, with labels beside them."""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.io.message import printable
from segbench.view.about import About, about
from segbench.volume import UInt8

UInt16 = npt.NDArray[np.uint16]
Shape = tuple[int, int, int]

MAPS = ("probability", "entropy", "mutual_information")
LABELS, DOUBTED = "labels/segmentation", "labels/doubted"
# A chunk is decoded whole, and one that says it is larger is no work of ours.
CHUNK_BYTES = 2**30


@dataclass(frozen=True)
class Level:
    """One resolution.

    Attributes:
        path: Its array in the group of the maps; that of the labels has the same place in their list.
        labels: Its array in the group of the labels.
        shape: Voxels along (Z, Y, X).
        factor: Edges of its voxels in voxels of the scan, along (Z, Y, X).
    """

    path: str
    labels: str
    shape: Shape
    factor: Shape

    @property
    def voxels(self) -> int:
        """How many there are."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Result:
    """A result whose metadata have been read, and whose voxels have not.

    Attributes:
        folder: Where it lies.
        levels: The finest first.
        channels: Where each map is along the axis c.
        voxel_um: Edges of the scan's voxels in µm along (Z, Y, X), or None where unknown.
        about: What it says of itself.
        doubts: Whether it says where a model's second network decided.
    """

    folder: Path
    levels: tuple[Level, ...]
    channels: Mapping[str, int]
    voxel_um: tuple[float, float, float] | None
    about: About
    doubts: bool = False

    def read_map(self, name: str, level: Level) -> UInt16:
        """The map `name` of `MAPS`, (Z, Y, X), in `about.unit`."""
        with _one_line(self.folder):
            array = _array(self.folder, level.path, "uint16", 4)
            return np.asarray(array[self.channels[name]], np.uint16)

    def read_labels(self, level: Level) -> UInt8:
        """Class of each voxel, (Z, Y, X)."""
        with _one_line(self.folder):
            return np.asarray(_array(self.folder, f"{LABELS}/{level.labels}", "uint8", 3)[...], np.uint8)

    def read_doubted(self, level: Level) -> UInt8:
        """1 where the second network decided, else 0, (Z, Y, X)."""
        with _one_line(self.folder):
            return (np.asarray(_array(self.folder, f"{DOUBTED}/{level.labels}", "uint8", 3)[...]) > 0).astype(np.uint8)


def open_result(folder: str | Path) -> Result:
    """Reads what a result says of itself, and proves that its arrays have the shapes that they should.

    Raises:
        InputError: One line: there is none, it is no zarr or no result of `segbench predict`, it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder: give what `segbench predict --out` wrote")
    try:
        import zarr
    except ImportError as error:
        raise InputError("reading a result needs zarr: pip install 'segbench[formats]'") from error
    try:
        attributes = zarr.open_group(folder, mode="r").attrs.asdict()
    except Exception as error:  # metadata of a stranger: whatever they set off is their fault
        raise InputError(f"{folder}: no zarr group ({_reason(error)}): give what `segbench predict` wrote") from error
    with _one_line(folder):
        ome = attributes.get("ome")
        omero = ome.get("omero") if isinstance(ome, dict) else None
        names = [channel["label"] for channel in omero["channels"]] if omero else []
        absent = [name for name in MAPS if name not in names]
        if absent:
            raise InputError(
                f"{folder}: no result of `segbench predict`, or an unfinished one: it has no map {absent[0]!r}"
            )
        channels = {name: names.index(name) for name in MAPS}
        below = zarr.open_group(folder, path=LABELS, mode="r").attrs.asdict()
        levels = _levels(folder, _datasets(attributes), _datasets(below))
        doubts = (folder / DOUBTED).is_dir()
        if doubts:
            _beside(folder, levels, DOUBTED)
        return Result(folder, levels, channels, _voxel(attributes), about(attributes.get("segbench"), below), doubts)


def _levels(folder: Path, maps: Sequence[str], labels: Sequence[str]) -> tuple[Level, ...]:
    if len(maps) != len(labels):
        raise InputError(
            f"{folder}: {len(maps)} resolutions of the maps and {len(labels)} of the labels: run what is missing of "
            "`segbench predict`"
        )
    found: list[Level] = []
    for path, beside in zip(maps, labels, strict=True):
        _, *shape = _array(folder, path, "uint16", 4).shape
        if _array(folder, f"{LABELS}/{beside}", "uint8", 3).shape != tuple(shape):
            raise InputError(f"{folder}: {path} and {LABELS}/{beside} differ in shape: predict the scan again")
        z, y, x = (int(length) for length in shape)
        factor = _times(found[-1], (z, y, x), f"{folder}: {path}") if found else (1, 1, 1)
        found.append(Level(path, beside, (z, y, x), factor))
    if not found:
        raise InputError(f"{folder}: lists no array: predict the scan again")
    return tuple(found)


def _beside(folder: Path, levels: Sequence[Level], labels: str) -> None:
    """Proves that other labels have the resolutions of the segmentation."""
    for level in levels:
        if _array(folder, f"{labels}/{level.labels}", "uint8", 3).shape != level.shape:
            raise InputError(f"{folder}: {labels}/{level.labels} differs in shape: predict the scan again")


def _times(finer: Level, shape: Shape, where: str) -> Shape:
    """Edges of a level's voxels; each axis is half the one of the level before, or as long."""
    for was, now in zip(finer.shape, shape, strict=True):
        if now not in (was, was // 2, (was + 1) // 2):
            raise InputError(f"{where}: shape {shape} is no half of {finer.shape}: predict the scan again")
    z, y, x = (f if was == now else 2 * f for f, was, now in zip(finer.factor, finer.shape, shape, strict=True))
    return z, y, x


def _datasets(attributes: Mapping[str, Any]) -> list[str]:
    return [str(dataset["path"]) for dataset in attributes["ome"]["multiscales"][0]["datasets"]]


def _voxel(attributes: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Edges in µm along (Z, Y, X), where all three axes have that unit."""
    image = attributes["ome"]["multiscales"][0]
    if any(axis.get("unit") != "micrometer" for axis in image["axes"][-3:]):
        return None
    changes = image["datasets"][0]["coordinateTransformations"]
    scale = next(change["scale"] for change in changes if change["type"] == "scale")
    z, y, x = (float(edge) for edge in scale[-3:])
    return (z, y, x) if all(math.isfinite(edge) and edge > 0 for edge in (z, y, x)) else None


def _array(folder: Path, path: str, dtype: str, axes: int) -> Any:  # noqa: ANN401
    import zarr

    array: Any = zarr.open_array(folder, path=path, mode="r")
    if array.ndim != axes or array.dtype != np.dtype(dtype) or 0 in array.shape:
        raise InputError(f"{folder}: {path} is {array.dtype} of shape {array.shape}, not {dtype} with {axes} axes")
    stored = array.shards or array.chunks
    if math.prod(stored) * array.dtype.itemsize > CHUNK_BYTES:
        raise InputError(f"{folder}: {path} has chunks {stored}, too large to be read: predict the scan again")
    return _Whole(array, folder)


@dataclass(frozen=True)
class _Whole:
    """An array whose chunks are proved to be there before they are read: zarr fills missing ones, and says nothing."""

    array: Any
    folder: Path

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401
        first = key if isinstance(key, int) else None
        stored = self.array.shards or self.array.chunks
        grid = [range(-(-length // chunk)) for length, chunk in zip(self.array.shape, stored, strict=True)]
        if first is not None:
            grid[0] = range(first // stored[0], first // stored[0] + 1)
        blosc = any(type(codec).__name__ == "BloscCodec" for codec in self.array.compressors)
        for index in product(*grid):
            chunk = f"{self.array.path}/{self.array.metadata.encode_chunk_key(index)}"
            if not (self.folder / chunk).is_file():
                raise InputError(f"{self.folder}: {chunk} is missing: run what is missing of `segbench predict`")
            if blosc and self.array.shards is None and _cut(self.folder / chunk):
                raise InputError(f"{self.folder}: {chunk} is cut short: predict the scan again")
        return self.array[key]


def _cut(chunk: Path) -> bool:
    """Whether a file is no whole blosc buffer: one that is cut short crashes the process that decodes it."""
    with chunk.open("rb") as file:
        header = file.read(16)
    return len(header) < 16 or struct.unpack_from("<I", header, 12)[0] > chunk.stat().st_size


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a file of a stranger, or one that was cut: whatever it sets off is its fault
        raise InputError(f"{folder}: damaged ({_reason(error)}): predict the scan again") from error


def _reason(error: Exception) -> str:
    return printable(str(error) or type(error).__name__)[:200]
