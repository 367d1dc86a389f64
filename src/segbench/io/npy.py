"""NumPy's own files: an .npy is mapped, of an .npz the one array that it holds is unpacked. No pickle is read."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from segbench.errors import InputError
from segbench.io.inflate import Unpacked, unpacked
from segbench.io.lazy import Mapped
from segbench.io.message import line
from segbench.volume import Volume


def open_npy(path: Path) -> Volume:
    """The array in an .npy file.

    Raises:
        InputError: One line: not an .npy, damaged, of Python objects, truncated, or not of two or three axes.
    """
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = _header(file)
            offset = file.tell()
    except Exception as error:  # the header is a stranger's text: whatever it sets off is the file's fault
        raise InputError(f"{path}: unusable .npy file ({line(error)}): save it with numpy.save") from error
    whole = _shape(path, shape, dtype)
    need, there = offset + math.prod(whole) * dtype.itemsize, path.stat().st_size
    if need > there:
        raise InputError(f"{path}: truncated, {there} bytes of {need}: copy it again")
    return Volume(Mapped(path, dtype, offset, whole, "F" if fortran else "C"), None, str(path))


def open_npz(path: Path) -> Volume:
    """The only array in an .npz file.

    Raises:
        InputError: One line: not an .npz, damaged, of several arrays or Python objects, or too large to unpack.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename.removesuffix(".npy") for member in members]
            if len(members) != 1:
                raise InputError(
                    f"{path}: holds {len(names)} arrays ({', '.join(names[:8])}): save one array with numpy.save"
                )
            with archive.open(members[0]) as file:
                shape, fortran, dtype = _header(file)
                skip = file.tell()
    except InputError:
        raise
    except Exception as error:  # as above
        raise InputError(f"{path}: unusable .npz file ({line(error)}): save it with numpy.save") from error
    whole = _shape(path, shape, dtype)
    stream = Unpacked(path, f"zip:{members[0].filename}", 0, skip, whole, dtype, "F" if fortran else "C")
    if skip + math.prod(whole) * dtype.itemsize > members[0].file_size:
        raise InputError(f"{path}: unusable .npz file (shape {shape} is more than it holds): save it with numpy.save")
    return Volume(unpacked(stream, "save it with numpy.save as .npy"), None, str(path))


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:  # noqa: ANN401
    # np.load takes later versions, too: they are for tables, and a header of theirs may claim gigabytes
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("not version 1.0 of the format")
    return np.lib.format.read_array_header_1_0(file)


def _shape(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    if dtype.hasobject:
        raise InputError(f"{path}: Python objects, which are pickled, are never read: save numbers with numpy.save")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise InputError(f"{path}: shape {shape} is no volume: save an array (Z, Y, X) or (Y, X)")
    return (1, *shape) if len(shape) == 2 else shape
