"""RAW and NumPy files: what describes them, what does not fit, what is never unpickled."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from scans import picture, write

import segbench
from segbench.errors import InputError
from segbench.io import Raw, chunked, file_sha256, open_volume, read_labels


def refused(path, *words, read=open_volume):
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable()
    for word in (str(path), *words):
        assert word in message, message
    return message


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "scan.raw").write_bytes(picture().tobytes())
    return tmp_path / "scan.raw"


def page(raw, text):
    raw.with_name("scan.raw.toml").write_text(text)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_what_the_caller_says_is_read(tmp_path, dtype, order):
    array = picture(dtype=dtype)
    stored = array.astype(array.dtype.newbyteorder("<" if order == "little" else ">"))
    path = tmp_path / "scan.vol"
    path.write_bytes(b"head" + stored.tobytes())
    given = {"shape": array.shape, "dtype": dtype, "byte_order": order, "offset": 4, "voxel_um": 0.5}
    for described in (given, given | {"shape": "5, 12, 17"}, Raw(**given)):
        volume = segbench.open_volume(path, raw=described)
        assert volume.voxel_um == (0.5, 0.5, 0.5)
        np.testing.assert_array_equal(np.asarray(volume.data), array)
    assert segbench.open_volume(path, (3, 2, 1), raw=given).voxel_um == (3, 2, 1)
    flat = open_volume(path, raw=given | {"shape": (60, 17)})
    np.testing.assert_array_equal(np.asarray(flat.data), array.reshape(1, 60, 17))


def test_labels_are_read_from_raw(tmp_path):
    (tmp_path / "label.raw").write_bytes(bytes(24))
    assert read_labels(tmp_path / "label.raw", raw={"shape": (2, 3, 4), "dtype": "uint8"}).shape == (2, 3, 4)


def test_the_page_beside_the_file_says_what_it_holds_and_the_caller_more(raw):
    page(raw, 'shape = [5, 12, 17]\ndtype = "uint16"\nvoxel_um = [2, 0.5, 0.25]\n')
    assert open_volume(raw).voxel_um == (2, 0.5, 0.25)
    np.testing.assert_array_equal(np.asarray(open_volume(raw).data), picture())
    assert open_volume(raw, raw={"shape": (12, 5, 17), "dtype": "int16"}).shape == (12, 5, 17)
    digest = file_sha256(raw)
    page(raw, 'shape = [5, 17, 12]\ndtype = "uint16"\n')
    assert file_sha256(raw) != digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('shape = [5, 12, 17]\ndtype = "uint16"\nbyteorder = "big"', ["byteorder", "unknown key"]),
        ('shape = [5, 12, 17]\ndtype = "uint12"', ["dtype", "'uint16'"]),
        ('shape = [5, 12, 17]\ndtype = "O"', ["dtype"]),
        ('shape = [5, 12, 0]\ndtype = "uint16"', ["shape.2: ", "greater than 0"]),
        ('shape = [5, 12, 17, 1]\ndtype = "uint16"', ["shape"]),
        ('shape = [5, 12, 17]\ndtype = "uint16"\noffset = -1', ["offset"]),
        ('shape = [5, 12, 17]\ndtype = "uint16"\nvoxel_um = nan', ["voxel_um"]),
        ('shape = [5, 12, 17]\ndtype = "uint16"\nvoxel_um = [1, 0, 1]', ["voxel_um.1: ", "greater than 0"]),
        ("shape = [5, 12, 17]", ["dtype", "required"]),
        ("shape = [5,", ["not TOML"]),
        ("\xff", ["not TOML"]),
    ],
)
def test_a_page_that_is_wrong_names_the_key(raw, text, words):
    raw.with_name("scan.raw.toml").write_bytes(text.encode("latin-1"))
    refused(raw, "scan.raw.toml", *words)


WRONG = (
    {"shape": (5, 12)},
    {"shape": (1, 2, 3), "dtype": "uint8", "order": "big"},
    {},
    {"shape": "a,b", "dtype": "int8"},
    "uint16",
)


@pytest.mark.parametrize("wrong", WRONG)
def test_an_argument_that_is_wrong_is_a_line(raw, wrong):
    refused(raw, "raw:", read=lambda path: open_volume(path, raw=wrong))


def test_only_a_file_without_a_header_is_described(tmp_path):
    given = {"shape": (12, 17), "dtype": "uint16"}
    for name in ("stack", "plain-3.zarr"):
        refused(write(tmp_path, name, picture()), "leave it out", read=lambda path: open_volume(path, raw=given))


@pytest.mark.parametrize("wrong", ["a", 0, -1.0, float("nan"), float("inf"), (1, 2), (1, None, 2), {}, [[1, 2, 3]]])
def test_an_edge_is_a_positive_number_or_three(raw, wrong):
    page(raw, 'shape = [5, 12, 17]\ndtype = "uint16"\n')
    refused(raw, "give one positive number", read=lambda path: open_volume(path, wrong))
    for one in (np.float32(0.5), np.full(3, 0.5), 0.5):
        assert open_volume(raw, one).voxel_um == (0.5, 0.5, 0.5)


def test_a_size_that_does_not_fit_tells_both_numbers(raw):
    for shape, need in (((5, 12, 16), 1920), ((10**4,) * 3, 2 * 10**12)):
        given = {"shape": shape, "dtype": "uint16"}
        refused(raw, "2040 bytes", str(need), read=lambda path, given=given: open_volume(path, raw=given))


def test_a_terabyte_opens_at_once_and_is_read_where_it_is_asked_for(tmp_path):
    path = tmp_path / "scan.raw"
    with path.open("wb") as file:
        file.truncate(10**12)
        file.seek(10**12 - 1)
        file.write(b"\7")
    volume = open_volume(path, raw={"shape": (10**4,) * 3, "dtype": "uint8"})
    assert (volume.data[-1, -1, -2], volume.data[-1, -1, -1]) == (0, 7)
    np.testing.assert_array_equal(volume.data[::5000, ::5000, ::9999][1, 1], [0, 0])


def test_without_a_description_the_line_says_how_to_give_one(raw):
    refused(raw, "say shape and dtype", "scan.raw.toml")


def test_what_is_described_is_raw_whatever_its_bytes_look_like(tmp_path):
    content = b"II*\0" + bytes(20)
    (tmp_path / "scan.raw").write_bytes(content)
    page(tmp_path / "scan.raw", 'shape = [2, 3, 4]\ndtype = "uint8"')
    assert open_volume(tmp_path / "scan.raw").shape == (2, 3, 4)
    # a page beside a file whose name tells its kind describes something else
    np.save(tmp_path / "a.npy", picture())
    (tmp_path / "a.npy.toml").write_text("title = 'notes'")
    assert open_volume(tmp_path / "a.npy").shape == (5, 12, 17)


def test_a_file_that_changed_after_it_was_opened_is_a_line(raw):
    volume = open_volume(raw, raw={"shape": (5, 12, 17), "dtype": "uint16"})
    raw.write_bytes(b"")
    refused(raw, "did it change", read=lambda _: volume.data[0])
    raw.unlink()
    refused(raw, "did it change", read=lambda _: volume.data[0])


def test_npz_of_one_array_is_read_and_of_others_refused(tmp_path):
    path, array = tmp_path / "a.npz", picture()
    np.savez(path, scan=array)
    np.testing.assert_array_equal(np.asarray(open_volume(path).data), array)
    np.savez(path, scan=np.asfortranarray(array))
    np.testing.assert_array_equal(np.asarray(open_volume(path).data), array)
    np.savez(path, scan=array, label=array)
    refused(path, "2 arrays (scan, label)")
    np.savez(path)
    refused(path, "0 arrays")
    np.savez(path, np.zeros((2, 2, 2, 2)))
    refused(path, "(2, 2, 2, 2) is no volume")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text")
    refused(path, "unusable .npz")
    path.write_bytes(b"PK no archive")
    refused(path, "unusable .npz")


def member(array=None, header=None, body=b""):
    file = io.BytesIO()
    if array is not None:
        np.lib.format.write_array(file, array, allow_pickle=True)
    else:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(body)
    return file.getvalue()


def npz(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    return path


def test_a_bomb_in_an_archive_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**4,) * 3}
    refused(npz(path, member(header=header)), "more than it holds")
    header["shape"] = (64, 64, 64)
    npz(path, member(header=header, body=bytes(64**3 + 10)))
    assert not np.asarray(open_volume(path).data).any()
    monkeypatch.setattr(chunked, "LIMIT_BYTES", 64**3 - 1)
    refused(path, "cannot be read in parts", "save it with numpy.save as .npy")


class Exploit:
    def __reduce__(self):
        return os.mkdir, (os.environ["EXPLOIT"],)


def test_a_header_of_gigabytes_is_not_read(tmp_path):
    claim = b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little")
    refused(npz(tmp_path / "a.npz", claim + bytes(10**6)), "version 1.0")
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(claim)
        file.truncate(5 * 2**30)
    refused(tmp_path / "a.npy", "version 1.0")


def test_a_pickle_in_an_archive_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPLOIT", str(tmp_path / "ran"))
    pickled = np.full((2, 2), Exploit(), dtype=object)
    refused(npz(tmp_path / "a.npz", member(pickled)), "never read")
    refused(npz(tmp_path / "a.npz", pickle.dumps(Exploit())), "unusable")
    assert not (tmp_path / "ran").exists()


def test_a_damaged_archive_is_found(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, picture())
    raw = bytearray(path.read_bytes())
    raw[raw.index(picture().tobytes()[:40]) + 300] ^= 1
    path.write_bytes(raw)
    refused(path, "CRC", read=lambda path: open_volume(path).data[0])
