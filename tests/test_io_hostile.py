"""Whatever is in a file, in a folder or in a name: a volume, or one line that names the place."""

import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scans import FORMATS, VOXEL_UM, picture, stack, write

from segbench.errors import InputError
from segbench.io import chunked, files_of, open_volume
from segbench.io.kinds import KINDS
from segbench.io.location import locate
from segbench.io.png import read_png
from segbench.io.units import micrometres


def refused(path, *words, read=open_volume):
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable()
    for word in words:
        assert word in message, message
    return message


def reading(path):
    return np.asarray(open_volume(path).data)


# libhdf5 can fall into an endless loop in a file with changed bytes, in its C code: see docs/formats.md.
@pytest.mark.parametrize("name", [name for name in FORMATS if not name.endswith((".h5", ".nxs"))])
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_changed_bytes_give_a_volume_or_a_line(tmp_path, capfd, name, data):
    if not any(tmp_path.iterdir()):
        write(tmp_path, name, picture((3, 9, 8)))
    what = {"flat.h5": "flat.h5::scan", "pattern": "pattern/*.tif", "ome-level.zarr": "ome-level.zarr::0"}.get(
        name, name
    )
    what = f"{tmp_path}/{'ome-inside.zarr/0' if name == 'ome-inside.zarr' else what}"
    files = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    names = [str(file.relative_to(tmp_path)) for file in files]
    file = files[names.index(data.draw(st.sampled_from(names)))]
    whole = file.read_bytes()
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(raw))))
    file.write_bytes(raw[:cut])
    try:
        volume = open_volume(what)
        read = np.asarray(volume.data) if np.prod(volume.shape) < 1e6 else volume.data[0, 0, 0]
        assert np.shape(read) in ((), volume.shape)
        said = str(tmp_path)
    except InputError as error:
        said = str(error)
    finally:
        file.write_bytes(whole)
    assert said.isprintable()
    assert str(tmp_path) in said
    assert len(said) < 1000
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "suffix", sorted({suffix for kind in KINDS.values() for suffix in kind.suffixes} | {".raw", ""})
)
def test_what_no_file_of_any_name_may_be(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"scan{suffix}"
    refused(path, str(path), "no such file")
    path.write_bytes(b"")
    refused(path, str(path), "empty file")
    path.unlink()
    path.symlink_to(path)
    refused(path, str(path), "cannot be read")
    path.unlink()
    path.mkdir()
    refused(path, str(path), "no TIFF slices")
    path.rmdir()
    path.write_bytes(b"?" * 500)
    refused(path, str(path))
    monkeypatch.setattr(Path, "open", denied)
    refused(path, str(path), "Permission denied")


def denied(*args, **kwargs):
    raise PermissionError(13, "Permission denied")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, picture())
    path.chmod(0)
    refused(path, "check its permissions")


@pytest.mark.parametrize("name", ["plain.tif", "big-endian.tif", "a.npy", "a.h5", "a.nrrd", "a.mha"])
def test_what_a_file_holds_says_more_than_its_name(tmp_path, name):
    path = Path(write(tmp_path, name, picture()))
    for other in ("a.tif", "a.nii", "a.npy", "a.dat", "scan"):
        path = path.rename(tmp_path / other)
        np.testing.assert_array_equal(reading(path), picture())


@pytest.mark.parametrize(
    "name", [name for name in FORMATS if ".zarr" not in name and not name.endswith((".h5", ".nxs"))]
)
def test_an_array_inside_is_only_in_what_has_arrays_inside(tmp_path, name):
    refused(f"{write(tmp_path, name, picture())}::scan", "leave it out")


