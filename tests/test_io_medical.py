"""NIfTI, NRRD and MetaImage: files of other writers, axes, units, damage and bombs."""

import bz2
import gzip
import re
import shutil
import struct
import sys
import zlib
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from scans import VOXEL_UM, bomb_gzip, metaimage, nifti, nifti_header, picture

from segbench.errors import InputError
from segbench.io import chunked, file_sha256, open_volume
from segbench.io.lazy import Mapped

WRITTEN = Path(__file__).parent / "data" / "scans"


def refused(path, *words, read=open_volume):
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable()
    for word in (str(path), *words):
        assert word in message, message
    return message


def reading(path):
    return np.asarray(open_volume(path).data)


@pytest.fixture(autouse=True)
def silent(capfd):
    yield
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "raw.mha", "zlib.mha", "raw.mhd", "zlib.mhd", "raw.nrrd", "gzip.nrrd", "raw.nhdr"]
)
def test_files_that_simpleitk_wrote_are_read(name):
    """SimpleITK 2.5.7, spacing 0.0005, 0.001 and 0.002 mm along X, Y and Z; ITK knows arrays as (Z, Y, X) too."""
    array = (np.arange(4 * 5 * 6).reshape(4, 5, 6) * 97 - 3000).astype(np.int16)
    volume = open_volume(WRITTEN / name)
    assert volume.data.dtype == np.int16
    assert volume.voxel_um == pytest.approx((2, 1, 0.5), rel=1e-6)
    np.testing.assert_array_equal(np.asarray(volume.data), array)
    assert isinstance(volume.data, Mapped) == (not re.search("gz|zlib", name))


def test_the_hash_of_a_header_is_that_of_its_voxels_too(tmp_path):
    for name in ("raw.mhd", "raw.nhdr", "raw.raw"):
        shutil.copy(WRITTEN / name, tmp_path)
    before = [file_sha256(tmp_path / name) for name in ("raw.mhd", "raw.nhdr")]
    (tmp_path / "raw.raw").write_bytes(bytes(240))
    assert not set(before) & {file_sha256(tmp_path / name) for name in ("raw.mhd", "raw.nhdr")}


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1), ("mm", 1e3), ("meter", 1e6), ("unknown", None)])
def test_units_of_a_nifti(tmp_path, unit, factor):
    volume = open_volume(nifti(tmp_path / "a.nii", picture(), unit))
    assert volume.voxel_um == (None if factor is None else pytest.approx([factor * edge for edge in VOXEL_UM]))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_scaled_nifti_gives_what_is_meant_and_not_what_is_stored(tmp_path, name):
    array = picture(dtype=np.int16)
    nifti(tmp_path / name, array, slope=(0.5, -3))
    volume = open_volume(tmp_path / name)
    assert volume.data.dtype == np.float32
    wanted = np.asarray(nibabel.load(tmp_path / name).dataobj).T
    np.testing.assert_allclose(np.asarray(volume.data), wanted, rtol=1e-6)
    np.testing.assert_allclose(volume.data[2, ::3, -1], wanted[2, ::3, -1], rtol=1e-6)


