"""HDF5 and NeXus: which dataset is meant, what was never written, what is broken."""

import os
import sys

import h5py
import hdf5plugin
import numpy as np
import pytest
from scans import VOXEL_UM, picture, write

from segbench.errors import InputError
from segbench.io import chunked, open_volume, read_labels
from segbench.io.chunked import Chunked
from segbench.io.lazy import Direct


def refused(path, *words, read=open_volume):
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable()
    for word in (str(path).split("::")[0], *words):
        assert word in message, message
    return message


def reading(path):
    return np.asarray(open_volume(path).data)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.h5"


def test_the_only_volume_is_taken_wherever_it_is(path):
    with h5py.File(path, "w") as file:
        file["entry/data/scan"] = picture()
        file["entry/angles"] = np.arange(9.0)
        file["entry/flat"] = np.zeros((3, 4))
        file["entry/name"] = "a scan"
    volume = open_volume(path)
    assert volume.source == f"{path}::/entry/data/scan"
    np.testing.assert_array_equal(np.asarray(volume.data), picture())
    for inner in ("/entry/data/scan", "entry/data/scan/", "entry/data", "/"):
        assert open_volume(f"{path}::{inner}").source == volume.source
    assert open_volume(f"{path}::entry/flat").shape == (1, 3, 4)


def test_several_are_listed_and_a_wrong_name_shows_the_right_ones(path):
    with h5py.File(path, "w") as file:
        file["raw"] = picture()
        file["entry/data"] = picture()
    refused(path, "2 datasets", "/entry/data (5, 12, 17) uint16", "/raw", f"choose one, such as {path}::/entry/data")
    refused(f"{path}::/entry/dta", "'/entry/dta'", "Did you mean '/entry/data'?", "/raw")
    with h5py.File(path, "a") as file:
        for n in range(20):
            file[f"more/{n:02}"] = picture((2, 3, 4))
    assert "..." in refused(path, "22 datasets")


def test_what_is_no_volume_is_refused(path):
    with h5py.File(path, "w") as file:
        file["line"] = np.zeros(4)
        file["four"] = np.zeros((2, 2, 2, 2))
        file["none"] = np.zeros((0, 4, 4))
        file["text"] = np.array([[b"a"]], dtype="S1")
        file["complex"] = np.zeros((2, 2, 2), complex)
        file["null"] = h5py.Empty("f4")
        file["type"] = np.dtype("f4")
        file["pair"] = np.zeros((2, 2, 2), [("r", "u1"), ("g", "u1")])
        file.create_dataset("words", data=np.full((2, 2), "a", object), dtype=h5py.string_dtype())
    said = {
        "line": "(4,)", "four": "(2, 2, 2, 2)", "none": "(0, 4, 4)", "text": "|S1", "complex": "complex128",
        "null": "no volume", "type": "a type", "pair": "cannot be used", "words": "object",
    }  # fmt: skip
    for name, word in said.items():
        refused(f"{path}::{name}", name, word)
    with h5py.File(path, "w") as file:
        file["line"] = np.zeros(4)
    refused(path, "no dataset of the axes (Z, Y, X)", "/line (4,) float64")


def test_bool_is_a_label(path):
    array = picture() > 60
    with h5py.File(path, "w") as file:
        file["label"] = array
    np.testing.assert_array_equal(np.asarray(read_labels(path).data), array)


FILTERS = (
    {}, {"compression": "gzip"}, {"compression": "lzf"}, {"fletcher32": True}, {"shuffle": True},
    hdf5plugin.Bitshuffle(), hdf5plugin.Zstd(), hdf5plugin.Blosc(),
)  # fmt: skip


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_filters_are_undone_by_chunks_and_the_rest_is_read_where_it_lies(path, filters):
    array = picture((20, 30, 40))
    with h5py.File(path, "w") as file:
        file.create_dataset("scan", data=array, chunks=(4, 8, 8) if filters != {} else None, **filters)
    volume = open_volume(path)
    assert isinstance(volume.data, Direct if filters == {} else Chunked)
    np.testing.assert_array_equal(np.asarray(volume.data), array)