def opened(folder):
    """Files below `folder` that this process holds open."""
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return [link.readlink() for link in links if link.is_symlink() and str(folder) in str(link.readlink())]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list open files")
@pytest.mark.parametrize("name", FORMATS)
def test_no_file_stays_open(tmp_path, name):
    volume = open_volume(write(tmp_path, name, picture()))
    assert not opened(tmp_path)
    volume.data[0]
    assert not opened(tmp_path)
    with (tmp_path / "seen").open("wb"):
        assert opened(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([1, 3], ["slice 2 is missing", "img_0003.tif follows img_0001.tif"]),
        ([1, 2, 4], ["slice 3 is missing"]),
        ([1, 3, 4], ["slice 2 is missing"]),
        ([1, 2, 3, 40], ["slice 4, 5, 6, 7, 8, ... is missing"]),
        ([0, 10, 20, 40, 50], ["slice 30 is missing"]),
        ([0, 10, 20, 35, 45], ["missing or double", "the step is 10"]),
        ([1, 2, 3], []),
        ([7, 8], []),
        ([0, 5, 10], []),
        ([9], []),
    ],
)
def test_a_missing_slice_is_named(tmp_path, numbers, words):
    for number in numbers:
        tifffile.imwrite(tmp_path / f"img_{number:04}.tif", picture((6, 7)), photometric="minisblack")
    if words:
        refused(tmp_path, str(tmp_path), *words)
        refused(tmp_path / "*.tif", *words)
    else:
        assert open_volume(tmp_path).shape == (len(numbers), 6, 7)


def test_the_first_slice_that_differs_is_named(tmp_path):
    odd = {"shape": picture((6, 8)), "type": picture((6, 7), np.float32), "deep": picture((2, 6, 7)), "empty": None}
    for suffix in (".tif", ".png"):
        for name, plane in odd.items():
            if suffix == ".png" and name in ("type", "deep"):
                continue
            folder = stack(tmp_path / f"{name}{suffix}", picture((4, 6, 7)), suffix)
            for z in (2, 3):
                path = folder / f"slice_{z:03}{suffix}"
                if plane is None:
                    path.write_bytes(b"")
                elif suffix == ".png":
                    Image.fromarray(plane).save(path)
                else:
                    tifffile.imwrite(path, plane, photometric="minisblack")
            words = {"shape": "6 x 8 pixels", "type": "float32", "deep": "holds 2 slices", "empty": "empty file"}
            refused(folder, f"slice_002{suffix}: ", words[name])


def test_folders_that_are_no_stack(tmp_path):
    refused(tmp_path, "no TIFF slices")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path, "no TIFF slices")
    refused(tmp_path / "again" / "again", "no TIFF slices")
    refused(tmp_path / "**" / "*.tif", "no file matches")
    tifffile.imwrite(tmp_path / "a0.tif", picture((6, 7)), photometric="minisblack")
    assert open_volume(tmp_path / "again").shape == (1, 6, 7)
    (tmp_path / "a1.tif").symlink_to(tmp_path / "a1.tif")
    refused(tmp_path, "a1.tif", "cannot be read")
    (tmp_path / "a1.tif").unlink()
    (tmp_path / "a1.tif").mkdir()
    refused(tmp_path, "a1.tif")
    (tmp_path / "a1.tif").rmdir()
    os.mkfifo(tmp_path / "a1.tif")
    refused(tmp_path, "a1.tif", "neither a file nor a folder")


def test_a_stack_of_png_is_decoded_where_it_is_read(tmp_path, monkeypatch):
    array, read = picture((6, 9, 8)), []
    stack(tmp_path / "s", array, ".png")
    monkeypatch.setattr(
        "segbench.io.png.read_png", lambda path, labels: read.append(path.name) or read_png(path, labels=labels)
    )
    volume = open_volume(tmp_path / "s")
    assert not read
    np.testing.assert_array_equal(volume.data[3:5, 2], array[3:5, 2])
    assert read == ["slice_003.png", "slice_004.png"]
    Image.fromarray(picture((9, 8, 3), np.uint8)).save(tmp_path / "s" / "slice_005.png")
    refused(tmp_path / "s", "slice_005.png: uint8, but")
    whole = (tmp_path / "s" / "slice_001.png").read_bytes()
    Image.fromarray(array[5]).save(tmp_path / "s" / "slice_005.png")
    (tmp_path / "s" / "slice_001.png").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "s", "slice_001.png", "damaged", read=reading)


def strips(path, monkeypatch):
    """The segments of a TIFF that are decoded, as (page, first row)."""
    volume, seen = open_volume(path), []
    original = volume.data.decode
    volume.data.decode = lambda index: seen.append(index[:2]) or original(index)
    return volume, seen