def test_axes_of_length_one_at_the_end_of_a_nifti_say_nothing(tmp_path):
    path = tmp_path / "a.nii"
    nibabel.Nifti1Image(picture().T[..., None, None], np.eye(4)).to_filename(path)
    np.testing.assert_array_equal(reading(path), picture())
    nibabel.Nifti1Image(np.zeros((3, 4, 5, 2), np.uint8), np.eye(4)).to_filename(path)
    refused(path, "(3, 4, 5, 2) (X, Y, Z, ...) is no volume")
    nibabel.Nifti1Image(picture(dtype=np.uint8)[0].T, np.eye(4)).to_filename(path)
    assert open_volume(path).shape == (1, 12, 17)
    nibabel.Nifti1Image(np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")]), np.eye(4)).to_filename(path)
    refused(path, "colour")


def nrrd_of(path, encoding):
    nrrd.write(str(path), picture(), {"encoding": encoding})
    return path


MAKE = {
    "a.nii": lambda path: nifti(path, picture()),
    "a.nii.gz": lambda path: nifti(path, picture()),
    "a.mha": lambda path: metaimage(path, picture()),
    "packed.mha": lambda path: metaimage(path, picture(), packed=True),
    "a.nrrd": lambda path: nrrd_of(path, "raw"),
    "packed.nrrd": lambda path: nrrd_of(path, "bzip2"),
}


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("keep", [3, 60, 0.4, -10])
def test_a_truncated_file_is_refused(tmp_path, name, keep):
    path = MAKE[name](tmp_path / name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    refused(path, read=reading)


def test_a_changed_byte_in_a_compressed_file_is_found(tmp_path):
    for path, where in (
        (nifti(tmp_path / "a.nii.gz", picture()), -2),
        (metaimage(tmp_path / "a.mha", picture(), packed=True), -2),
    ):
        raw = bytearray(path.read_bytes())
        raw[where] ^= 1  # in the checksum
        path.write_bytes(raw)
        refused(path, "damaged", read=reading)


def test_a_terabyte_is_refused_before_memory_is_taken(tmp_path):
    shape = (10**4,) * 3
    (tmp_path / "a.nii").write_bytes(nifti_header(shape) + bytes(99))
    refused(tmp_path / "a.nii", "truncated")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti_header(shape)) + bytes(99))
    refused(tmp_path / "a.nii.gz", "931 GiB", "1 GiB is the limit", "gunzip")
    size = " ".join(str(n) for n in shape)
    metaimage(tmp_path / "a.mha", picture(), DimSize=size)
    refused(tmp_path / "a.mha", "truncated")
    metaimage(tmp_path / "a.mha", picture(), DimSize=size, packed=True)
    refused(tmp_path / "a.mha", "limit")
    for encoding, word in (("raw", "truncated"), ("gzip", "limit")):
        header = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {size}\nencoding: {encoding}\n\n"
        (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(99))
        refused(tmp_path / "a.nrrd", word)


def test_a_bomb_is_not_unpacked_further_than_its_header_says(tmp_path):
    """A hundred megabytes of zeros behind a header of 1000 voxels, and a header of more than the file can hold."""
    packed = gzip.compress(nifti_header((10, 10, 10))) + bomb_gzip(10**8)
    (tmp_path / "a.nii.gz").write_bytes(packed)
    volume = open_volume(tmp_path / "a.nii.gz")
    assert volume.data[5].nbytes == 100
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti_header((1000, 1000, 500)) + bytes(10**4)))
    refused(tmp_path / "a.nii.gz", "more than it can hold")
    refused(metaimage(tmp_path / "a.mha", picture(), DimSize="1000 1000 500", packed=True), "more than it can hold")


def test_the_limit_is_the_last_size_that_is_read(tmp_path, monkeypatch):
    path = nifti(tmp_path / "a.nii.gz", picture())
    monkeypatch.setattr(chunked, "LIMIT_BYTES", picture().nbytes)
    np.testing.assert_array_equal(reading(path), picture())
    monkeypatch.setattr(chunked, "LIMIT_BYTES", picture().nbytes - 1)
    refused(path, "unpack it with gunzip")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("content", [b"no image", b"\0" * 400, b"\xff" * 400, b"NRRD0004\n", b"NDims = 3\n"])
def test_what_is_no_such_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name)


@pytest.mark.parametrize(("fields", "word"), [
    ({"ElementNumberOfChannels": 3}, "3 channels"),
    ({"NDims": 4, "DimSize": "17 12 5 1"}, "4 axes"),
    ({"NDims": 2}, "2 axes"),
    ({"DimSize": "17 12 0"}, "(17, 12, 0)"),
    ({"DimSize": "17 12 many"}, "damaged MetaImage header"),
    ({"ElementType": "MET_OTHER"}, "MET_OTHER"),
    ({"BinaryData": False}, "voxels as text"),
    ({"ElementDataFile": "../secret.raw"}, "not one file beside it"),
    ({"ElementDataFile": "/etc/passwd"}, "not one file beside it"),
    ({"ElementDataFile": "LIST"}, "not one file beside it"),
    ({"ElementDataFile": "a%02d.raw 1 3 1"}, "not one file beside it"),
    ({"ElementDataFile": "gone.raw"}, "No such file"),
])  # fmt: skip
def test_headers_of_metaimages_that_are_refused(tmp_path, fields, word):
    (tmp_path / "a.mha").write_bytes(b"")
    refused(metaimage(tmp_path / "a.mha", picture(), **fields), word)


