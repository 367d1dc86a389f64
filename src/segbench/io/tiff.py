"""TIFF: uncompressed data are mapped, compressed pages decoded one by one as they are asked for.

A TIFF is a stranger's claim about itself: it is checked against the size of the file before it is believed.
"""

import logging
import math
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from segbench.errors import InputError
from segbench.io.planes import Plane, Planes
from segbench.volume import LazyArray

VoxelUm = tuple[float, float, float]

# Bytes that one byte of a file may become. Deflate ends at 1032 and is what CT stacks use; the strongest
# coders (zstd, LZMA) reach some 10^4 on a blank page.
MAX_EXPANSION = 50_000
MAX_PLANE_BYTES = 8 * 2**30

# Axes that can only be depth: ImageJ and OME say Z, plain pages I, pages of tifffile Q. T and C are no depth.
DEPTH_AXES = "ZIQ"

# Tags that do not say how to read voxels: maker, model, software, date, author, host; and private ones.
IDLE_TAGS = (271, 272, 305, 306, 315, 316)
PRIVATE_TAGS = 32768

# Units that mean a length in the object. Inch is left out: it is the resolution of a print.
MICROMETRES = {"nm": 1e-3, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
MICROMETRES |= dict.fromkeys(("um", "\u03bcm", "\\u00B5m", "micron", "microns"), 1.0)


def open_tiff(path: Path) -> tuple[LazyArray, VoxelUm | None]:
    """Array (Z, Y, X) and voxel size of the one image in the file.

    Raises:
        InputError: One line: not a TIFF, damaged, colour or time in it, several images, an impossible shape.
    """
    with _quiet() as problems:
        try:
            # _multifile: an OME-TIFF may name other files, which nobody has asked to be opened
            with tifffile.TiffFile(path, _multifile=False) as tif:
                if not len(tif.pages) or problems:
                    raise InputError(f"{path}: damaged TIFF ({_first(problems)}): copy or save it again")
                result = _open(path, tif, problems)
        except InputError:
            raise
        except tifffile.TiffFileError as error:
            raise InputError(f"{path}: not a TIFF, whatever its name says ({_line(error)})") from error
        except Exception as error:  # a parser of hostile bytes: whatever it raises is the file's fault
            raise InputError(f"{path}: damaged TIFF ({_line(error)}): copy or save it again") from error
        return result


def _open(path: Path, tif: Any, problems: list[str]) -> tuple[LazyArray, VoxelUm | None]:  # noqa: ANN401
    series = tif.series
    if problems:
        raise InputError(f"{path}: damaged TIFF ({_first(problems)}): copy or save it again")
    if len(series) != 1:
        raise InputError(f"{path}: holds {len(series)} images of different shapes: save the volume alone")
    image = series[0]
    dtype = np.dtype(image.dtype)
    shape = _volume_shape(path, image.axes, image.shape)
    size = path.stat().st_size
    claim = math.prod(shape) * dtype.itemsize
    voxel_um = _voxel_um(tif)
    offset = image.dataoffset
    if offset is not None:
        if offset + claim > size:
            raise InputError(
                f"{path}: truncated, {shape} voxels of {dtype} end at byte {offset + claim} "
                f"and the file at {size}: copy it again"
            )
        mapped = np.memmap(path, dtype.newbyteorder(tif.byteorder), "r", offset, shape)
        if mapped.dtype.isnative:
            return mapped, voxel_um
        return Planes(shape, mapped.dtype, mapped.__getitem__, cache_bytes=0), voxel_um
    pages = [image[index] for index in range(len(image))]
    _check_pages(path, pages, shape, size)
    return Planes(shape, dtype, _Reader(path, tif, pages, shape[1:])), voxel_um


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
            f"{path}: compression {getattr(coder, 'name', coder)} needs a library: pip install imagecodecs"
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


class _Reader:
    """Decodes a page, with the file open for that moment only."""

    def __init__(self, path: Path, tif: Any, pages: list[Any], shape: tuple[int, int]) -> None:  # noqa: ANN401
        self.path, self.file, self.pages, self.shape = path, tif.filehandle, pages, shape
        self.lock = threading.Lock()

    def __call__(self, z: int) -> Plane:
        with self.lock, _quiet() as problems:
            try:
                self.file.open()
                try:
                    plane = np.asarray(self.pages[z].asarray())
                finally:
                    self.file.close()
                if problems:
                    raise ValueError(_first(problems))
                return plane.reshape(self.shape)  # raises where the page is not what the first one promised
            except Exception as error:  # as in open_tiff
                reason = f"page {z} is damaged ({_line(error)})"
                raise InputError(f"{self.path}: {reason}: copy it again") from error


def _voxel_um(tif: Any) -> VoxelUm | None:  # noqa: ANN401
    """Edges in µm where the file gives all three with a unit of length; a plain TIFF never tells depth."""
    try:
        sizes = _ome_um(tif.ome_metadata) if tif.is_ome else _imagej_um(tif) if tif.is_imagej else None
    except (ET.ParseError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return sizes if sizes is not None and all(math.isfinite(s) and s > 0 for s in sizes) else None


def _ome_um(xml: str) -> VoxelUm | None:
    pixels = next((node for node in ET.fromstring(xml).iter() if node.tag.endswith("}Pixels")), None)
    if pixels is None:
        return None
    given = pixels.attrib
    units = (MICROMETRES[given.get(f"PhysicalSize{axis}Unit", "µm")] for axis in "ZYX")
    z, y, x = (float(given[f"PhysicalSize{axis}"]) * unit for axis, unit in zip("ZYX", units, strict=True))
    return z, y, x


def _imagej_um(tif: Any) -> VoxelUm | None:  # noqa: ANN401
    meta, tags = tif.imagej_metadata, tif.pages[0].tags
    unit = MICROMETRES[str(meta["unit"])]
    per_unit = [tags[name].value for name in ("YResolution", "XResolution")]
    y, x = (unit * denominator / numerator for numerator, denominator in per_unit)
    return float(meta["spacing"]) * unit, y, x


class _Collector(logging.Handler):
    def __init__(self, problems: list[str]) -> None:
        super().__init__()
        self.problems = problems

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        tag = re.search(r"TiffTag (\d+) @", message)
        idle = tag is not None and (int(tag[1]) in IDLE_TAGS or int(tag[1]) >= PRIVATE_TAGS)
        if record.levelno >= logging.ERROR and not idle:
            self.problems.append(message)


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Keeps tifffile's log from the terminal and collects its errors: a broken chain is only logged."""
    problems: list[str] = []
    handler = _Collector(problems)
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield problems
    finally:
        logger.removeHandler(handler)


def _first(problems: list[str]) -> str:
    return " ".join(problems[0].split())[:200] if problems else "it has no pages"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