def test_of_a_compressed_tiff_only_the_strips_are_decoded_that_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(chunked, "BLOCK_BYTES", 2 * 4 * 17 * 2)  # two strips
    array = picture((5, 30, 17))
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", compression="zlib", rowsperstrip=4)
    volume, seen = strips(tmp_path / "a.tif", monkeypatch)
    np.testing.assert_array_equal(volume.data[1:3, 9:12, 3], array[1:3, 9:12, 3])
    assert seen == [(1, 1), (2, 1)]
    np.testing.assert_array_equal(volume.data[:, 27:], array[:, 27:])
    assert seen[2:] == [(z, 3) for z in range(5)]


@pytest.mark.parametrize("name", ["stack-deflate", "stack-mixed", "stack-uneven"])
def test_slices_that_are_cut_differently_are_one_stack(tmp_path, monkeypatch, name):
    monkeypatch.setattr(chunked, "BLOCK_BYTES", 1)  # each strip alone
    array = picture((5, 30, 17))
    volume = open_volume(write(tmp_path, name, array))
    np.testing.assert_array_equal(np.asarray(volume.data), array)
    np.testing.assert_array_equal(volume.data[1:4, 7:23, ::5], array[1:4, 7:23, ::5])


def test_a_compressed_tiff_that_shrinks_after_it_was_opened_is_a_line(tmp_path):
    path = Path(write(tmp_path, "deflate.tif", picture()))
    volume = open_volume(path)
    with path.open("r+b") as file:
        file.truncate(20)
    refused(path, "page 3 is damaged", "the file ends in it", read=lambda _: volume.data[3])
    path.unlink()
    refused(path, "page 4 is damaged", read=lambda _: volume.data[4])


def packed_tiff(height, rows, bodies, width=17):
    """One page of deflated strips of `rows` rows, given as bytes."""
    offsets, at = [], 8
    for body in bodies:
        offsets.append(at)
        at += len(body)
    lists = struct.pack(f"<{len(bodies)}I", *offsets) + struct.pack(f"<{len(bodies)}I", *map(len, bodies))
    where = (at, at + 4 * len(bodies)) if len(bodies) > 1 else (offsets[0], len(bodies[0]))
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    tags += [(273, 4, len(bodies), where[0]), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, len(bodies), where[1])]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    body = b"".join(bodies) + lists
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + table


def test_strips_that_are_not_what_they_should_be(tmp_path):
    path = tmp_path / "a.tif"
    strip = zlib.compress(bytes(4 * 17))
    path.write_bytes(packed_tiff(8, 4, [strip, strip]))
    assert open_volume(path).shape == (1, 8, 17)
    assert not reading(path).any()
    for number in (1, 3):
        path.write_bytes(packed_tiff(8, 4, [strip] * number))
        refused(path, str(path), read=reading)
    path.write_bytes(packed_tiff(8, 4, [strip, zlib.compress(bytes(50))]))
    refused(path, "page 0 is damaged", read=reading)
    path.write_bytes(packed_tiff(8, 4, [strip, np.random.default_rng(0).bytes(10**5)]))
    refused(path, "page 0 has strips or tiles of 68 bytes, stored in 1e+05")