def test_a_metaimage_of_other_orders_and_offsets(tmp_path):
    array = picture(dtype=np.float32)
    np.testing.assert_array_equal(reading(metaimage(tmp_path / "a.mha", array, big=True)), array)
    np.testing.assert_array_equal(reading(metaimage(tmp_path / "a.mha", array[0])), array[:1])
    path = metaimage(tmp_path / "a.mhd", array, data="a.raw", HeaderSize=-1)
    (tmp_path / "a.raw").write_bytes(b"a header" + array.tobytes())
    np.testing.assert_array_equal(reading(path), array)
    path = metaimage(tmp_path / "a.mhd", array, data="a.raw", HeaderSize=5)
    (tmp_path / "a.raw").write_bytes(b"12345" + array.tobytes())
    np.testing.assert_array_equal(reading(path), array)


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_a_link_out_of_the_folder_is_not_followed(tmp_path, name):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "other").write_bytes(picture().tobytes())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "voxels.raw").symlink_to(tmp_path / "secret" / "other")
    path = tmp_path / "in" / name
    if name == "a.mhd":
        metaimage(tmp_path / "x.mhd", picture(), data="voxels.raw").rename(path)
    else:
        fields = "type: ushort\ndimension: 3\nsizes: 17 12 5\nendian: little\nencoding: raw\ndata file: voxels.raw"
        path.write_text(f"NRRD0004\n{fields}\n\n")
    refused(path, "a link to another folder")
    (tmp_path / "in" / "voxels.raw").unlink()
    (tmp_path / "in" / "voxels.raw").symlink_to("voxels.raw")
    refused(path, "cannot be read")


def spacing(tmp_path, fields, suffix=".nrrd"):
    header = "NRRD0005\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n" + "".join(f"{f}\n" for f in fields)
    (tmp_path / "a.nrrd").write_bytes(header.encode() + b"\n" + bytes(24))
    volume = open_volume(tmp_path / "a.nrrd")
    assert volume.shape == (2, 3, 4)
    return volume.voxel_um


def test_a_header_that_does_not_end_is_not_read_to_its_end(tmp_path):
    fields = b"type: uchar\ndimension: 3\nsizes: 2 3 4\nencoding: raw\n"
    for start in (b"NRRD0004\n", b"NRRD0004\n" + fields + b"#"):
        with (tmp_path / "a.nrrd").open("wb") as file:
            file.write(start)
            file.truncate(2**32)
        refused(tmp_path / "a.nrrd", "not an NRRD, or a damaged one")
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + fields + b"# " + b"x" * 2**20 + b"\n\n" + bytes(24))
    refused(tmp_path / "a.nrrd", "header is longer")


def test_units_of_an_nrrd(tmp_path):
    turned = "space directions: (0,0.003,0.004) (0.5e-2,0,0) (0,0,-0.01)"
    assert spacing(tmp_path, []) is None
    assert spacing(tmp_path, ["spacings: 0.25 0.5 2"]) is None
    assert spacing(tmp_path, ["spacings: 0.25 0.5 2", 'units: "um" "um" "um"']) == (2, 0.5, 0.25)
    assert spacing(tmp_path, ["spacings: 0.25 0.5 2", 'units: "nm" "um" "mm"']) == (2000, 0.5, 0.25e-3)
    assert spacing(tmp_path, ["spacings: 0.25 0.5 nan", 'units: "um" "um" "um"']) is None
    assert spacing(tmp_path, ["spacings: 0.25 0.5 2", 'units: "um" "um" "s"']) is None
    assert spacing(tmp_path, ["space: left-posterior-superior", turned]) == pytest.approx((10, 5, 5))
    assert spacing(tmp_path, ["space dimension: 3", turned]) is None
    assert spacing(tmp_path, ["space dimension: 3", 'space units: "um" "um" "um"', turned]) == pytest.approx(
        (0.01, 0.005, 0.005)
    )
    ones = "space directions: (1,0,0) (0,1,0) (0,0,1)"
    assert spacing(tmp_path, ["space: left-posterior-superior", ones]) is None


