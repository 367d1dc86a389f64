"""From a path to a volume.

Axis order is (Z, Y, X) and a 2-D image is one slice. Voxels are real numbers of at most 8 bytes (bool,
integers, floats) and are given out as they are stored.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from segbench.errors import InputError
from segbench.io.files import NPY, PNG, TIFF, slices_of
from segbench.io.planes import Plane, Planes
from segbench.volume import Volume

VoxelUm = float | Sequence[float]


def open_volume(path: str | Path, voxel_um: VoxelUm | None = None) -> Volume:
    """Opens a TIFF (2-D, multi-page, BigTIFF, OME-TIFF), a PNG, a .npy, or a folder or pattern of 2-D slices.

    TIFF, .npy and slices are read when they are indexed; a PNG at once. Every header is read here.

    Args:
        path: A file, a folder of slices, or a pattern such as `scan/*.tif`.
        voxel_um: Edge of the voxels, one number or (Z, Y, X); stands above what the file says. A file is
            believed only where it gives all three with a unit of length (OME, or ImageJ with a spacing).

    Raises:
        InputError: One line that names the file, what is wrong with it and what to do.
    """
    volume = _open(Path(path), labels=False)
    return volume if voxel_um is None else replace(volume, voxel_um=_voxel(voxel_um, str(path)))


def read_labels(path: str | Path) -> Volume:
    """Opens a volume of integers or booleans; of a PNG with a palette the indices are the labels."""
    volume = _open(Path(path), labels=True)
    if np.dtype(volume.data.dtype).kind not in "bui":
        raise InputError(f"{path}: labels must be integers, these are {volume.data.dtype}: save them as uint8")
    return volume


def _open(path: Path, *, labels: bool) -> Volume:
    slices = slices_of(path)
    volume = _open_file(path, labels=labels) if slices is None else _open_slices(path, slices, labels=labels)
    dtype = np.dtype(volume.data.dtype)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise InputError(f"{path}: voxels of type {dtype} cannot be used: save integers or floats")
    return volume


def _open_file(path: Path, *, labels: bool) -> Volume:
    suffix = path.suffix.lower()
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: empty file of 0 bytes: copy it again")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    if suffix in TIFF:
        from segbench.io.tiff import open_tiff

        data, voxel_um = open_tiff(path)
        return Volume(data, voxel_um, str(path))
    if suffix in PNG:
        from segbench.io.png import read_png

        return Volume(read_png(path, labels=labels)[np.newaxis], None, str(path))
    if suffix in NPY:
        return _open_npy(path)
    raise InputError(f"{path}: unknown kind of file {suffix!r}: give .tif, .tiff, .png, .npy or a folder of slices")


def _open_npy(path: Path) -> Volume:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the header is a stranger's text: whatever it sets off is the file's fault
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: unusable .npy file ({reason}): save it with numpy.save") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path}: an archive of arrays under the name .npy: save one array with numpy.save")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{path}: shape {array.shape} is no volume: save an array (Z, Y, X) or (Y, X)")
    array = array[np.newaxis] if array.ndim == 2 else array
    if array.dtype.isnative:
        return Volume(array, None, str(path))
    return Volume(Planes(array.shape, array.dtype, array.__getitem__, cache_bytes=0), None, str(path))


def _open_slices(path: Path, files: list[Path], *, labels: bool) -> Volume:
    """Checks the header of every slice, and reads none of their voxels (a PNG is decoded to be checked)."""
    first = _open_file(files[0], labels=labels)
    for file in files:
        one = first if file is files[0] else _open_file(file, labels=labels)
        if one.shape[0] != 1:
            raise InputError(f"{file}: holds {one.shape[0]} slices, but a stack takes one each: give this file alone")
        if one.shape != first.shape:
            raise InputError(
                f"{file}: {one.shape[1]} x {one.shape[2]} pixels, but {files[0].name} has {first.shape[1]} x "
                f"{first.shape[2]}: a stack needs slices of one shape"
            )
        if one.data.dtype != first.data.dtype:
            raise InputError(
                f"{file}: {one.data.dtype}, but {files[0].name} has {first.data.dtype}: "
                "a stack needs slices of one type"
            )
    shape = (len(files), first.shape[1], first.shape[2])
    planes = Planes(shape, np.dtype(first.data.dtype), partial(_read_slice, files, labels))
    return Volume(planes, None, str(path))


def _read_slice(files: list[Path], labels: bool, z: int) -> Plane:
    return np.asarray(_open_file(files[z], labels=labels).data[0])


def _voxel(voxel_um: VoxelUm, where: str) -> tuple[float, float, float]:
    sizes = [voxel_um] * 3 if isinstance(voxel_um, int | float) else list(voxel_um)
    if len(sizes) != 3 or not all(math.isfinite(s) and s > 0 for s in sizes):
        raise InputError(f"{where}: voxel size {voxel_um}: give one positive number in µm, or three (Z, Y, X)")
    z, y, x = (float(s) for s in sizes)
    return z, y, x
