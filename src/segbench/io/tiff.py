"""TIFF: uncompressed data are mapped, compressed ones decoded by strips and tiles as they are asked for.

A TIFF is a stranger's claim about itself: it is checked against the size of the file before it is believed.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from segbench.errors import InputError
from segbench.io import chunked
from segbench.io.chunked import Chunked, Index, corner
from segbench.io.lazy import Array, Mapped
from segbench.io.message import line
from segbench.io.tiff_log import first, quiet
from segbench.io.tiff_scale import voxel_um
from segbench.volume import LazyArray, Volume

# Bytes that one byte of a file may become. Deflate ends at 1032 and is what CT stacks use; the strongest
# coders (zstd, LZMA) reach some 10^4 on a blank page.
MAX_EXPANSION = 50_000
MAX_PLANE_BYTES = 8 * 2**30

# Axes that can only be depth: ImageJ and OME say Z, plain pages I, pages of tifffile Q. T and C are no depth.
DEPTH_AXES = "ZIQ"

# Compressions whose strips need tables that stand once in the page.
JPEG = (6, 7, 34892, 33007)


def open_tiff(path: Path) -> Volume:
    """The one image in the file.

    Raises:
        InputError: One line: not a TIFF, damaged, colour or time in it, several images, an impossible shape.
    """
    with quiet() as problems:
        try:
            # _multifile: an OME-TIFF may name other files, which nobody has asked to be opened
            with tifffile.TiffFile(path, _multifile=False) as tif:
                if not len(tif.pages) or problems:
                    raise InputError(f"{path}: damaged TIFF ({first(problems)}): copy or save it again")
                data = _open(path, tif, problems)
                result = Volume(data, voxel_um(tif), str(path))
        except InputError:
            raise
        except tifffile.TiffFileError as error:
            raise InputError(f"{path}: not a TIFF, whatever its name says ({line(error)})") from error
        except Exception as error:  # a parser of hostile bytes: whatever it raises is the file's fault
            raise InputError(f"{path}: damaged TIFF ({line(error)}): copy or save it again") from error
        return result


def _open(path: Path, tif: Any, problems: list[str]) -> LazyArray:  # noqa: ANN401
    series = tif.series
    if problems:
        raise InputError(f"{path}: damaged TIFF ({first(problems)}): copy or save it again")
    if len(series) != 1:
        raise InputError(f"{path}: holds {len(series)} images that differ in shape or storage: save the volume alone")
    image = series[0]
    dtype = np.dtype(image.dtype)
    shape = _volume_shape(path, image.axes, image.shape)
    size = path.stat().st_size
    claim = math.prod(shape) * dtype.itemsize
    offset = image.dataoffset
    if offset is not None:
        if offset + claim > size:
            raise InputError(
                f"{path}: truncated, {shape} voxels of {dtype} end at byte {offset + claim} "
                f"and the file at {size}: copy it again"
            )
        return Mapped(path, dtype.newbyteorder(tif.byteorder), offset, shape)
    pages = [image[index] for index in range(len(image))]
    _check_pages(path, pages, shape, size)
    decode = _Pages(path, pages, shape, _block(pages, shape, dtype.itemsize))
    return Chunked(shape, dtype, decode.block, decode)


def _volume_shape(path: Path, axes: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    pairs = zip(axes, shape, strict=True)
    kept = [(axis, int(length)) for axis, length in pairs if length != 1 or axis in "YX"]
    names = "".join(axis for axis, _ in kept)
    if 0 in shape:
        raise InputError(f"{path}: empty image of shape {tuple(shape)}: save it again")
    if "S" in names:
        raise InputError(f"{path}: a colour image of shape {tuple(shape)}: save it as grey, labels as numbers")
    if not names.endswith("YX") or len(names) > 3 or (len(names) == 3 and names[0] not in DEPTH_AXES):
        raise InputError(
            f"{path}: axes {names} of shape {tuple(shape)} are no volume: save one channel at one time, with axes ZYX"
        )
    lengths = [length for _, length in kept]
    return (lengths[0] if len(lengths) == 3 else 1), lengths[-2], lengths[-1]


def _check_pages(path: Path, pages: list[Any], shape: tuple[int, int, int], size: int) -> None:
    if len(pages) != shape[0] or any(page is None for page in pages):
        raise InputError(f"{path}: {len(pages)} pages for {shape[0]} slices: save it again, one page a slice")
    coder = pages[0].keyframe.compression
    try:
        tifffile.TIFF.DECOMPRESSORS[coder]
    except KeyError as error:
        raise InputError(
            f"{path}: compression {getattr(coder, 'name', coder)} needs a library: pip install 'segbench[formats]'"
        ) from error
    plane_bytes = shape[1] * shape[2] * np.dtype(pages[0].dtype).itemsize
    for index, page in enumerate(pages):
        ends = [a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or max(ends) > size:
            raise InputError(f"{path}: truncated, page {index} lies past the end of the file: copy it again")
        if 0 in page.databytecounts:
            raise InputError(f"{path}: page {index} has strips without voxels: save it without sparse pages")
        if plane_bytes > min(MAX_PLANE_BYTES, MAX_EXPANSION * sum(page.databytecounts)):
            raise InputError(
                f"{path}: page {index} claims {plane_bytes:.3g} bytes, more than it can hold: save it again"
            )
        rows, columns = _segment(page, shape)
        segment_bytes = rows * columns * np.dtype(pages[0].dtype).itemsize
        # compression makes noise a little larger, never twice as large; what decodes to more than it says is a bomb
        if segment_bytes > chunked.LIMIT_BYTES or max(page.databytecounts) > 2 * segment_bytes + 2**16:
            raise InputError(
                f"{path}: page {index} has strips or tiles of {segment_bytes:.3g} bytes, stored in "
                f"{max(page.databytecounts):.3g}: save it again in smaller ones"
            )


def _segment(page: Any, shape: tuple[int, int, int]) -> tuple[int, int]:  # noqa: ANN401
    """Rows and columns of a strip or tile."""
    key = page.keyframe
    if (key.imagelength, key.imagewidth, key.imagedepth) != (shape[1], shape[2], 1):
        raise ValueError("its pages differ in shape")
    if key.is_tiled:
        if not key.tilelength:
            raise ValueError("its tiles hold no voxels")
        return int(key.tilelength), int(key.tilewidth)
    return max(1, min(int(key.rowsperstrip), shape[1])), shape[2]


def _block(pages: list[Any], shape: tuple[int, int, int], itemsize: int) -> Index:
    """One tile, or strips of a page, joined until they are worth a read."""
    if len({(*_segment(page, shape), bool(page.keyframe.is_tiled)) for page in pages}) > 1:
        raise ValueError("its pages are cut into strips or tiles differently")
    rows, columns = _segment(pages[0], shape)
    joined = 1 if pages[0].keyframe.is_tiled else math.ceil(chunked.BLOCK_BYTES / (rows * columns * itemsize))
    return 1, min(rows * joined, shape[1]), min(columns, shape[2])


class _Pages:
    """Decodes parts of pages, with the file open for that moment only."""

    def __init__(self, path: Path, pages: list[Any], shape: tuple[int, int, int], block: Index) -> None:
        self.path, self.pages, self.shape, self.block = path, pages, shape, block
        self.dtype = np.dtype(pages[0].dtype)

    def __reduce__(self) -> tuple[Callable[[Path], "_Pages"], tuple[Path]]:
        return _again, (self.path,)

    def __call__(self, index: Index) -> Array:
        z, y, x = corner(index, self.block, self.shape)
        with quiet():
            try:
                with self.path.open("rb") as file:
                    return self._decode(file, z.start, y, x)
            except Exception as error:  # as in open_tiff
                reason = f"page {z.start} is damaged ({line(error)})"
                raise InputError(f"{self.path}: {reason}: copy it again") from error

    def _decode(self, file: BinaryIO, z: int, y: slice, x: slice) -> Array:
        page = self.pages[z]
        key = page.keyframe
        rows, columns = _segment(page, self.shape)
        across = math.ceil(self.shape[2] / columns)
        tables = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader} if key.compression in JPEG else {}
        out = np.empty((1, y.stop - y.start, x.stop - x.start), self.dtype)
        for row in range(y.start // rows, math.ceil(y.stop / rows)):
            for column in range(x.start // columns, math.ceil(x.stop / columns)):
                number = row * across + column
                file.seek(page.dataoffsets[number])
                stored = file.read(page.databytecounts[number])
                if len(stored) < page.databytecounts[number]:
                    raise ValueError("the file ends in it")
                segment, _, _ = key.decode(stored, number, _fullsize=False, **tables)
                top, left = row * rows - y.start, column * columns - x.start
                part = out[0, top : top + rows, left : left + columns]
                part[...] = segment[0, : part.shape[0], : part.shape[1], 0]
        return out


def _again(path: Path) -> _Pages:
    data = open_tiff(path).data
    if not isinstance(data, Chunked) or not isinstance(data.decode, _Pages):
        raise InputError(f"{path}: cannot be read any more: did it change?")
    return data.decode