def test_neighbours_are_decoded_together_and_kept(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("scan", data=picture((40, 64, 64)), chunks=(1, 64, 64), compression="gzip")
    monkeypatch.setattr(chunked, "BLOCK_BYTES", 8 * 64 * 64 * 2)
    volume = open_volume(path)
    assert volume.data.block == (8, 64, 64)
    seen, original = [], volume.data.decode
    volume.data.decode = lambda index: seen.append(index) or original(index)
    volume.data[9, 3, :]
    volume.data[8:16, :, 5]
    assert seen == [(1, 0, 0)]


def test_chunks_that_were_never_written_are_missing_unless_allowed(path):
    """HDF5 reads the fill value for them: half a scan of zeros, after a measurement that broke off."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("scan", (8, 16, 16), "u2", chunks=(1, 16, 16), fillvalue=3)
        data[:5] = picture((5, 16, 16))
        file.create_dataset("nothing", (8, 16, 16), "u2")
    refused(f"{path}::scan", "3 of 8 chunks are missing", "allow missing chunks")
    refused(f"{path}::nothing", "never written")
    volume = open_volume(f"{path}::scan", allow_missing_chunks=True)
    np.testing.assert_array_equal(volume.data[4], picture((5, 16, 16))[4])
    assert (volume.data[5:] == 3).all()
    assert open_volume(f"{path}::nothing", allow_missing_chunks=True).shape == (8, 16, 16)


def test_a_terabyte_that_is_only_declared_opens_without_memory(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("scan", (10**4,) * 3, "u1", chunks=(64, 64, 64), compression="gzip")
        file.create_dataset("chunk", (2**11,) * 3, "u1", chunks=(2**11, 2**10, 2**10), compression="gzip")
    refused(f"{path}::scan", "chunks are missing")
    volume = open_volume(f"{path}::scan", allow_missing_chunks=True)
    assert volume.shape == (10**4,) * 3
    assert volume.data[5000, 5000, 5000] == 0
    refused(f"{path}::chunk", "too large", read=lambda p: open_volume(p, allow_missing_chunks=True))


def test_a_volume_made_of_other_files_needs_them(path, tmp_path):
    for n in range(2):
        with h5py.File(tmp_path / f"{n}.h5", "w") as file:
            file["part"] = picture(seed=n)
    layout = h5py.VirtualLayout((10, 12, 17), "u2")
    for n in range(2):
        layout[5 * n : 5 * n + 5] = h5py.VirtualSource(f"{n}.h5", "part", (5, 12, 17))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("scan", layout, fillvalue=0)
        file["link"] = h5py.ExternalLink("1.h5", "part")
    np.testing.assert_array_equal(open_volume(f"{path}::scan").data[5:], picture(seed=1))
    np.testing.assert_array_equal(reading(f"{path}::link"), picture(seed=1))
    (tmp_path / "1.h5").unlink()
    with h5py.File(path, "a") as file:
        file["above"] = h5py.ExternalLink("0.h5", "/")
    assert open_volume(f"{path}::above").source == f"{path}::/above/part"
    np.testing.assert_array_equal(reading(f"{path}::above"), picture())
    refused(f"{path}::scan", "1.h5 is missing")
    refused(f"{path}::link", "'/link'", "/scan")


def test_links_in_a_circle_are_walked_once(path):
    with h5py.File(path, "w") as file:
        file["a/scan"] = picture()
        file["a/b/back"] = file["a"]
        file["soft"] = h5py.SoftLink("/a")
        file["self"] = h5py.SoftLink("/self")
    assert open_volume(path).shape == (5, 12, 17)
    refused(f"{path}::self", "too many links")


def test_voxel_size_needs_even_coordinates_with_units(path):
    array = picture()

    def nxdata(units="um", axes=("z", "y", "x"), **places):
        with h5py.File(path, "w") as file:
            file["data"] = array
            file.attrs["axes"] = list(axes)
            for axis, edge, length in zip("zyx", VOXEL_UM, array.shape, strict=True):
                file[axis] = places.get(axis, 5 - edge * np.arange(length))
                if units:
                    file[axis].attrs["units"] = units
        return open_volume(f"{path}::data").voxel_um

    assert nxdata() == pytest.approx(VOXEL_UM)
    assert nxdata("mm") == pytest.approx([1000 * edge for edge in VOXEL_UM])
    assert nxdata(None) is None
    assert nxdata("deg") is None
    assert nxdata(axes=("z", ".", "x")) is None
    assert nxdata(y=np.arange(12) ** 2.0) is None
    assert nxdata(y=np.zeros(12)) is None
    assert nxdata(y=np.arange(3)) is None
    for strange in ("text", [1.0, 2.0], [1.0, 2.0, -1.0], [1, np.nan, 1]):
        with h5py.File(path, "w") as file:
            file["data"] = array
            file["data"].attrs["element_size_um"] = strange
        assert open_volume(path).voxel_um is None


@pytest.mark.parametrize("keep", [4, 8, 60, 500, 0.3, 0.9, -1])
@pytest.mark.parametrize("name", ["a.h5", "flat.h5"])
def test_a_truncated_file_is_refused(tmp_path, name, keep):
    what = write(tmp_path, name, picture())
    path = tmp_path / name
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    refused(what, "not HDF5, or damaged")


def test_a_damaged_chunk_says_where(path):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("scan", data=picture((4, 300, 400)), chunks=(1, 300, 400), compression="gzip")
        offset = data.id.get_chunk_info(2).byte_offset
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 50] = b"\xff" * 50
    path.write_bytes(raw)
    volume = open_volume(path)
    volume.data[1]
    refused(path, "::/scan", "z 2 to 3", read=lambda _: volume.data[2])


def test_other_content_under_the_name_is_refused(path, tmp_path):
    path.write_text("this is no HDF5")
    refused(path, "not HDF5")
    np.save(tmp_path / "a.npy", picture())
    os.rename(tmp_path / "a.npy", path)  # noqa: PTH104
    np.testing.assert_array_equal(reading(path), picture())  # content decides
    refused(f"{path}::scan", "leave it out")


def test_names_in_a_file_cannot_speak_to_the_terminal(path):
    with h5py.File(path, "w") as file:
        file["\x1b[31mred\nline"] = picture()
        file["other"] = picture()
    refused(path, "[31mred line")
    refused(f"{path}::no", "[31mred line")
    assert open_volume(f"{path}::\x1b[31mred\nline").source.isprintable()


@pytest.mark.parametrize("library", ["h5py", "hdf5plugin"])
def test_without_a_library_the_line_says_what_to_type(path, monkeypatch, library):
    with h5py.File(path, "w") as file:
        file.create_dataset("scan", data=picture(), chunks=(5, 12, 17), **hdf5plugin.Zstd())
    monkeypatch.setattr("h5py.h5z.filter_avail", lambda code: False)
    monkeypatch.setitem(sys.modules, library, None)
    refused(path, f"{library}: pip install 'segbench[formats]'")


def test_a_filter_that_nobody_has_is_named(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("scan", data=picture(), chunks=(5, 12, 17), compression="lzf")
    monkeypatch.setattr("h5py.h5z.filter_avail", lambda code: False)
    refused(path, "filter 32000 (lzf)")