def test_pages_that_are_cut_differently_are_no_volume(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for plane, rows in zip(picture((2, 30, 17)), (4, 7), strict=True):
            writer.write(plane, photometric="minisblack", compression="zlib", metadata=None, rowsperstrip=rows)
    refused(tmp_path / "a.tif", "2 images that differ in shape or storage")


def test_a_compression_that_no_library_here_knows(tmp_path, monkeypatch):
    write(tmp_path, "lzw.tif", picture())
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", {})
    refused(tmp_path / "lzw.tif", "LZW", "pip install 'segbench[formats]'")


@pytest.mark.parametrize(
    ("text", "root", "inner", "remote"),
    [
        ("a.h5::/entry/data", "a.h5", "entry/data", False),
        ("a.zarr::0", "a.zarr", "0", False),
        ("a.zarr::/", "a.zarr", "", False),
        ("a.h5", "a.h5", "", False),
        ("::0", "::0", "", False),
        ("C:/a.tif", "C:/a.tif", "", False),
        ("http://host:80/a.zarr", "http://host:80/a.zarr", "", True),
        ("HTTPS://host/a.zarr::a/0", "https://host/a.zarr", "a/0", True),
        (Path("http://host/a.zarr"), "http://host/a.zarr", "", True),
        ("s3://bucket/a.zarr::0", "s3://bucket/a.zarr", "0", True),
    ],
)
def test_what_a_user_writes_is_a_place_and_perhaps_an_array_in_it(text, root, inner, remote):
    place = locate(text)
    assert (place.root, place.inner, place.remote) == (root, inner, remote)


def test_a_file_may_have_colons_in_its_name(tmp_path, monkeypatch):
    np.save(tmp_path / "a::b.npy", picture())
    np.testing.assert_array_equal(reading(tmp_path / "a::b.npy"), picture())
    refused("\0", "cannot be read")
    refused("a\0b::c", "cannot be read")
    monkeypatch.chdir(tmp_path)
    assert files_of("a::b.npy") == [Path("a::b.npy")]


def test_units_are_lengths_and_sizes_positive():
    assert micrometres([1, 2, 3], ["mm", b"um", " nm "]) == (1000, 2, 0.003)
    for sizes in ([1, 2], [1, 2, 0], [1, 2, -3], [1, 2, "x"], [1, 2, float("inf")], [1, 2, None]):
        assert micrometres(sizes, ["um"] * 3) is None
    assert micrometres([1, 2, 3], ["um", "um", "s"]) is None


def test_an_ome_tiff_of_one_channel_and_time_is_a_volume(tmp_path):
    array, path = picture(), tmp_path / "a.ome.tif"
    sizes = {f"PhysicalSize{axis}": edge for axis, edge in zip("ZYX", VOXEL_UM, strict=True)}
    tifffile.imwrite(
        path, array[None, :, None], ome=True, photometric="minisblack", metadata={"axes": "TZCYX", **sizes}
    )
    assert open_volume(path).voxel_um == VOXEL_UM
    np.testing.assert_array_equal(reading(path), array)
    tifffile.imwrite(path, np.stack([array, array]), ome=True, photometric="minisblack", metadata={"axes": "CZYX"})
    refused(path, "axes CZYX", "save one channel at one time")
    for unit, factor in (("Å", 1e-4), ("cm", 1e4), ("pixel", None)):
        units = {f"PhysicalSize{axis}Unit": unit for axis in "ZYX"}
        tifffile.imwrite(path, array, ome=True, photometric="minisblack", metadata={"axes": "ZYX", **sizes, **units})
        assert open_volume(path).voxel_um == (None if factor is None else pytest.approx([factor * e for e in VOXEL_UM]))


def test_nothing_of_an_optional_library_is_needed_for_what_the_base_reads(tmp_path):
    """A base install reads TIFF, NumPy, PNG and RAW, and importing the package imports none of them."""
    names = ["plain.tif", "deflate.tif", "stack", "stack-png", "a.npy", "a.npz", "a.raw", "a.mha", "packed.mha"]
    paths = [write(tmp_path, name, picture()) for name in names]
    hidden = ("h5py", "hdf5plugin", "zarr", "fsspec", "aiohttp", "nibabel", "nrrd", "imagecodecs", "dask")
    code = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in hidden)
    code += f"import segbench\nfor path in {paths!r}: print(segbench.open_volume(path).data[:].sum())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == [str(picture().sum())] * len(names)


def test_the_page_of_formats_names_every_suffix():
    page = (Path(__file__).parent.parent / "docs" / "formats.md").read_text()
    for kind in KINDS.values():
        for suffix in kind.suffixes:
            assert re.search(rf"{re.escape(suffix)}\b", page), suffix


def test_tiles_without_voxels_are_one_line(tmp_path):
    """Tiles of no width are none to tifffile, which then reads strips; those of no length are."""
    path = tmp_path / "tiles.tif"
    tifffile.imwrite(path, np.zeros((32, 32), np.uint8), tile=(16, 16))
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags["TileLength"].valueoffset
    raw = bytearray(path.read_bytes())
    raw[at : at + 2] = b"\0\0"
    path.write_bytes(raw)
    refused(path, str(path), "its tiles hold no voxels")
