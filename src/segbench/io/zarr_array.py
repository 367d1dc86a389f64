"""One zarr array as a lazy volume: read by blocks of chunks, opened anew in each process."""

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from segbench.errors import InputError
from segbench.io import chunked
from segbench.io.chunked import Chunked, Index, corner, grouped
from segbench.io.lazy import Array
from segbench.io.location import Location
from segbench.io.message import line
from segbench.io.ngff import Level, volume_axes

# Seconds to wait before a server is asked again.
PAUSES = (0.2, 1.0)


def lazy_zarr(
    array: Any,  # noqa: ANN401
    opener: Callable[[], Any],
    where: str,
    level: Level | None = None,
    workers: int = 1,
) -> Chunked:
    """A zarr array as a lazy volume.

    Args:
        array: The array, opened.
        opener: Opens it anew, for another process.
        where: For messages.
        level: What OME-Zarr metadata say of it.
        workers: Blocks of one read that are decoded at once.
    """
    shape, dtype, chunks = tuple(array.shape), np.dtype(array.dtype), tuple(array.chunks)
    names = level.axes if level else getattr(array.metadata, "dimension_names", None)
    if names and all(names) and {"y", "x"} <= {str(name).lower() for name in names}:
        leading = volume_axes([str(name) for name in names], shape, where)
    else:
        leading = 0
    if len(shape) - leading not in (2, 3) or 0 in shape:
        raise InputError(f"{where}: shape {shape} is no volume: name an array of the axes (Z, Y, X)")
    described = array.metadata.to_dict()
    codecs = _names([described.get(key) for key in ("codecs", "compressor", "filters")])
    if codecs & {"pickle", "numcodecs.pickle"}:
        raise InputError(f"{where}: is pickled, which is never read: save it with another codec")
    flat = len(shape) - leading == 2
    whole = (1, *shape[-2:]) if flat else shape[-3:]
    chunk = (1, *chunks[-2:]) if flat else chunks[-3:]
    # a chunk that is longer than the array is decoded all the same
    if math.prod(chunks) * dtype.itemsize > chunked.LIMIT_BYTES:
        raise InputError(
            f"{where}: chunks {chunks} of {math.prod(chunks) * dtype.itemsize:.3g} bytes are too large to be read: "
            "save it in chunks of some 64 x 64 x 64"
        )
    block = grouped(chunk, whole, dtype.itemsize)
    decode = _Blocks(opener, where, leading, block, whole, PAUSES if workers > 1 else ())
    return Chunked(whole, dtype, block, decode, workers=workers)


def array_at(location: Location, path: str, allow_missing: bool) -> Any:  # noqa: ANN401
    """The array `path` of a store, opened."""
    from segbench.io.zarr_store import store_at

    return _opened(store_at(location, allow_missing=allow_missing), path)


def watched(array: Any, allow_missing: bool) -> Any:  # noqa: ANN401
    """The same array, in which a missing chunk is an error."""
    from segbench.io.zarr_store import Watched

    return _opened(Watched(array.store_path.store, allow_missing), array.store_path.path)


def _opened(store: Any, path: str) -> Any:  # noqa: ANN401
    import zarr

    array: Any = zarr.open_array(store=store, path=path, mode="r")
    if array.shards is None:
        described = array.metadata.to_dict()
        last = described["codecs"][-1] if "codecs" in described else described.get("compressor")
        blosc = bool(_names(last) & {"blosc", "numcodecs.blosc"})
        array.store_path.store.expect(math.prod(array.chunks) * np.dtype(array.dtype).itemsize, blosc=blosc)
    return array


class _Blocks:
    """Reads a block of chunks; the store is opened once in each process.

    Args:
        opener: Opens the array.
        where: For messages.
        leading: Axes of length 1 before those of the volume.
        block: Voxels of a block.
        shape: Voxels of the volume (Z, Y, X).
        pauses: Seconds to wait before asking again; none for what is on a disk.
    """

    def __init__(
        self,
        opener: Callable[[], Any],
        where: str,
        leading: int,
        block: Index,
        shape: Sequence[int],
        pauses: tuple[float, ...],
    ) -> None:
        self.opener, self.where, self.leading = opener, where, leading
        self.block, self.shape, self.pauses = block, tuple(shape), pauses
        self._opened: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def __call__(self, index: Index) -> Array:
        from segbench.io.zarr_store import MissingChunk

        box = corner(index, self.block, self.shape)
        try:
            return self._read(box)
        except MissingChunk as error:
            raise InputError(
                f"{self.where}: chunk {error} is missing: copy it again, or allow missing chunks where its writer "
                "leaves out empty ones"
            ) from error
        except Exception as error:  # as in open_zarr
            place = ", ".join(f"{a} {part.start} to {part.stop - 1}" for a, part in zip("zyx", box, strict=True))
            raise InputError(f"{self.where}: cannot be read at {place} ({line(error)}): copy it again") from error

    def _read(self, box: tuple[slice, slice, slice]) -> Array:
        from segbench.io.zarr_store import MissingChunk, NoParts

        for pause in self.pauses:
            try:
                return self._ask(box)
            except (MissingChunk, NoParts):
                raise
            except Exception:  # a network fails in many ways, and what it garbled may come whole the next time
                time.sleep(pause)
        return self._ask(box)

    def _ask(self, box: tuple[slice, slice, slice]) -> Array:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), self.opener()
        array = self._opened[1]
        axes = array.ndim - self.leading
        voxels = np.asarray(array[(0,) * self.leading + box[3 - axes :]])
        return voxels.reshape([part.stop - part.start for part in box])


def _names(described: object) -> set[str]:
    """Every text in nested metadata of codecs, which are named in several ways."""
    if isinstance(described, dict):
        return set().union(*(_names(value) for value in described.values()), set())
    if isinstance(described, list | tuple):
        return set().union(*(_names(value) for value in described), set())
    codec = getattr(described, "codec_id", None) or getattr(described, "codec_name", None) or described
    return {codec} if isinstance(codec, str) else set()
