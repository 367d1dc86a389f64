"""MetaImage (.mha, .mhd): a header of a few lines, read here; raw voxels are mapped, zlib is unpacked up to a limit.

Not through ITK: it would read the file whole or through one lock, takes 250 MB, and SimpleITK 2.5 crashed the process
on damaged headers (half of six runs of 300 files with a few changed bytes). Files that it wrote are in the tests.
The first axis of a MetaImage runs fastest and is X, so the axes are turned into (Z, Y, X) without moving a voxel.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from segbench.errors import InputError
from segbench.io.companions import beside
from segbench.io.inflate import Unpacked, unpacked
from segbench.io.lazy import Mapped
from segbench.io.units import VoxelUm, millimetres
from segbench.volume import LazyArray, Volume

MAX_HEADER_BYTES = 2**16
TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


def open_metaimage(path: Path) -> Volume:
    """The image in an .mha file, or of an .mhd header and the one data file that it names in its folder.

    Raises:
        InputError: One line: not a MetaImage, damaged, colour or four axes, truncated, or compressed and too large.
    """
    header, start = read_header(path)
    try:
        shape = tuple(int(n) for n in header["DimSize"].split())
        axes, channels = int(header["NDims"]), int(header.get("ElementNumberOfChannels", "1"))
        skip = int(header.get("HeaderSize", "0"))
        big = _true(header.get("BinaryDataByteOrderMSB", header.get("ElementByteOrderMSB", "False")))
        binary, packed = _true(header.get("BinaryData", "True")), _true(header.get("CompressedData", "False"))
        kind = header["ElementType"]
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: damaged MetaImage header ({error!r}): save it again") from error
    if kind not in TYPES:
        raise InputError(f"{path}: voxels of type {kind} cannot be used: save one of {', '.join(TYPES)}")
    dtype = np.dtype((">" if big else "<") + TYPES[kind])
    if channels != 1:
        raise InputError(f"{path}: {channels} channels, a colour image: save one channel as grey")
    if axes != len(shape) or axes not in (2, 3) or min(shape) < 1:
        raise InputError(f"{path}: {axes} axes of shape {shape} (X, Y, Z) are no volume: save an image of three axes")
    if not binary or skip < -1:
        raise InputError(f"{path}: voxels as text, or a HeaderSize of {skip}, are not read: save it as binary")
    whole = (1, *shape[::-1]) if axes == 2 else shape[::-1]
    named = _named(path, header)
    data = _data(named or path, 0 if named else start, skip, whole, dtype, packed=packed)
    return Volume(data, _edges(header), str(path))


def read_header(path: Path) -> tuple[dict[str, str], int]:
    """Fields of the header, and the byte after it.

    Raises:
        InputError: It is no MetaImage.
    """
    header: dict[str, str] = {}
    with path.open("rb") as file:
        while file.tell() < MAX_HEADER_BYTES:
            key, equals, value = file.readline(4096).decode("latin-1").partition("=")
            if not equals:
                break
            header[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":  # always the last
                return header, file.tell()
    raise InputError(f"{path}: not a MetaImage, or a damaged one: its header has no ElementDataFile: copy it again")


def data_file(path: Path) -> Path | None:
    """The file that an .mhd header names; None where the voxels follow the header."""
    return _named(path, read_header(path)[0])


def _named(path: Path, header: dict[str, str]) -> Path | None:
    named = header["ElementDataFile"]
    return None if named.upper() == "LOCAL" else beside(path, named)


def _data(
    file: Path, start: int, skip: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, packed: bool
) -> LazyArray:
    if packed:
        return unpacked(Unpacked(file, "zlib", start + max(skip, 0), 0, shape, dtype), "save it without compression")
    need, there = math.prod(shape) * dtype.itemsize, file.stat().st_size
    # -1: the voxels are the last bytes of the file
    offset = there - need if skip == -1 else start + skip
    if offset < start or offset + need > there:
        raise InputError(f"{file}: truncated, {there} bytes of {start + max(skip, 0) + need}: copy it again")
    return Mapped(file, dtype, offset, shape)


def _edges(header: dict[str, str]) -> VoxelUm | None:
    """Edges in µm; the convention is mm."""
    try:
        sizes = [float(edge) for edge in (header.get("ElementSpacing") or header.get("ElementSize") or "").split()]
    except ValueError:
        return None
    return millimetres(sizes[::-1]) if len(sizes) == 3 else None


def _true(word: str) -> bool:
    return word.strip().lower() in ("true", "1")
