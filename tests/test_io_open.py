"""Opening volumes: every kind of file, and every way in which one can be bad."""

import logging
import os
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segbench.errors import InputError
from segbench.io import check_image, depth_range, file_sha256, open_volume, read_labels, write_tiff
from segbench.io import tiff as tiff_module
from segbench.io.chunked import Cache, Chunked
from segbench.io.files import natural_key
from segbench.io.lazy import Mapped
from segbench.volume import LazyArray, Volume


def picture(shape=(5, 12, 17), dtype=np.uint8, seed=0):
    values = np.random.default_rng(seed).uniform(0, 200, shape)
    return (values > 100) if dtype is bool else values.astype(dtype)


def refused(path, *words, read=open_volume):
    """One line that names the file; returns it."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message, message
    return message


ZYX = {"metadata": {"axes": "ZYX"}}
DTYPES = (np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(12, 17), (5, 12, 17), (1, 12, 17), (5, 1, 17)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"compression": "zlib", "byteorder": ">", "tile": (16, 16)},
        {"ome": True, "axes": "ZYX"},
        {"metadata": None},
    ],
    ids=str,
)
def test_a_tiff_comes_back_as_written(tmp_path, dtype, shape, options):
    array = picture(shape, dtype)
    if "axes" in options:
        options = {"ome": True, "metadata": {"axes": "ZYX"[-len(shape) :]}}
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **options)
    volume = open_volume(tmp_path / "a.tif")
    assert isinstance(volume.data, LazyArray)
    assert volume.data.dtype == dtype
    np.testing.assert_array_equal(np.asarray(volume.data), array if array.ndim == 3 else array[None])
    assert volume.voxel_um is None
    assert volume.source == str(tmp_path / "a.tif")


def test_a_two_dimensional_image_is_one_slice_and_bool_stays(tmp_path):
    array = picture((9, 16), bool)
    tifffile.imwrite(tmp_path / "bits.tif", array, photometric="minisblack")
    np.save(tmp_path / "bits.npy", array)
    Image.fromarray(array).save(tmp_path / "bits.png")
    for name in ("bits.tif", "bits.npy", "bits.png"):
        labels = read_labels(tmp_path / name)
        assert labels.shape == (1, 9, 16)
        np.testing.assert_array_equal(np.asarray(labels.data)[0], array)


def test_uncompressed_is_mapped_and_compressed_reads_only_the_pages_it_needs(tmp_path, monkeypatch):
    array = picture((40, 64, 64))
    tifffile.imwrite(tmp_path / "plain.tif", array, photometric="minisblack")
    assert isinstance(open_volume(tmp_path / "plain.tif").data, Mapped)
    tifffile.imwrite(tmp_path / "packed.tif", array, photometric="minisblack", compression="zlib")
    read = []
    original = tiff_module._Pages.__call__
    monkeypatch.setattr(tiff_module._Pages, "__call__", lambda self, at: read.append(at[0]) or original(self, at))
    volume = open_volume(tmp_path / "packed.tif")
    assert read == []
    np.testing.assert_array_equal(volume.data[7:9, 3:5, ::2], array[7:9, 3:5, ::2])
    np.testing.assert_array_equal(volume.data[7, 3], array[7, 3])
    assert read == [7, 8]  # the second look at plane 7 came from the cache


def test_no_file_stays_open(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="minisblack", compression="zlib")
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0  # noqa: PTH110, PTH208
    volume = open_volume(tmp_path / "a.tif")
    np.asarray(volume.data)
    after = len(os.listdir("/proc/self/fd")) if before else 0  # noqa: PTH208
    assert after == before


index = st.one_of(st.integers(-3, 2), st.slices(3), st.just(Ellipsis))


@given(st.lists(index, min_size=1, max_size=3).filter(lambda k: k.count(Ellipsis) < 2))
def test_planes_index_like_numpy(keys):
    array = picture((3, 3, 3))
    planes = Chunked((3, 3, 3), array.dtype, (1, 3, 3), lambda at: array[at[0]][np.newaxis], Cache(18))
    key = tuple(keys)
    np.testing.assert_array_equal(planes[key], array[key])
    part = depth_range(Volume(planes), 1, 3).data
    np.testing.assert_array_equal(part[...], array[1:3])


def test_planes_refuse_what_they_cannot_do():
    planes = Chunked((3, 3, 3), np.dtype(np.uint8), (3, 3, 3), lambda _: picture((3, 3, 3)))
    for key in ([0, 1], (0, 0, 0, 0), np.ones((3, 3, 3), bool)):
        with pytest.raises(IndexError):
            planes[key]
    with pytest.raises(IndexError):
        planes[3]


def test_a_folder_and_a_pattern_of_slices_sort_naturally(tmp_path):
    array = picture((12, 6, 7), np.uint16)
    for z, plane in enumerate(array):
        tifffile.imwrite(tmp_path / f"slice_{z}.TIF", plane, photometric="minisblack")
    (tmp_path / ".slice_3.tif").write_bytes(b"left by another system")
    (tmp_path / "notes.txt").write_text("x")
    np.testing.assert_array_equal(np.asarray(open_volume(tmp_path).data), array)
    np.testing.assert_array_equal(np.asarray(open_volume(str(tmp_path / "slice_?.TIF")).data), array[:10])
    assert sorted(["a10", "a9", "b1", "a1b"], key=natural_key) == ["a1b", "a9", "a10", "b1"]


def test_a_stack_must_be_whole_and_of_one_kind(tmp_path):
    def stack(name, **odd):
        folder = tmp_path / name
        folder.mkdir()
        for z in range(4):
            tifffile.imwrite(
                folder / f"{z:03}.tif", odd.get(f"s{z}", picture((6, 7), seed=z)), photometric="minisblack"
            )
        return folder

    with pytest.raises(InputError, match=r"002\.tif: 6 x 8 pixels, but 000\.tif has 6 x 7"):
        open_volume(stack("shapes", s2=picture((6, 8))))
    with pytest.raises(InputError, match=r"003\.tif: float32, but 000\.tif has uint8"):
        open_volume(stack("types", s3=picture((6, 7), np.float32)))
    with pytest.raises(InputError, match=r"001\.tif: holds 2 slices"):
        open_volume(stack("deep", s1=picture((2, 6, 7))))
    gap = stack("gap")
    tifffile.imwrite(gap / "005.tif", picture((6, 7)), photometric="minisblack")
    refused(gap, "slice 4 is missing", "005.tif follows 003.tif")
    mixed = stack("mixed")
    Image.fromarray(picture((6, 7))).save(mixed / "004.png")
    refused(mixed, "both TIFF and PNG")
    broken = stack("broken")
    (broken / "002.tif").write_bytes((broken / "002.tif").read_bytes()[:40])
    with pytest.raises(InputError, match=r"002\.tif"):
        open_volume(broken)
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no TIFF slices")
    refused(tmp_path / "empty" / "*.tif", "no file matches")


def test_a_damaged_maker_tag_is_no_damage(tmp_path):
    path = tmp_path / "maker.tif"
    tags = [(305, "s", 0, "instrument software", True), (40001, "s", 0, "private words of a maker", True)]
    tifffile.imwrite(path, picture(), photometric="minisblack", extratags=tags, software=False)
    raw = path.read_bytes()
    for code in (305, 40001):
        entry = struct.pack("<HH", code, 2)
        assert raw.count(entry) == 1
        raw = raw.replace(entry, struct.pack("<HH", code, 60000))
    path.write_bytes(raw)
    np.testing.assert_array_equal(np.asarray(open_volume(path).data), picture())
    length = struct.pack("<HH", 257, 4)
    assert length in raw
    path.write_bytes(raw.replace(length, struct.pack("<HH", 257, 60000)))
    refused(path, "damaged TIFF")


def test_voxel_size_comes_from_the_file_only_where_it_is_plain(tmp_path):
    array = picture()
    write_tiff(tmp_path / "ome.tif", array, (0.5, 0.25, 0.125))
    assert open_volume(tmp_path / "ome.tif").voxel_um == (0.5, 0.25, 0.125)
    assert open_volume(tmp_path / "ome.tif", 2).voxel_um == (2, 2, 2)
    assert open_volume(tmp_path / "ome.tif", [3, 2, 1]).voxel_um == (3, 2, 1)

    def imagej(resolution, **metadata):
        options = {"photometric": "minisblack", "imagej": True, "resolution": resolution}
        tifffile.imwrite(tmp_path / "ij.tif", array, metadata={"axes": "ZYX", **metadata}, **options)
        return open_volume(tmp_path / "ij.tif").voxel_um

    assert imagej((4, 2), spacing=300, unit="nm") == pytest.approx((0.3, 5e-4, 2.5e-4))
    assert imagej((4, 2), spacing=3, unit="micron") == pytest.approx((3, 0.5, 0.25))
    assert imagej((4, 2), spacing=3, unit="\\u00B5m") == pytest.approx((3, 0.5, 0.25))
    assert imagej((100, 100), spacing=3, unit="inch") is None  # the resolution of a print
    assert imagej((4, 2), unit="nm") is None  # depth unknown
    assert imagej((4, 2), spacing=3) is None
    assert imagej((4, 2), spacing=0, unit="nm") is None
    tifffile.imwrite(tmp_path / "p.tif", array, photometric="minisblack", resolution=(10, 10), resolutionunit=3)
    assert open_volume(tmp_path / "p.tif").voxel_um is None
    for bad in (0, -1, float("nan"), (1, 2), (1, 2, 0)):
        refused(tmp_path / "p.tif", "voxel size", read=lambda path, bad=bad: open_volume(path, bad))


@pytest.fixture
def silent(capfd, caplog):
    """Nothing that tifffile or Pillow say may reach the terminal."""
    last_resort = logging.lastResort.level
    yield
    assert logging.lastResort.level == last_resort
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}], ids=str)
@pytest.mark.parametrize("keep", [0, 4, 10, 60, 400, 0.5, 0.9])
def test_a_truncated_tiff_is_refused(tmp_path, options, keep):
    path = tmp_path / "cut.tif"
    array = picture((6, 40, 50))
    tifffile.imwrite(path, array, photometric="minisblack", **options, **ZYX)
    whole = path.read_bytes()
    cut = int(len(whole) * keep) if isinstance(keep, float) else keep if keep >= 0 else len(whole) + keep
    path.write_bytes(whole[:cut])
    if keep == 0:
        refused(path, "empty file")
    else:
        refused(path, read=lambda p: np.asarray(open_volume(p).data))


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}], ids=str)
def test_a_tiff_without_its_last_bytes_is_whole_or_refused(tmp_path, options):
    path = tmp_path / "cut.tif"
    array = picture((6, 9, 8))
    tifffile.imwrite(path, array, photometric="minisblack", **options, **ZYX)
    whole = path.read_bytes()
    for cut in range(1, 900, 7):
        path.write_bytes(whole[:-cut])
        try:
            read = np.asarray(open_volume(path).data)
        except InputError:
            continue
        np.testing.assert_array_equal(read, array)


@pytest.mark.usefixtures("silent")
def test_a_chain_of_pages_that_breaks_is_not_a_shorter_volume(tmp_path):
    path = tmp_path / "chain.tif"
    with tifffile.TiffWriter(path) as writer:
        for plane in picture((5, 20, 20)):
            writer.write(plane, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tif:
        third = tif.pages[3].offset
    path.write_bytes(path.read_bytes()[: third + 1])
    refused(path, "damaged TIFF")


@pytest.mark.usefixtures("silent")
def test_a_damaged_page_says_which(tmp_path):
    path = tmp_path / "hurt.tif"
    tifffile.imwrite(path, picture((6, 40, 50)), photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[4].dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 20] = b"\xff" * 20
    path.write_bytes(raw)
    volume = open_volume(path)
    np.asarray(volume.data[:4])
    refused(path, "page 4 is damaged", read=lambda _: volume.data[4])


def bomb(width, height, compression, count):
    """A TIFF of one strip that claims `width` x `height` bytes."""
    data = zlib.compress(b"\0" * 100)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, count or len(data))]
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + body + struct.pack("<I", 0)


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(("width", "height"), [(2**31, 2**31), (2**20, 2**20), (2**16, 2**15)])
def test_a_shape_that_cannot_be_is_refused_before_memory_is_taken(tmp_path, compression, width, height):
    path = tmp_path / "bomb.tif"
    path.write_bytes(bomb(width, height, compression, 0))
    refused(path)


@pytest.mark.usefixtures("silent")
def test_a_page_larger_than_memory_should_hold_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "wide.tif"
    tifffile.imwrite(path, picture((2, 40, 50)), photometric="minisblack", compression="zlib")
    monkeypatch.setattr(tiff_module, "MAX_PLANE_BYTES", 1999)
    refused(path, "page 0 claims 2e+03 bytes")
    monkeypatch.setattr(tiff_module, "MAX_PLANE_BYTES", 2000)
    open_volume(path)


@pytest.mark.usefixtures("silent")
def test_an_uncompressed_image_cut_short_says_where_it_should_end(tmp_path):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, picture((40, 50)), photometric="minisblack")
    path.write_bytes(path.read_bytes()[:-700])
    refused(path, "truncated", "end at byte")
    tifffile.imwrite(path, picture((40, 50)), photometric="minisblack", compression="zlib")
    path.write_bytes(path.read_bytes()[:-700])
    refused(path, "truncated", "page 0 lies past the end")


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("claim", [10**6, 10**12])
def test_an_imagej_header_of_a_terabyte_is_refused(tmp_path, claim):
    path = tmp_path / "claim.tif"
    tifffile.imwrite(path, picture((6, 40, 50)), photometric="minisblack", imagej=True, metadata={"axes": "ZYX"})
    raw = path.read_bytes()
    assert raw.count(b"slices=6\nhyperstack=true\n") == 1
    path.write_bytes(raw.replace(b"slices=6\nhyperstack=true\n", f"slices={claim}\n".encode().ljust(25)))
    refused(path)


@pytest.mark.usefixtures("silent")
@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_tiff_with_random_bytes_in_it_gives_a_volume_or_one_line(tmp_path, data):
    options = data.draw(st.sampled_from([{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}]))
    path = tmp_path / "fuzz.tif"
    tifffile.imwrite(path, picture((3, 9, 8)), photometric="minisblack", **options, **ZYX)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    said = str(path)
    try:
        volume = open_volume(path)
        if np.prod(volume.shape) < 1e7:
            np.asarray(volume.data)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert str(path) in said


def test_colour_time_and_several_images_are_refused(tmp_path):
    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, picture((9, 8, 3)), photometric="rgb")
    refused(path, "colour image")
    tifffile.imwrite(path, picture((4, 9, 8)), imagej=True, metadata={"axes": "CYX"})
    refused(path, "axes CYX")
    tifffile.imwrite(path, picture((2, 4, 9, 8)), imagej=True, metadata={"axes": "TZYX"})
    refused(path, "axes TZYX")
    with tifffile.TiffWriter(path) as writer:
        writer.write(picture((9, 8)), photometric="minisblack")
        writer.write(picture((5, 4)), photometric="minisblack")
    refused(path, "holds 2 images")
    tifffile.imwrite(path, picture((9, 8)).astype(np.complex64), photometric="minisblack")
    refused(path, "complex64")


def test_what_is_not_there_or_not_an_image(tmp_path, monkeypatch):
    refused(tmp_path / "none.tif", "no such file")
    (tmp_path / "text.tif").write_text("this is no TIFF at all, whatever it is called")
    refused(tmp_path / "text.tif", "not a TIFF")
    (tmp_path / "text.png").write_text("no PNG")
    refused(tmp_path / "text.png", "not a PNG")
    (tmp_path / "a.jpg").write_bytes(b"x")
    refused(tmp_path / "a.jpg", "'.jpg'", ".tif")
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    refused(tmp_path / "loop.tif", "cannot be read")
    os.mkfifo(tmp_path / "pipe.tif")
    refused(tmp_path / "pipe.tif", "neither a file nor a folder")
    refused(tmp_path / "text.tif" / "below.tif", "cannot be read")
    tifffile.imwrite(tmp_path / "locked.tif", picture())

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    refused(tmp_path / "locked.tif", "Permission denied")


def test_npy(tmp_path):
    array = picture((3, 4, 5), np.float32)
    np.save(tmp_path / "a.npy", array)
    assert isinstance(open_volume(tmp_path / "a.npy").data, Mapped)
    np.save(tmp_path / "big.npy", array.astype(">f4"))
    volume = open_volume(tmp_path / "big.npy")
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data[1:], array[1:])
    np.save(tmp_path / "four.npy", array[None])
    refused(tmp_path / "four.npy", "no volume")
    np.save(tmp_path / "none.npy", array[:0])
    refused(tmp_path / "none.npy", "no volume")
    np.save(tmp_path / "object.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    refused(tmp_path / "object.npy", "never read")
    np.save(tmp_path / "complex.npy", array.astype(complex))
    refused(tmp_path / "complex.npy", "complex128")
    raw = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(raw[:-8])
    refused(tmp_path / "cut.npy", "truncated")
    (tmp_path / "claim.npy").write_bytes(raw.replace(b"(3, 4, 5), }         ", b"(99999, 99999, 9999)}"))
    refused(tmp_path / "claim.npy", "truncated")
    with (tmp_path / "zip.npy").open("wb") as file:
        np.savez(file, a=array)
    refused(tmp_path / "zip.npy", "unusable")


class Exploit:
    def __reduce__(self):
        return os.mkdir, (os.environ["EXPLOIT"],)


def test_a_pickle_under_the_name_npy_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPLOIT", str(tmp_path / "ran"))
    (tmp_path / "a.npy").write_bytes(pickle.dumps(Exploit()))
    refused(tmp_path / "a.npy", "unusable")
    assert not (tmp_path / "ran").exists()


def test_png(tmp_path, monkeypatch):
    grey = picture((9, 8))
    path = tmp_path / "a.png"
    for array in (grey, grey.astype(np.uint16) * 300):
        Image.fromarray(array).save(path)
        np.testing.assert_array_equal(np.asarray(open_volume(path).data)[0], array)
    Image.fromarray(np.repeat(grey[..., None], 3, 2)).save(path)
    np.testing.assert_array_equal(np.asarray(open_volume(path).data)[0], grey)
    Image.fromarray(picture((9, 8, 3))).save(path)
    refused(path, "colour image")
    Image.fromarray(np.dstack([grey, grey, grey, grey])).save(path)
    refused(path, "transparency")
    indices = Image.new("P", (8, 9))
    indices.putdata([int(v) for v in (grey > 100).ravel()])
    indices.putpalette([255, 0, 0, 0, 255, 0])
    indices.save(path)
    np.testing.assert_array_equal(np.asarray(read_labels(path).data)[0], grey > 100)
    refused(path, "colour image")
    Image.fromarray(grey).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "damaged PNG")
    path.write_bytes(whole)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    refused(path, "more pixels")  # a warning of Pillow
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    refused(path, "more pixels")  # an error of Pillow


def test_labels_are_integers(tmp_path):
    np.save(tmp_path / "f.npy", picture((3, 4, 5), np.float32))
    refused(tmp_path / "f.npy", "labels must be integers", read=read_labels)


def test_nan_infinite_and_constant_images_are_refused(monkeypatch):
    monkeypatch.setattr("segbench.io.checks.BLOCK_VOXELS", 40)  # two slices a block
    array = picture((5, 4, 5), np.float32)
    check_image(Volume(array))
    array[3, 1, 2] = np.nan
    array[3, 2, 0] = -np.inf
    array[4] = np.nan
    with pytest.raises(InputError, match=r"scan: 22 voxels are NaN or infinite, the first .* \(3, 1, 2\)"):
        check_image(Volume(array, source="scan"))
    for value in (0, 7.5):
        with pytest.raises(InputError, match="constant image"):
            check_image(Volume(np.full((5, 4, 5), value)))
    steps = np.repeat(np.arange(5), 20).reshape(5, 4, 5)  # constant in each slice, not over all
    check_image(Volume(steps.astype(np.uint8)))


def test_the_hash_of_a_folder_is_of_names_and_contents(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for folder in (a, b):
        folder.mkdir()
        for z in range(3):
            tifffile.imwrite(folder / f"{z}.tif", picture((4, 4), seed=z))
    assert file_sha256(a) == file_sha256(b) == file_sha256(f"{b}/*.tif")
    (b / "1.tif").write_bytes((b / "1.tif").read_bytes() + b"\0")
    assert file_sha256(a) != file_sha256(b)
    assert file_sha256(a / "0.tif") == file_sha256(b / "0.tif")


def test_warnings_of_the_libraries_stay_inside(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="minisblack")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_volume(tmp_path / "a.tif")
    assert logging.getLogger("tifffile").handlers == []
