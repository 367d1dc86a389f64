"""RAW: voxels and nothing else. What they are is said by the caller, or by a page beside the file.

`scan.raw.toml` beside `scan.raw`:

    shape = [512, 512, 512]      # Z, Y, X
    dtype = "uint16"
    byte_order = "little"        # or "big"
    offset = 0                   # bytes before the first voxel
    voxel_um = 0.5               # or three, along Z, Y, X
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from segbench.errors import InputError
from segbench.io.companions import sidecar
from segbench.io.lazy import Mapped
from segbench.recipe import Strict, read_toml, validate
from segbench.volume import Volume

Length = Annotated[int, Field(gt=0)]
Edge = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _numbers(value: object) -> object:
    """`"64,64,64"`, as a command line has it."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _three(value: object) -> object:
    """One edge for all three axes."""
    return [value] * 3 if isinstance(value, int | float) else value


class Raw(Strict):
    """How to read a file without a header.

    Attributes:
        shape: Voxels along (Z, Y, X), or (Y, X); a text "Z,Y,X" will do.
        dtype: Of a voxel.
        byte_order: "little", as nearly every scanner and computer writes, or "big".
        offset: Bytes before the first voxel.
        voxel_um: Edge of the voxels in µm, one number or (Z, Y, X), where it is known.
    """

    shape: Annotated[tuple[Length, ...], BeforeValidator(_numbers), Field(min_length=2, max_length=3)]
    dtype: Literal[
        "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"
    ]
    byte_order: Literal["little", "big"] = "little"
    offset: Annotated[int, Field(ge=0)] = 0
    voxel_um: Annotated[tuple[Edge, Edge, Edge] | None, BeforeValidator(_three)] = None

    @property
    def stored(self) -> np.dtype[Any]:
        """Of a voxel, with its byte order."""
        return np.dtype(self.dtype).newbyteorder("<" if self.byte_order == "little" else ">")


def layout(path: Path, given: Raw | Mapping[str, object] | None) -> Raw | None:
    """What the caller gave, else what the page beside the file says, else None.

    Raises:
        InputError: One line that names the page or the argument, and the key.
    """
    if given is not None:
        return validate(dict(given) if isinstance(given, Mapping) else given, Raw, f"{path}: raw")
    page = sidecar(path)
    return None if page is None else read_toml(page, Raw)


def open_raw(path: Path, raw: Raw) -> Volume:
    """The voxels of `path` as `raw` describes them.

    Raises:
        InputError: The file is not of the size that this makes.
    """
    shape = (1, *raw.shape)[-3:]
    need, there = raw.offset + math.prod(shape) * raw.stored.itemsize, path.stat().st_size
    if need != there:
        raise InputError(
            f"{path}: {there} bytes, but shape {shape} of {raw.dtype} after {raw.offset} bytes makes {need}: "
            "correct shape, dtype or offset"
        )
    return Volume(Mapped(path, raw.stored, raw.offset, shape), raw.voxel_um, str(path))
