"""Arrays that are already in Python as volumes: NumPy, dask, zarr and HDF5, each read only where it is indexed."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from segbench.errors import InputError
from segbench.io.lazy import Array, Direct, Slices
from segbench.io.opening import Edges, checked, edges
from segbench.volume import Volume


def as_volume(
    array: Any,  # noqa: ANN401
    voxel_um: Edges | None = None,
    source: str = "array",
    *,
    allow_missing_chunks: bool = False,
) -> Volume:
    """An array (Z, Y, X), or (Y, X) as one slice, as a volume; a volume is given back.

    Args:
        array: A NumPy, dask or zarr array, an h5py dataset, or a volume. None of the libraries is imported unless an
            array of its kind is given.
        voxel_um: Edge of the voxels in µm, one number or (Z, Y, X).
        source: What messages call it.
        allow_missing_chunks: Whether chunks that a zarr array lacks are read as its fill value.

    Raises:
        InputError: Another kind of object, other axes, or voxels that are no real numbers.
    """
    if isinstance(array, Volume):
        volume = array
    elif isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{source}: a masked array hides voxels: give its data, filled")
    elif isinstance(array, np.ndarray):
        _axes(array.shape, source)
        volume = Volume(array[np.newaxis] if array.ndim == 2 else array, None, source)
    else:
        volume = _foreign(array, source, allow_missing=allow_missing_chunks)
    if voxel_um is not None:
        volume = Volume(volume.data, edges(voxel_um, source), volume.source)
    return checked(volume)


def _foreign(array: Any, source: str, *, allow_missing: bool) -> Volume:  # noqa: ANN401
    library = type(array).__module__.split(".")[0]
    if library == "zarr" and hasattr(array, "metadata") and hasattr(array, "chunks"):
        from segbench.io.zarr_array import lazy_zarr, watched

        opener = partial(watched, array, allow_missing)
        return Volume(lazy_zarr(opener(), opener, source), None, source)
    if library not in ("dask", "h5py") or not all(hasattr(array, name) for name in ("shape", "dtype", "ndim")):
        kind = f"{type(array).__module__}.{type(array).__qualname__}"
        raise InputError(f"{source}: a {kind} is no volume: give a NumPy, dask or zarr array, or a path")
    _axes(array.shape, source)
    shape = (1, *array.shape) if array.ndim == 2 else array.shape
    return Volume(Direct(shape, np.dtype(array.dtype), partial(_part, array)), None, source)


def _part(array: Any, box: Slices) -> Array:  # noqa: ANN401
    """Of dask, indexing is a plan and NumPy carries it out."""
    if array.ndim == 3:
        return np.asarray(array[box])
    return np.asarray(array[box[1:]])[np.newaxis]


def _axes(shape: Sequence[float], source: str) -> None:
    # dask does not always know a length: it is NaN then
    if len(shape) not in (2, 3) or not all(length >= 1 for length in shape):
        raise InputError(f"{source}: shape {tuple(shape)} is no volume: give an array (Z, Y, X) or (Y, X)")
