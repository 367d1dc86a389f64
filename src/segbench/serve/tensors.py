"""Tensors of the protocol: names of datatypes, shapes, and images out of what came over either wire."""

from collections.abc import Sequence
from math import prod

import numpy as np

from segbench.serve.refusal import Refusal
from segbench.serve.request import IMAGE, Array
from segbench.serve.settings import MIB
from segbench.volume import Float32

DTYPES: dict[str, np.dtype[np.generic]] = {
    "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
}  # fmt: skip
"""What grey values may come as; of the protocol's others, BOOL and BYTES are no images."""
DATATYPES = {dtype: name for name, dtype in DTYPES.items()}
EDGE = 2**31 - 1
"""Largest extent of an axis."""


def dtype_of(datatype: object) -> "np.dtype[np.generic]":
    """The NumPy type of an input's datatype, little-endian.

    Raises:
        Refusal: "invalid", for what is no image or no datatype at all.
    """
    if isinstance(datatype, str) and datatype in DTYPES:
        return DTYPES[datatype]
    if datatype in ("BOOL", "BYTES", "BF16"):
        raise Refusal("invalid", f"input {IMAGE!r}: {datatype} holds no grey values; send FP32")
    raise Refusal("invalid", f"input {IMAGE!r}: the datatype is not one of {', '.join(DTYPES)}")


def datatype_of(array: Array) -> str:
    """How the protocol names an output's type."""
    return DATATYPES[array.dtype.newbyteorder("<")]


def checked_shape(shape: Sequence[object]) -> tuple[int, ...]:
    """The shape of an input: [N, 1, Z, Y, X], or [N, 1, Y, X] in 2-D, every extent at least 1.

    Raises:
        Refusal: "invalid".
    """
    extents = tuple(extent for extent in shape if type(extent) is int and 0 < extent <= EDGE)
    if len(extents) != len(shape) or len(extents) not in (4, 5):
        raise Refusal("invalid", f"input {IMAGE!r}: the shape must be [N, 1, Z, Y, X] or [N, 1, Y, X], each at least 1")
    if extents[1] != 1:
        raise Refusal("invalid", f"input {IMAGE!r}: it has {extents[1]} channels, and must have 1: [N, 1, Z, Y, X]")
    return extents


def check_size(shape: Sequence[int], most_mib: int) -> None:
    """Whether an image is within the limit as FP32, before small integers are made that.

    Raises:
        Refusal: "too large".
    """
    if prod(shape) * 4 > most_mib * MIB:
        raise Refusal("too large", f"the image is more than {most_mib} MiB as FP32: send parts of it")


def check_bytes(shape: Sequence[int], dtype: "np.dtype[np.generic]", there: int) -> None:
    """Whether `there` bytes are such a tensor; Python's integers do not overflow.

    Raises:
        Refusal: "invalid".
    """
    needed = prod(shape) * dtype.itemsize
    if there != needed:
        raise Refusal("invalid", f"input {IMAGE!r}: {there} bytes came, its shape and datatype make {needed}")


def images_of(array: Array) -> tuple[Float32, bool]:
    """Grey values (N, Z, Y, X) of a tensor of a checked shape, and whether it was flat; no copy of aligned FP32.

    What FP32 cannot hold exactly (FP64, integers above 2^24) is rounded to the nearest.

    Raises:
        Refusal: "invalid", for a value beyond FP32.
    """
    try:
        with np.errstate(over="raise", invalid="ignore"):
            values = np.require(array, np.float32, ["C", "A"])
    except FloatingPointError as error:
        raise Refusal("invalid", f"input {IMAGE!r}: a value is beyond the range of FP32") from error
    flat = values.ndim == 4
    return (values if flat else values[:, 0]), flat
