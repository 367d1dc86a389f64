"""NRRD: its header through pynrrd, raw voxels mapped, gzip and bzip2 unpacked up to a limit.

The first axis of an NRRD runs fastest and is X, so the axes are turned into (Z, Y, X) without moving a voxel.
"""

import math
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from segbench.errors import InputError
from segbench.io.companions import beside
from segbench.io.extras import missing
from segbench.io.inflate import Unpacked, unpacked
from segbench.io.lazy import Mapped
from segbench.io.message import line
from segbench.io.units import VoxelUm, micrometres, millimetres
from segbench.volume import LazyArray, Volume

# pynrrd reads a line whole, however long: this is all that it gets to see.
MAX_HEADER_BYTES = 2**20
CODERS = {"gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2"}
TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
# Axes that are no space.
NO_SPACE = ("color", "vector", "matrix", "complex", "quaternion", "list", "time", "normal", "covariant")
# Spaces whose unit is the millimetre, as in DICOM.
ANATOMY = re.compile(r"(right|left)-(anterior|posterior)-superior|[RL][AP]S|scanner-xyz", re.IGNORECASE)


def open_nrrd(path: Path) -> Volume:
    """The image in a .nrrd file, or of an .nhdr header and the one data file that it names in its folder.

    Raises:
        InputError: One line: not an NRRD, damaged, colour or four axes, an encoding as text, truncated, or
            compressed and too large.
    """
    header, start = read_header(path)
    try:
        shape = tuple(int(n) for n in header["sizes"])
        dtype = _dtype(header)
        encoding = str(header["encoding"]).lower()
        skip = int(header.get("byte skip", header.get("byteskip", 0)))
        lines = int(header.get("line skip", header.get("lineskip", 0)))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: damaged NRRD header ({error!r}): save it again") from error
    kinds = [str(kind).lower() for kind in header.get("kinds", [])]
    if any(word in kind for kind in kinds for word in NO_SPACE):
        raise InputError(f"{path}: axes {kinds} of shape {shape} are no volume: save one channel at one time")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise InputError(f"{path}: shape {shape} (X, Y, Z, ...) is no volume: save one image of three axes")
    if lines or skip < -1:
        raise InputError(f"{path}: line skip {lines} and byte skip {skip} are not read: save it without them")
    whole = (1, *shape[::-1]) if len(shape) == 2 else shape[::-1]
    named = _named(path, header)
    data = _data(named or path, 0 if named else start, encoding, skip, whole, dtype)
    return Volume(data, _edges(header, len(shape)), str(path))


def read_header(path: Path) -> tuple[Any, int]:
    """Fields of the header, and the byte after it.

    Raises:
        InputError: pynrrd is missing, or cannot read it.
    """
    try:
        import nrrd
    except ImportError as error:
        raise missing("pynrrd", str(path)) from error
    try:
        with path.open("rb") as file:
            first = BytesIO(file.read(MAX_HEADER_BYTES))
        header = nrrd.read_header(first)
        if first.tell() == MAX_HEADER_BYTES:
            raise ValueError(f"its header is longer than {MAX_HEADER_BYTES} bytes")
        return header, first.tell()
    except Exception as error:  # a parser of hostile bytes: whatever it raises is the file's fault
        raise InputError(f"{path}: not an NRRD, or a damaged one ({line(error)}): copy it again") from error


def data_file(path: Path) -> Path | None:
    """The file that an .nhdr header names; None where the voxels follow the header."""
    return _named(path, read_header(path)[0])


def _named(path: Path, header: Any) -> Path | None:  # noqa: ANN401
    named = header.get("data file", header.get("datafile"))
    return None if named is None else beside(path, str(named))


def _data(file: Path, start: int, encoding: str, skip: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> LazyArray:
    need, there = math.prod(shape) * dtype.itemsize, file.stat().st_size
    if encoding in CODERS:
        # of a compressed file the bytes to skip are those that come out of it
        stream = Unpacked(file, CODERS[encoding], start, max(skip, 0), shape, dtype)
        return unpacked(stream, "save it with the encoding raw")
    if encoding != "raw":
        raise InputError(f"{file}: voxels written as {encoding} are not read: save it with the encoding raw")
    offset = there - need if skip == -1 else start + skip
    if offset < start or offset + need > there:
        raise InputError(f"{file}: truncated, {there} bytes of {start + max(skip, 0) + need}: copy it again")
    return Mapped(file, dtype, offset, shape)


def _dtype(header: Any) -> np.dtype[Any]:  # noqa: ANN401
    name = str(header["type"]).lower()
    kind = next((kind for kind, names in TYPES.items() if name in names.split("|")), None)
    if kind is None:
        raise ValueError(f"type {name}")
    # one byte has no order, and no field that says so
    order = "" if kind[1] == "1" else {"little": "<", "big": ">"}[str(header["endian"]).lower()]
    return np.dtype(order + kind)


def _edges(header: Any, axes: int) -> VoxelUm | None:  # noqa: ANN401
    """Edges in µm, from `space directions` or `spacings` with their units; a patient's space is in mm."""
    directions, spacings = header.get("space directions"), header.get("spacings")
    if axes != 3:
        return None
    if directions is not None:
        sizes = [float(np.linalg.norm(np.asarray(row, dtype=np.float64))) for row in directions]
        units = header.get("space units")
    elif spacings is not None:
        sizes, units = [float(edge) for edge in spacings], header.get("units")
    else:
        return None
    if len(sizes) != 3:
        return None
    if units is not None:
        return micrometres(sizes[::-1], list(units)[::-1])
    return millimetres(sizes[::-1]) if ANATOMY.fullmatch(str(header.get("space", ""))) else None
