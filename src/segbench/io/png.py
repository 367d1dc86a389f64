"""PNG: one slice, decoded as a whole."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageMode, UnidentifiedImageError

from segbench.errors import InputError
from segbench.io.chunked import Cache, Chunked, Index
from segbench.io.message import line


def open_png(path: Path, *, labels: bool = False) -> Chunked:
    """A slice that is decoded when it is read; only its header is looked at here.

    Raises:
        InputError: As `read_png`, which says more of the voxels when they are read.
    """
    with _opened(path) as image:
        height, width = image.height, image.width
        dtype = np.dtype(ImageMode.getmode(image.mode).typestr)
    shape = (1, height, width)
    return Chunked(shape, dtype, shape, partial(_slice, path, labels), Cache(0))


def read_png(path: Path, *, labels: bool = False) -> npt.NDArray[Any]:
    """Grey values (Y, X); for `labels` the indices of a palette.

    Colour is refused unless its channels are equal, transparency unless it is the same everywhere.

    Raises:
        InputError: It is no PNG, damaged, coloured, or so large that it must be a bomb or a case for TIFF.
    """
    with _opened(path) as image:
        plain = labels or image.mode != "P"
        array = np.asarray(image if plain else image.convert("RGBA"))
    if array.ndim == 2:
        return array
    colour = array[..., : 3 if array.shape[-1] >= 3 else 1]
    alpha = array[..., colour.shape[-1] :]
    if not (colour == colour[..., :1]).all():
        what = "save labels as class numbers" if labels else "save it as 8- or 16-bit grey"
        raise InputError(f"{path}: a colour image, its channels differ: {what}")
    if alpha.size and not (alpha == alpha.flat[0]).all():
        raise InputError(f"{path}: an image with transparency: save it as grey without an alpha channel")
    return np.ascontiguousarray(colour[..., 0])


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image, in which whatever goes wrong is said in a line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                yield image
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: more pixels than a PNG may have here: save it as TIFF, which is read in parts"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a PNG, whatever its name says: save it again") from error
    except Exception as error:  # a parser of hostile bytes: whatever it raises is the file's fault
        raise InputError(f"{path}: damaged PNG ({line(error)}): copy it again") from error


def _slice(path: Path, labels: bool, index: Index) -> npt.NDArray[Any]:
    return read_png(path, labels=labels)[np.newaxis]
