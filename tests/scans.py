"""The same volume in every format that segbench reads, for the tests of `io`."""

import gzip
import struct
import zlib
from pathlib import Path

import h5py
import nibabel
import nrrd
import numpy as np
import tifffile
import tomli_w
import zarr
from PIL import Image

# Voxel edges in µm along (Z, Y, X), all different and exact in binary.
VOXEL_UM = (2.0, 0.5, 0.25)
UNIT = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]


def picture(shape=(5, 12, 17), dtype=np.uint16, seed=0):
    return np.random.default_rng(seed).uniform(0, 120, shape).astype(dtype)


def stack(path: Path, array, suffix=".tif", **options):
    path.mkdir()
    for z, plane in enumerate(array):
        if suffix == ".png":
            Image.fromarray(plane).save(path / f"slice_{z:03}.png")
        else:
            tifffile.imwrite(path / f"slice_{z:03}.tif", plane, photometric="minisblack", **options)
    return path


def ome_zarr(path: Path, array, version="0.5", chunks=(2, 8, 8), extra=0, unit="micrometer", scale=VOXEL_UM):
    """An image with two levels; `extra` axes of length 1 before space, as in (t, c, z, y, x)."""
    names = [{"name": n, "type": t} for n, t in (("t", "time"), ("c", "channel"))][2 - extra :]
    axes = names + [dict(axis, unit=unit) if unit else {"name": axis["name"], "type": "space"} for axis in UNIT]
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for level in range(2):
        part = array[:: 2**level, :: 2**level, :: 2**level].reshape(
            (1,) * extra + array[:: 2**level, :: 2**level, :: 2**level].shape
        )
        group.create_array(f"{level}", data=part, chunks=(1,) * extra + chunks, config={"write_empty_chunks": True})
        sizes = [1.0] * extra + [edge * 2**level for edge in scale]
        datasets.append({"path": f"{level}", "coordinateTransformations": [{"type": "scale", "scale": sizes}]})
    described = [{"name": "scan", "axes": axes, "datasets": datasets, "version": version}]
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": described}
    else:
        group.attrs["multiscales"] = described
    return path


def metaimage(path: Path, array, *, packed=False, spacing=None, big=False, data="LOCAL", **fields):
    kinds = {"u1": "MET_UCHAR", "u2": "MET_USHORT", "i2": "MET_SHORT", "f4": "MET_FLOAT", "f8": "MET_DOUBLE"}
    voxels = array.astype(array.dtype.newbyteorder(">" if big else "<")).tobytes()
    voxels = zlib.compress(voxels) if packed else voxels
    header = {
        "ObjectType": "Image", "NDims": array.ndim, "BinaryData": True, "BinaryDataByteOrderMSB": big,
        "CompressedData": packed, "DimSize": " ".join(str(n) for n in array.shape[::-1]),
        "ElementType": kinds[array.dtype.str[1:]],
    }  # fmt: skip
    if spacing is not None:
        header["ElementSpacing"] = " ".join(str(edge) for edge in spacing[::-1])
    header |= {"ElementDataFile": fields.pop("ElementDataFile", data)} | fields
    header["ElementDataFile"] = header.pop("ElementDataFile")  # the last line, whatever was given
    text = "".join(f"{key} = {value}\n" for key, value in header.items()).encode()
    if data == "LOCAL":
        path.write_bytes(text + voxels)
    else:
        path.write_bytes(text)
        (path.parent / data).write_bytes(voxels)
    return path


def nifti(path: Path, array, unit="micron", slope=None):
    image = nibabel.Nifti1Image(array.T, np.diag([*VOXEL_UM[::-1], 1]), dtype=array.dtype)
    image.header.set_zooms(VOXEL_UM[::-1])
    image.header.set_xyzt_units(unit)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    image.to_filename(path)
    return path


