"""A lazy array (Z, Y, X) over something that can give one plane at a time."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.volume import Volume

# Tiles side by side read the same planes of a compressed stack: so many bytes of decoded planes are kept.
CACHE_BYTES = 256 * 2**20

Plane = npt.NDArray[Any]


class Planes:
    """Reads the planes that an index asks for, and no others.

    Args:
        shape: Voxels along (Z, Y, X).
        dtype: What the planes hold; given out in the machine's byte order.
        plane: Gives plane z, of shape (Y, X). Called by one thread at a time.
        cache_bytes: Decoded planes to keep; 0 for none.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        plane: Callable[[int], Plane],
        cache_bytes: int | None = None,
    ) -> None:
        self.shape: tuple[int, ...] = shape
        self.dtype = dtype.newbyteorder("=")
        self._plane = plane
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Plane] = OrderedDict()
        plane_bytes = max(1, shape[1] * shape[2] * dtype.itemsize)
        self._keep = (CACHE_BYTES if cache_bytes is None else cache_bytes) // plane_bytes

    @property
    def ndim(self) -> int:
        """Always 3."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Plane:
        if copy is False:
            raise ValueError("a lazy array cannot be had without a copy")
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any, /) -> Any:  # noqa: ANN401
        keys = list(key) if isinstance(key, tuple) else [key]
        at = next((i for i, k in enumerate(keys) if k is Ellipsis), None)
        if at is not None:
            keys[at : at + 1] = [slice(None)] * (4 - len(keys))
        keys += [slice(None)] * (3 - len(keys))
        if len(keys) != 3 or not all(isinstance(k, slice | int | np.integer) for k in keys):
            raise IndexError(f"a lazy array takes up to three integers or slices, not {key!r}")
        z, rest = keys[0], (keys[1], keys[2])
        if not isinstance(z, slice):
            return self._get(range(self.shape[0])[z])[rest].astype(self.dtype)
        wanted = range(self.shape[0])[z]
        # the shape of what is inside a plane, without a plane of memory
        inside = np.broadcast_to(np.int8(0), self.shape[1:])[rest].shape
        out = np.empty((len(wanted), *inside), self.dtype)
        for row, index in enumerate(wanted):
            out[row] = self._get(index)[rest]
        return out

    def _get(self, z: int) -> Plane:
        with self._lock:
            plane = self._cache.get(z)
            if plane is None:
                plane = self._plane(z)
                if self._keep:
                    self._cache[z] = plane
                    while len(self._cache) > self._keep:
                        self._cache.popitem(last=False)
            else:
                self._cache.move_to_end(z)
            return plane


def depth_range(volume: Volume, start: int, stop: int) -> Volume:
    """Slices `start` to `stop - 1` of `volume`, as lazy as it is."""
    data = volume.data
    if isinstance(data, np.ndarray):
        return Volume(data[start:stop], volume.voxel_um, f"{volume.source}[{start}:{stop}]")
    _, y, x = volume.shape
    dtype, shape = np.dtype(data.dtype), (stop - start, y, x)
    part = Planes(shape, dtype, lambda z: np.asarray(data[start + z]), cache_bytes=0)
    return Volume(part, volume.voxel_um, f"{volume.source}[{start}:{stop}]")
