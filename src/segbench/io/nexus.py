"""Voxel size of an HDF5 dataset, where one of two conventions gives it.

- `element_size_um`: an attribute of the dataset with three edges in µm along (Z, Y, X), as Fiji's HDF5 plug-ins write.
- NXdata: the attribute `axes` of the group names three coordinate arrays with units; even steps are the edges.
"""

from typing import Any

import numpy as np

from segbench.io.units import VoxelUm, micrometres


def voxel_um(dataset: Any) -> VoxelUm | None:  # noqa: ANN401
    """Edges in µm; None where the file does not give all three with a unit."""
    try:
        edges = dataset.attrs.get("element_size_um")
        if edges is not None:
            return micrometres([float(edge) for edge in np.ravel(edges)], ["um"] * 3)
        return _nxdata(dataset)
    except Exception:  # what describes the voxels may be as strange as it likes: the size is then unknown
        return None


def _nxdata(dataset: Any) -> VoxelUm | None:  # noqa: ANN401
    group = dataset.parent
    axes = [_text(name) for name in np.ravel(group.attrs["axes"])]
    if len(axes) != 3 or len(dataset.shape) != 3:
        return None
    steps, units = [], []
    for name, length in zip(axes, dataset.shape, strict=True):
        places = group[name]
        if places.shape != (length,) or length < 2:
            return None
        at = places[()].astype(np.float64)
        step = (at[-1] - at[0]) / (length - 1)
        if not np.allclose(np.diff(at), step, rtol=1e-3):
            return None
        steps.append(abs(float(step)))
        units.append(_text(places.attrs["units"]))
    return micrometres(steps, units)


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
