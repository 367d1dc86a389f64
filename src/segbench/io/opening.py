"""From a path to a volume.

Axis order is (Z, Y, X) and a 2-D image is one slice. Voxels are real numbers of at most 8 bytes (bool,
integers, floats) and are given out as they are stored. docs/formats.md says what is read of which format.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segbench.errors import InputError
from segbench.io.files import is_zarr, slices_of
from segbench.io.kinds import KINDS, by_content, by_suffix
from segbench.io.location import Location, locate
from segbench.io.message import printable
from segbench.io.raw import Raw, layout, open_raw
from segbench.io.stack import open_stack
from segbench.io.units import VoxelUm
from segbench.volume import Volume

Edges = float | Sequence[float]
# Kinds that hold more than one array.
CONTAINERS = ("hdf5", "zarr")


def open_volume(
    path: str | Path,
    voxel_um: Edges | None = None,
    *,
    raw: Raw | Mapping[str, object] | None = None,
    allow_missing_chunks: bool = False,
) -> Volume:
    """Opens an image without reading its voxels: they are read where the volume is indexed.

    Args:
        path: A file (TIFF, HDF5, NIfTI, NRRD, MetaImage, NumPy, PNG, RAW), a folder or pattern of 2-D slices, a zarr
            folder or its URL. `scan.h5::/entry/data` and `scan.zarr::0` name an array inside.
        voxel_um: Edge of the voxels, one number or (Z, Y, X); stands above what the file says. A file is
            believed only where it gives all three with a unit of length.
        raw: How to read a file without a header: `{"shape": (Z, Y, X), "dtype": "uint16"}` and, where they differ,
            byte_order, offset and voxel_um. Otherwise the page `scan.raw.toml` beside `scan.raw` says so.
        allow_missing_chunks: Whether chunks that are not in a zarr or HDF5 file are read as its fill value, as some
            writers mean it. Otherwise they are an error.

    Raises:
        InputError: One line that names the file, what is wrong with it and what to do.
    """
    volume = _open(locate(path), labels=False, raw=raw, allow_missing=allow_missing_chunks)
    return volume if voxel_um is None else replace(volume, voxel_um=edges(voxel_um, str(path)))


def read_labels(
    path: str | Path, *, raw: Raw | Mapping[str, object] | None = None, allow_missing_chunks: bool = False
) -> Volume:
    """Opens a volume of integers or booleans; of a PNG with a palette the indices are the labels."""
    volume = _open(locate(path), labels=True, raw=raw, allow_missing=allow_missing_chunks)
    if np.dtype(volume.data.dtype).kind not in "bui":
        raise InputError(f"{path}: labels must be integers, these are {volume.data.dtype}: save them as uint8")
    return volume


def checked(volume: Volume) -> Volume:
    """The same volume, its voxels being real numbers.

    Raises:
        InputError: They are not.
    """
    dtype = np.dtype(volume.data.dtype)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise InputError(
            f"{volume.source}: voxels of type {dtype} cannot be used: save uint8, uint16, int16 or float32 "
            "(other integers and floats of up to 8 bytes are read too)"
        )
    return volume


def edges(voxel_um: Edges, where: str) -> VoxelUm:
    """One edge or three, in µm, as (Z, Y, X)."""
    try:
        sizes = np.asarray(voxel_um, dtype=np.float64)
        z, y, x = (float(size) for size in (sizes if sizes.ndim else [sizes] * 3))
    except (TypeError, ValueError):
        z = y = x = math.nan
    if not all(math.isfinite(edge) and edge > 0 for edge in (z, y, x)):
        raise InputError(f"{where}: voxel size {voxel_um}: give one positive number in µm, or three (Z, Y, X)")
    return z, y, x


def _open(location: Location, *, labels: bool, raw: Raw | Mapping[str, object] | None, allow_missing: bool) -> Volume:
    with warnings.catch_warnings():
        # what a library warns of, it either reads or refuses; the terminal is not its place
        warnings.simplefilter("ignore")
        try:
            if location.remote and by_suffix(location.path) is not None:
                raise InputError(f"{location}: only zarr is read from a URL: copy the file to a disk first")
            if location.remote or is_zarr(location.path):
                _no_layout(location, raw)
                from segbench.io.zarr import open_zarr

                return checked(open_zarr(location, allow_missing=allow_missing))
            slices = slices_of(location.path)
            if slices is None:
                return checked(_open_file(location, labels=labels, raw=raw, allow_missing=allow_missing))
            _alone(location, "a folder of slices")
            _no_layout(location, raw)
            return checked(open_stack(location.path, slices, labels=labels))
        except InputError as error:
            if str(error).isprintable():
                raise
            raise InputError(printable(str(error))) from error


def _open_file(
    location: Location, *, labels: bool, raw: Raw | Mapping[str, object] | None, allow_missing: bool
) -> Volume:
    path = location.path
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: empty file of 0 bytes: copy it again")
        content, name = by_content(path), by_suffix(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    described = layout(path, raw)
    if described is not None:
        _alone(location, "a RAW file")
        return open_raw(path, described)
    # what a file holds says more than what somebody called it
    kind = content or name
    if kind is None:
        known = ", ".join(suffix for kind in KINDS.values() for suffix in kind.suffixes[:1])
        raise InputError(
            f"{path}: unknown kind of file {path.suffix!r}: give {known}, a zarr folder or a folder of slices; of a "
            f"RAW file say shape and dtype, or write them into {path.name}.toml beside it"
        )
    if kind not in CONTAINERS:
        _alone(location, f"a file of this kind ({kind})")
    return _open_kind(kind, location, labels=labels, allow_missing=allow_missing)


def _open_kind(kind: str, location: Location, *, labels: bool, allow_missing: bool) -> Volume:  # noqa: PLR0911
    """Each library is imported where a file needs it."""
    path = location.path
    match kind:
        case "tiff":
            from segbench.io.tiff import open_tiff

            return open_tiff(path)
        case "png":
            from segbench.io.png import read_png

            return Volume(read_png(path, labels=labels)[np.newaxis], None, str(path))
        case "npy":
            from segbench.io.npy import open_npy

            return open_npy(path)
        case "npz":
            from segbench.io.npy import open_npz

            return open_npz(path)
        case "hdf5":
            from segbench.io.hdf5 import open_hdf5

            return open_hdf5(path, location.inner, allow_missing=allow_missing)
        case "nifti":
            from segbench.io.nifti import open_nifti

            return open_nifti(path)
        case "nrrd":
            from segbench.io.nrrd import open_nrrd

            return open_nrrd(path)
        case "metaimage":
            from segbench.io.metaimage import open_metaimage

            return open_metaimage(path)
    raise AssertionError(kind)


def _alone(location: Location, what: str) -> None:
    if location.inner:
        raise InputError(f"{location}: {what} holds one image, '::' names an array in HDF5 or zarr: leave it out")


def _no_layout(location: Location, raw: Raw | Mapping[str, object] | None) -> None:
    if raw is not None:
        raise InputError(f"{location}: `raw` describes one file without a header, which this is not: leave it out")
