"""Lazy arrays (Z, Y, X): an index is worked out here, and only what it asks for is read.

All of them can be pickled and are read again where they are unpickled, so a worker process needs no copy of the
voxels, and all may be read by several threads at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.volume import LazyArray, Volume

Array = npt.NDArray[Any]
# What is asked for along (Z, Y, X): not empty, inside the array, rising.
Box = tuple[range, range, range]
Slices = tuple[slice, slice, slice]


class Lazy(ABC):
    """An array that is read by indexing with integers and slices.

    Args:
        shape: Voxels along (Z, Y, X).
        dtype: Of the voxels; they are given out in the machine's byte order.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        z, y, x = (int(length) for length in shape)
        self.shape: tuple[int, ...] = (z, y, x)
        self.dtype = dtype.newbyteorder("=")

    @property
    def ndim(self) -> int:
        """Always 3."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a lazy array cannot be had without a copy")
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any, /) -> Any:  # noqa: ANN401
        ranges = [range(n)[k] for n, k in zip(self.shape, _keys(key), strict=True)]
        dropped = tuple(0 if isinstance(r, int) else slice(None) for r in ranges)
        z, y, x = (range(r, r + 1) if isinstance(r, int) else r for r in ranges)
        if not (len(z) and len(y) and len(x)):
            return np.empty((len(z), len(y), len(x)), self.dtype)[dropped]
        out = self._read((_rising(z), _rising(y), _rising(x)))
        flips = tuple(slice(None, None, -1) if r.step < 0 else slice(None) for r in (z, y, x))
        return out[flips][dropped]

    @abstractmethod
    def _read(self, box: Box) -> Array:
        """A new array of the voxels in `box`, of its lengths and of `dtype`."""


class Direct(Lazy):
    """Over something that reads any slices by itself.

    Args:
        shape: Voxels along (Z, Y, X).
        dtype: Of the voxels.
        read: Gives the voxels of three slices. Called by several threads; pickled with the array.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any], read: Callable[[Slices], Array]) -> None:
        super().__init__(shape, dtype)
        self.read = read

    def _read(self, box: Box) -> Array:
        return np.array(self.read(slices(box)), dtype=self.dtype, order="C")


class Mapped(Lazy):
    """Voxels as they lie in a file. It is mapped for the moment of a read: no file stays open, no page stays held.

    Args:
        path: The file.
        dtype: Of the voxels, with the byte order of the file.
        offset: Bytes before the first voxel.
        shape: Voxels along (Z, Y, X).
        order: "C" where X runs fastest, "F" where Z does.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], offset: int, shape: Sequence[int], order: str = "C") -> None:
        super().__init__(shape, dtype)
        self.path, self.stored, self.offset, self.order = path, dtype, offset, order

    def _read(self, box: Box) -> Array:
        try:
            mapped = np.memmap(self.path, self.stored, "r", self.offset, self.shape, "F" if self.order == "F" else "C")
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be read any more ({error}): did it change?") from error
        return np.array(mapped[slices(box)], dtype=self.dtype, order="C")


class Scaled(Lazy):
    """`slope` times `data` plus `intercept`, as float32."""

    def __init__(self, data: LazyArray, slope: float, intercept: float) -> None:
        super().__init__(data.shape, np.dtype(np.float32))
        self.data, self.slope, self.intercept = data, slope, intercept

    def _read(self, box: Box) -> Array:
        scaled = np.asarray(self.data[slices(box)], dtype=np.float64) * self.slope + self.intercept
        return scaled.astype(np.float32)


class Part(Lazy):
    """Planes `start` to `stop - 1` of `data`."""

    def __init__(self, data: LazyArray, start: int, stop: int) -> None:
        super().__init__((stop - start, *data.shape[1:]), np.dtype(data.dtype))
        self.data, self.start = data, start

    def _read(self, box: Box) -> Array:
        z, y, x = slices(box)
        part = self.data[slice(z.start + self.start, z.stop + self.start, z.step), y, x]
        return np.array(part, dtype=self.dtype)


class Stack(Lazy):
    """Arrays of shape (1, Y, X), one above the other."""

    def __init__(self, planes: Sequence[LazyArray]) -> None:
        super().__init__((len(planes), *planes[0].shape[1:]), np.dtype(planes[0].dtype))
        self.planes = tuple(planes)

    def _read(self, box: Box) -> Array:
        _, y, x = slices(box)
        out = np.empty([len(r) for r in box], self.dtype)
        for row, z in enumerate(box[0]):
            out[row] = self.planes[z][0, y, x]
        return out


def depth_range(volume: Volume, start: int, stop: int) -> Volume:
    """Slices `start` to `stop - 1` of `volume`, as lazy as it is."""
    data, source = volume.data, f"{volume.source}[{start}:{stop}]"
    part = data[start:stop] if isinstance(data, np.ndarray) else Part(data, start, stop)
    return Volume(part, volume.voxel_um, source)


def slices(box: Box) -> Slices:
    """The same box as slices."""
    z, y, x = (slice(r.start, r.stop, r.step) for r in box)
    return z, y, x


def _keys(key: Any) -> list[Any]:  # noqa: ANN401
    """Three integers or slices."""
    keys = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), None)
    if at is not None:
        keys[at : at + 1] = [slice(None)] * (4 - len(keys))
    keys += [slice(None)] * (3 - len(keys))
    known = all(isinstance(k, slice | int | np.integer) and not isinstance(k, bool) for k in keys)
    if len(keys) != 3 or not known:
        raise IndexError(f"a lazy array takes up to three integers or slices, not {key!r}")
    return keys


def _rising(wanted: range) -> range:
    return wanted if wanted.step > 0 else wanted[::-1]