@pytest.mark.parametrize(("fields", "word"), [
    ("type: uint8\ndimension: 4\nsizes: 3 4 5 2\nencoding: raw", "(3, 4, 5, 2)"),
    ("type: uint8\ndimension: 3\nsizes: 3 4 5\nkinds: RGB-color domain domain\nencoding: raw", "rgb-color"),
    ("type: block\nblock size: 2\ndimension: 3\nsizes: 3 4 5\nencoding: raw", "block"),
    ("type: uint8\ndimension: 3\nsizes: 3 4 5\nencoding: ascii", "written as ascii"),
    ("type: uint8\ndimension: 3\nsizes: 3 4 0\nencoding: raw", "(3, 4, 0)"),
    ("type: uint16\ndimension: 3\nsizes: 3 4 5\nencoding: raw", "endian"),
    ("type: uint8\ndimension: 3\nsizes: 3 4 5\nencoding: raw\nline skip: 2", "line skip"),
    ("type: uint8\ndimension: 3\nsizes: 3 4 5\nencoding: raw\ndata file: ../a.raw", "not one file beside it"),
    ("dimension: 3\nsizes: 3 4 5\nencoding: raw", "type"),
])  # fmt: skip
def test_headers_of_nrrds_that_are_refused(tmp_path, fields, word):
    (tmp_path / "a.nrrd").write_bytes(f"NRRD0004\n{fields}\n\n".encode() + bytes(1000))
    refused(tmp_path / "a.nrrd", word)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("skip", [0, 9, -1])
def test_bytes_that_an_nrrd_skips(tmp_path, encoding, skip):
    array = picture(dtype=np.int16)
    coded = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}[encoding]
    before = b"123456789" if skip else b""
    header = (
        f"NRRD0004\ntype: short\ndimension: 3\nsizes: 17 12 5\nendian: big\nencoding: {encoding}\nbyte skip: {skip}\n\n"
    )
    body = coded(before + array.astype(">i2").tobytes()) if skip >= 0 else before + coded(array.astype(">i2").tobytes())
    (tmp_path / "a.nrrd").write_bytes(header.encode() + body)
    if skip == -1 and encoding != "raw":
        refused(tmp_path / "a.nrrd", read=reading)
    else:
        np.testing.assert_array_equal(reading(tmp_path / "a.nrrd"), array)


def test_a_stream_with_the_header_of_gzip_is_a_metaimage_too(tmp_path):
    path = metaimage(tmp_path / "a.mha", picture(), packed=True)
    text = path.read_bytes().replace(zlib.compress(picture().tobytes()), gzip.compress(picture().tobytes()))
    path.write_bytes(text)
    np.testing.assert_array_equal(reading(path), picture())


@pytest.mark.parametrize(
    ("library", "module", "name"), [("nibabel", "nibabel", "a.nii"), ("pynrrd", "nrrd", "raw.nrrd")]
)
def test_without_a_library_the_line_says_what_to_type(monkeypatch, library, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    refused(WRITTEN / name, f"{library}: pip install 'segbench[formats]'")


def test_a_nifti_whose_header_was_changed_is_read_or_refused_in_silence(tmp_path):
    """nibabel mends what it can and logs it, past every handler of ours."""
    path = nifti(tmp_path / "a.nii", picture())
    raw = bytearray(path.read_bytes())
    struct.pack_into("<hh", raw, 252, 999, 888)  # codes of the orientation
    struct.pack_into("<f", raw, 76, 7.0)
    path.write_bytes(raw)
    np.testing.assert_array_equal(reading(path), picture())
