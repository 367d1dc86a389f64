"""A lazy array over something that can give one plane at a time."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from segbench.io.chunked import Cache, Chunked, Index
from segbench.io.lazy import Array


class Planes(Chunked):
    """Reads the planes that an index asks for, and no others.

    Args:
        shape: Voxels along (Z, Y, X).
        dtype: Of the voxels.
        plane: Gives plane z, of shape (Y, X).
        cache_bytes: Decoded planes to keep; 0 for none, None for what `Cache` keeps.
        cache: To share one with other arrays.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        plane: Callable[[int], Array],
        cache_bytes: int | None = None,
        cache: Cache | None = None,
    ) -> None:
        block = (1, shape[1], shape[2])
        super().__init__(shape, dtype, block, partial(_block, plane), cache or Cache(cache_bytes))


def _block(plane: Callable[[int], Array], index: Index) -> Array:
    return plane(index[0])[np.newaxis]
