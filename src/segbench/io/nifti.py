"""NIfTI through nibabel: its header is read, uncompressed voxels are mapped, .nii.gz is unpacked up to a limit.

The first axis of a NIfTI runs fastest and is X, so the axes are turned into (Z, Y, X) without moving a voxel. The
orientation of a patient is left out: the axes stay those of the file.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from segbench.errors import InputError
from segbench.io.extras import missing
from segbench.io.inflate import Unpacked, unpacked
from segbench.io.lazy import Mapped, Scaled
from segbench.io.message import line
from segbench.io.units import VoxelUm, micrometres, millimetres
from segbench.volume import LazyArray, Volume


def open_nifti(path: Path) -> Volume:
    """The image in a .nii or .nii.gz file.

    Raises:
        InputError: One line: not a NIfTI, damaged, of four axes, truncated, or compressed and too large.
    """
    try:
        import nibabel
    except ImportError as error:
        raise missing("nibabel", str(path)) from error
    try:
        with _silent():
            image: Any = nibabel.load(path)
        header, slope, inter = image.header, float(image.dataobj.slope), float(image.dataobj.inter)
        dtype, offset = np.dtype(header.get_data_dtype()), int(image.dataobj.offset)
        shape, zooms = tuple(int(n) for n in image.shape), [float(edge) for edge in header.get_zooms()[:3]]
        unit = str(header.get_xyzt_units()[0])
    except Exception as error:  # a parser of hostile bytes: whatever it raises is the file's fault
        raise InputError(f"{path}: not a NIfTI, or a damaged one ({line(error)}): copy it again") from error
    # whole axes of length 1 at the end say nothing
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise InputError(f"{path}: shape {shape} (X, Y, Z, ...) is no volume: save one image of three axes")
    whole = (1, *shape[::-1]) if len(shape) == 2 else shape[::-1]
    if dtype.fields is not None:
        raise InputError(f"{path}: a colour image: save it as grey")
    data: LazyArray
    if path.name.lower().endswith(".gz"):
        data = unpacked(Unpacked(path, "gzip", 0, offset, whole, dtype), "unpack it with gunzip")
    else:
        need, there = offset + math.prod(whole) * dtype.itemsize, path.stat().st_size
        if need > there:
            raise InputError(f"{path}: truncated, {there} bytes of {need}: copy it again")
        data = Mapped(path, dtype, offset, whole)
    if not (math.isfinite(slope) and math.isfinite(inter)):
        raise InputError(f"{path}: scaled by {slope} and {inter}, which are no numbers: save it again")
    if (slope, inter) != (1, 0):
        data = Scaled(data, slope, inter)
    return Volume(data, _edges(zooms, unit), str(path))


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps nibabel's log, which has a way to the terminal of its own, from it: it tells of headers it mends."""
    logger = logging.getLogger("nibabel.global")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _edges(zooms: list[float], unit: str) -> VoxelUm | None:
    """Edges in µm; None where the header names no unit, or only says 1 mm."""
    if len(zooms) != 3:
        return None
    sizes = zooms[::-1]
    # nibabel calls what is nothing else by a name of its own: unknown
    return millimetres(sizes) if unit == "mm" else micrometres(sizes, [unit] * 3)