def write(folder: Path, name: str, array) -> str:  # noqa: PLR0912 - one case a format
    """Writes `array` in the format `name`, with `VOXEL_UM` where it can; returns what to open."""
    nm = {"axes": "ZYX", "PhysicalSizeZ": 2000, "PhysicalSizeY": 500, "PhysicalSizeX": 250}
    nm |= {f"PhysicalSize{axis}Unit": "nm" for axis in "ZYX"}
    path = folder / name
    grey = {"photometric": "minisblack"}
    mm = [edge / 1000 for edge in VOXEL_UM[::-1]]
    match name:
        case "plain.tif":
            tifffile.imwrite(path, array, **grey)
        case "big-endian.tif":
            tifffile.imwrite(path, array, byteorder=">", bigtiff=True, **grey)
        case "deflate.tif":
            tifffile.imwrite(path, array, compression="zlib", predictor=True, rowsperstrip=4, **grey)
        case "lzw.tif":
            tifffile.imwrite(path, array, compression="lzw", **grey)
        case "tiles.tif":
            tifffile.imwrite(path, array, compression="zstd", tile=(16, 16), **grey)
        case "ome.tif":
            tifffile.imwrite(path, array, ome=True, metadata=nm, compression="zlib", **grey)
        case "imagej.tif":
            tifffile.imwrite(
                path, array, imagej=True, resolution=(4, 2), metadata={"axes": "ZYX", "spacing": 2, "unit": "um"}
            )
        case "stack":
            stack(path, array)
        case "stack-deflate":
            stack(path, array, compression="zlib", rowsperstrip=4)
        case "stack-mixed":
            stack(path, array, compression="zlib", rowsperstrip=4)
            tifffile.imwrite(path / "slice_001.tif", array[1], **grey)
            tifffile.imwrite(path / "slice_002.tif", array[2], compression="zlib", **grey)
        case "stack-uneven":
            stack(path, array, compression="zlib", rowsperstrip=4)
            tifffile.imwrite(path / "slice_002.tif", array[2], compression="zlib", rowsperstrip=5, **grey)
        case "pattern":
            return str(stack(path, array) / "slice_*.tif")
        case "stack-png":
            stack(path, array, ".png")
        case "a.npy":
            np.save(path, array)
        case "fortran.npy":
            np.save(path, np.asfortranarray(array))
        case "a.npz":
            np.savez_compressed(path, array)
        case "a.raw":
            path.write_bytes(b"\0" * 7 + array.astype(array.dtype.newbyteorder(">")).tobytes())
            page = {"shape": array.shape, "dtype": str(array.dtype), "byte_order": "big", "offset": 7}
            (folder / "a.raw.toml").write_text(tomli_w.dumps(page | {"voxel_um": VOXEL_UM}))
        case "a.h5":
            with h5py.File(path, "w") as file:
                data = file.create_dataset(
                    "scan", data=array, chunks=(min(2, len(array)), 5, 6), compression="gzip", shuffle=True
                )
                data.attrs["element_size_um"] = VOXEL_UM
        case "flat.h5":
            with h5py.File(path, "w") as file:
                file["scan"] = array.astype(array.dtype.newbyteorder(">"))
                file["scan"].attrs["element_size_um"] = VOXEL_UM
            return f"{path}::scan"
        case "scan.nxs":
            with h5py.File(path, "w") as file:
                group = file.create_group("entry/data")
                group.attrs.update({"NX_class": "NXdata", "signal": "data", "axes": ["z", "y", "x"]})
                group["data"] = array
                for axis, edge, length in zip("zyx", VOXEL_UM, array.shape, strict=True):
                    group[axis] = 3 + 1000 * edge * np.arange(length)
                    group[axis].attrs["units"] = "nm"
            return f"{path}::/entry/data/data"
        case "ome-0.4.zarr" | "ome-0.5.zarr":
            ome_zarr(path, array, version=name[4:7])
        case "ome-5d.zarr":
            ome_zarr(path, array, version="0.4", extra=2)
        case "ome-level.zarr":
            return f"{ome_zarr(path, array)}::0"
        case "ome-inside.zarr":
            return str(ome_zarr(path, array) / "0")
        case "plain-2.zarr" | "plain-3.zarr":
            zarr.create_array(path, data=array, chunks=(2, 8, 8), zarr_format=int(name[6]))
        case "sharded.zarr":
            group = zarr.open_group(path, mode="w")
            group.create_array("a/scan", data=array, chunks=(2, 4, 4), shards=(4, 8, 8))
        case "a.nrrd" | "gzip.nrrd":
            header = {"space directions": np.diag(mm), "space units": ["mm"] * 3, "space dimension": 3}
            header["encoding"] = "raw" if name == "a.nrrd" else "gzip"
            nrrd.write(str(path), array.T, header, index_order="F")
        case "detached.nhdr":
            nrrd.write(
                str(path),
                array.T,
                {"spacings": VOXEL_UM[::-1], "units": ["um"] * 3, "encoding": "raw"},
                detached_header=True,
            )
        case "a.mha":
            metaimage(path, array, spacing=mm[::-1])
        case "packed.mha":
            metaimage(path, array, spacing=mm[::-1], packed=True)
        case "a.mhd":
            metaimage(path, array, spacing=mm[::-1], big=True, data="a.img")
        case "a.nii" | "a.nii.gz":
            nifti(path, array)
        case _:
            raise AssertionError(name)
    return str(path)


# What each can say of the voxel size: all, or nothing.
SIZED = (
    "ome.tif", "imagej.tif", "a.raw", "a.h5", "flat.h5", "scan.nxs", "ome-0.4.zarr", "ome-0.5.zarr", "ome-5d.zarr",
    "ome-level.zarr", "ome-inside.zarr", "a.nrrd", "gzip.nrrd", "detached.nhdr", "a.mha", "packed.mha", "a.mhd",
    "a.nii", "a.nii.gz",
)  # fmt: skip
UNSIZED = (
    "plain.tif", "big-endian.tif", "deflate.tif", "lzw.tif", "tiles.tif", "stack", "stack-deflate", "stack-mixed",
    "stack-uneven", "pattern", "stack-png", "a.npy", "fortran.npy", "a.npz", "plain-2.zarr", "plain-3.zarr",
    "sharded.zarr",
)  # fmt: skip
FORMATS = SIZED + UNSIZED
# No ImageJ image has signed voxels, no PNG has them or floats.
CANNOT = {"imagej.tif": (np.int16,), "stack-png": (np.int16, np.float32)}


def bomb_gzip(size: int) -> bytes:
    """`size` zeros, some thousand times smaller."""
    return gzip.compress(bytes(size), 9)


def nifti_header(shape, *, datatype=2, bits=8, offset=352.0) -> bytes:
    """348 bytes of NIfTI-1 and the 4 that follow, of an image of `shape` (X, Y, Z)."""
    raw = bytearray(352)
    struct.pack_into("<i", raw, 0, 348)
    struct.pack_into("<8h", raw, 40, len(shape), *shape, *(1,) * (7 - len(shape)))
    struct.pack_into("<hh", raw, 70, datatype, bits)
    struct.pack_into("<8f", raw, 76, *(1.0,) * 8)
    struct.pack_into("<f", raw, 108, offset)
    raw[344:348] = b"n+1\0"
    return bytes(raw)
