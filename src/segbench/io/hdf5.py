"""HDF5 and NeXus through h5py: one dataset, read by chunks; the file is open for the moment of a read only.

HDF5 fills what was never written with a fill value and says nothing. Here it is an error.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segbench.errors import InputError, UnknownNameError
from segbench.io import chunked
from segbench.io.chunked import Chunked, Index, corner, grouped
from segbench.io.extras import missing
from segbench.io.lazy import Array, Direct, Slices
from segbench.io.message import line, printable
from segbench.io.nexus import voxel_um
from segbench.volume import LazyArray, Volume

SHOWN = 8


def open_hdf5(path: Path, inner: str, *, allow_missing: bool = False) -> Volume:
    """The dataset `inner` of a file, or the only volume in it, or in the group `inner`.

    Args:
        path: The file.
        inner: Such as `entry/data`; empty for the whole file.
        allow_missing: Whether chunks that were never written are read as the fill value.

    Raises:
        InputError: One line: h5py is missing; not HDF5 or damaged; no such dataset, or several; not of two or
            three axes; never written to its end; its filter or a file that it refers to is missing.
    """
    try:
        import h5py
    except ImportError as error:
        raise missing("h5py", str(path)) from error
    try:
        with h5py.File(path, "r") as file:
            name, dataset = _choose(path, file, inner)
            where = f"{path}::{printable(name)}"
            plugins = _filters(where, dataset)
            _written(where, dataset, allow_missing=allow_missing)
            return Volume(_lazy(path, name, dataset, plugins=plugins), voxel_um(dataset), where)
    except InputError:
        raise
    except Exception as error:  # a parser of hostile bytes: whatever it raises is the file's fault
        raise InputError(f"{path}: not HDF5, or damaged ({line(error)}): copy it again") from error


def _choose(path: Path, file: Any, inner: str) -> tuple[str, Any]:  # noqa: ANN401
    """The dataset and its name from here: behind an external link it calls itself otherwise."""
    import h5py

    try:
        found = file[inner] if inner else file
    except KeyError as error:
        names = [name for name, _ in _datasets(file, "")]
        raise UnknownNameError(f"dataset of {path}", f"/{inner}", names) from error
    if isinstance(found, h5py.Dataset):
        if found.shape is None or len(found.shape) not in (2, 3):
            raise InputError(
                f"{path}::/{inner}: shape {found.shape} is no volume: name a dataset of the axes (Z, Y, X)"
            )
        return f"/{inner}", found
    if not isinstance(found, h5py.Group):
        raise InputError(f"{path}::/{inner}: a type, not a dataset: name a dataset of the axes (Z, Y, X)")
    there = _datasets(found, f"/{inner}" if inner else "")
    for axes in (3, 2):
        volumes = [(name, dataset) for name, dataset in there if len(dataset.shape) == axes]
        if len(volumes) == 1:
            return volumes[0]
        if volumes:
            raise InputError(
                f"{path}: holds {len(volumes)} datasets: {_list(volumes)}: choose one, such as {path}::{volumes[0][0]}"
            )
    raise InputError(f"{path}: holds no dataset of the axes (Z, Y, X), only: {_list(there) or 'nothing'}")


def _datasets(group: Any, above: str) -> list[tuple[str, Any]]:  # noqa: ANN401
    """Name and dataset of everything with numbers and axes below `group`; a loop of links is not walked."""
    import h5py

    found: list[tuple[str, Any]] = []

    def visit(name: str, item: Any) -> None:  # noqa: ANN401
        if isinstance(item, h5py.Dataset) and item.shape and item.dtype.kind in "buif":
            found.append((f"{above}/{name}", item))

    group.visititems(visit)
    return found


def _list(datasets: list[tuple[str, Any]]) -> str:
    shown = ", ".join(f"{name} {tuple(dataset.shape)} {dataset.dtype}" for name, dataset in datasets[:SHOWN])
    return shown + (", ..." if len(datasets) > SHOWN else "")


def _filters(where: str, dataset: Any) -> bool:  # noqa: ANN401
    """Proves that every filter can be undone; whether that takes the library hdf5plugin."""
    from h5py import h5z

    properties = dataset.id.get_create_plist()
    needed = [properties.get_filter(n) for n in range(properties.get_nfilters())]
    if all(h5z.filter_avail(code) for code, *_ in needed):
        return False
    try:
        import hdf5plugin  # noqa: F401 - registers its filters
    except ImportError as error:
        raise missing("hdf5plugin", where) from error
    for code, _, _, name in needed:
        if not h5z.filter_avail(code):
            raise InputError(f"{where}: its filter {code} ({_text(name)}) is in no library here: save it with gzip")
    return True


def _written(where: str, dataset: Any, *, allow_missing: bool) -> None:  # noqa: ANN401
    """Refuses what would be filled in silently: chunks never written, and sources that are not there."""
    from h5py import h5d

    if 0 in dataset.shape:
        raise InputError(f"{where}: empty dataset of shape {dataset.shape}: save it again")
    if dataset.is_virtual:
        folder = Path(dataset.file.filename).parent
        for source in dataset.virtual_sources():
            name = str(source.file_name)
            # % stands for a number that counts files up; which there should be is not said
            if name != "." and "%" not in name and not (folder / name).is_file() and not allow_missing:
                raise InputError(f"{where}: is made of other files, and {name} is missing: copy it too")
        return
    if dataset.external or allow_missing:
        return
    advice = "copy it again, or allow missing chunks"
    if dataset.chunks is None:
        compact = dataset.id.get_create_plist().get_layout() == h5d.COMPACT
        if not compact and dataset.id.get_space_status() == h5d.SPACE_STATUS_NOT_ALLOCATED:
            raise InputError(f"{where}: declared and never written: {advice}")
        return
    expected = math.prod(math.ceil(n / c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    there = int(dataset.id.get_num_chunks())
    if there < expected:
        raise InputError(f"{where}: {expected - there} of {expected} chunks are missing, never written: {advice}")


def _lazy(path: Path, name: str, dataset: Any, *, plugins: bool) -> LazyArray:  # noqa: ANN401
    dtype = np.dtype(dataset.dtype)
    shape = (1, *dataset.shape) if len(dataset.shape) == 2 else tuple(dataset.shape)
    chunk = dataset.chunks
    read = _Region(path, name, len(dataset.shape), plugins)
    if chunk is None or not dataset.id.get_create_plist().get_nfilters():
        return Direct(shape, dtype, read)
    chunk = (1, *chunk) if len(chunk) == 2 else chunk
    size = math.prod(chunk) * dtype.itemsize
    if size > chunked.LIMIT_BYTES:
        raise InputError(
            f"{read.where}: compressed chunks {chunk} of {size:.3g} bytes are too large to be read: save it in "
            "chunks of some 64 x 64 x 64"
        )
    block = grouped(chunk, shape, dtype.itemsize)
    return Chunked(shape, dtype, block, _Blocks(read, block, shape))


class _Region:
    """Reads slices of a dataset."""

    def __init__(self, path: Path, name: str, axes: int, plugins: bool) -> None:
        self.path, self.name, self.axes, self.plugins = path, name, axes, plugins

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.path}::{printable(self.name)}"

    def __call__(self, box: Slices) -> Array:
        import h5py

        if self.plugins:
            import hdf5plugin  # noqa: F401 - registers its filters
        try:
            with h5py.File(self.path, "r") as file:
                if self.axes == 3:
                    return np.asarray(file[self.name][box])
                return np.asarray(file[self.name][box[1:]])[np.newaxis]
        except Exception as error:  # as in open_hdf5
            reason = f"cannot be read at {_place(box)} ({line(error)})"
            raise InputError(f"{self.where}: {reason}: copy it again") from error


class _Blocks:
    """Reads a block of chunks."""

    def __init__(self, read: Callable[[Slices], Array], block: Index, shape: tuple[int, ...]) -> None:
        self.read, self.block, self.shape = read, block, shape

    def __call__(self, index: Index) -> Array:
        return self.read(corner(index, self.block, self.shape))


def _place(box: Slices) -> str:
    return ", ".join(f"{axis} {part.start} to {part.stop - 1}" for axis, part in zip("zyx", box, strict=True))


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
