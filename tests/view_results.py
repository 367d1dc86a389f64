"""A RESULT.zarr as `segbench predict` writes it, made with zarr alone."""

import shutil
from pathlib import Path

import numpy as np
import zarr

CHANNELS = ("probability", "entropy", "mutual_information", "spread")


def halves(array: np.ndarray, reduce) -> np.ndarray:
    """The next level: `reduce` over pairs along each of the last three axes that is longer than 1."""
    for axis in range(array.ndim - 3, array.ndim):
        if array.shape[axis] > 1:
            even = array.shape[axis] + array.shape[axis] % 2
            pad = [(0, even - n if i == axis else 0) for i, n in enumerate(array.shape)]
            pairs = np.pad(array, pad, mode="edge")
            pairs = pairs.reshape(*array.shape[:axis], even // 2, 2, *array.shape[axis + 1 :])
            array = reduce(pairs, axis + 1)
    return array


def pyramid(array: np.ndarray, reduce, smallest: int) -> list[np.ndarray]:
    found = [array]
    while max(found[-1].shape[-3:]) > smallest:
        found.append(halves(found[-1], reduce).astype(array.dtype))
    return found


def multiscale(levels, axes, voxel_um):
    described = [{"name": name, "type": "channel" if name == "c" else "space"} for name in axes]
    for axis in described[-3:] if voxel_um else []:
        axis["unit"] = "micrometer"
    datasets = []
    for n, level in enumerate(levels):
        factor = [-(-a // b) for a, b in zip(levels[0].shape[-3:], level.shape[-3:], strict=True)]
        edges = [e * f for e, f in zip(voxel_um or (1.0, 1.0, 1.0), factor, strict=True)]
        scale = [1.0] * (len(axes) - 3) + edges
        datasets.append({"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    return {"version": "0.5", "multiscales": [{"axes": described, "datasets": datasets, "name": "image"}]}


def write_result(
    folder: Path,
    maps: np.ndarray,
    labels: np.ndarray,
    *,
    voxel_um=None,
    said=None,
    colours=(),
    smallest: int = 8,
    chunk: int = 16,
) -> Path:
    """Writes it.

    Args:
        folder: To write; replaced.
        maps: uint16 (4, Z, Y, X), in the order of `CHANNELS`, in 1/10000.
        labels: uint8 (Z, Y, X).
        voxel_um: Edges in µm (Z, Y, X), or None for unknown.
        said: The attribute "segbench"; None for no such attribute.
        colours: (label, (red, green, blue, opacity)) each.
        smallest: Longest edge of the coarsest level.
        chunk: Edge of chunks.
    """
    shutil.rmtree(folder, ignore_errors=True)
    root = zarr.create_group(folder, zarr_format=3)
    whole = {"write_empty_chunks": True}
    finest = pyramid(maps, lambda pairs, axis: np.rint(pairs.mean(axis)), smallest)
    for n, level in enumerate(finest):
        shape = (1, *(min(chunk, edge) for edge in level.shape[1:]))
        root.create_array(str(n), data=level, chunks=shape, config=whole)
    ome = multiscale(finest, "czyx", voxel_um) | {"omero": {"channels": [{"label": name} for name in CHANNELS]}}
    root.attrs.update({"ome": ome} | ({} if said is None else {"segbench": said}))
    below = root.create_group("labels")
    below.attrs["ome"] = {"version": "0.5", "labels": ["segmentation"]}
    image = below.create_group("segmentation")
    finest = pyramid(labels, lambda pairs, axis: pairs.max(axis), smallest)
    for n, level in enumerate(finest):
        shape = tuple(min(chunk, edge) for edge in level.shape)
        image.create_array(str(n), data=level, chunks=shape, config=whole)
    colors = [{"label-value": value, "rgba": list(rgba)} for value, rgba in colours]
    image.attrs["ome"] = multiscale(finest, "zyx", voxel_um) | {"image-label": {"version": "0.5", "colors": colors}}
    return folder
