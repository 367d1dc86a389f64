"""Zarr: which array is the image, what is missing or broken, and the same behind a URL."""

import functools
import gc
import http.server
import json
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from scans import VOXEL_UM, ome_zarr, picture, write

from segbench.errors import InputError
from segbench.io import chunked, file_sha256, open_volume, read_labels, zarr_array
from segbench.io import zarr as zarr_module


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


def test_the_highest_resolution_is_the_image_and_any_array_can_be_named(tmp_path):
    array = picture()
    path = ome_zarr(tmp_path / "a.zarr", array)
    assert open_volume(path).source == f"{path}::/0"
    low = open_volume(f"{path}::1")
    assert low.shape == (3, 6, 9)
    assert low.voxel_um == tuple(2 * edge for edge in VOXEL_UM)
    assert open_volume(f"{path}::/1/").source == low.source
    refused(f"{path}::7", "'/7'", "/0, /1")
    refused(f"{path}::../a.zarr")
    np.testing.assert_array_equal(np.asarray(read_labels(path).data), array)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("nanometer", 1e-3),
        ("micrometer", 1),
        ("millimeter", 1e3),
        ("angstrom", 1e-4),
        (None, None),
        ("inch", None),
        ("second", None),
    ],
)
def test_the_voxel_size_needs_a_unit_of_length(tmp_path, unit, factor):
    volume = open_volume(ome_zarr(tmp_path / "a.zarr", picture(), unit=unit))
    assert volume.voxel_um == (None if factor is None else pytest.approx([factor * edge for edge in VOXEL_UM]))


def attributes(path, change, version="0.5"):
    file = path / ("zarr.json" if version == "0.5" else ".zattrs")
    described = json.loads(file.read_text())
    ome = described["attributes"]["ome"] if version == "0.5" else described
    change(ome["multiscales"])
    file.write_text(json.dumps(described))
    return path


def test_scales_of_the_image_and_of_the_level_multiply(tmp_path):
    path = ome_zarr(tmp_path / "a.zarr", picture())
    more = {
        "coordinateTransformations": [
            {"type": "translation", "translation": [9, 9, 9]},
            {"type": "scale", "scale": [2, 4, 8]},
        ]
    }
    attributes(path, lambda images: images[0].update(more))
    assert open_volume(path).voxel_um == (4, 2, 2)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda images: images[0].pop("datasets"), "damaged OME-Zarr metadata"),
        (lambda images: images[0].update(datasets=[]), "damaged OME-Zarr metadata"),
        (lambda images: images[0].update(datasets=7), "damaged OME-Zarr metadata"),
        (lambda images: images[0].update(axes=[1, 2, 3]), "damaged OME-Zarr metadata"),
        (lambda images: images[0]["datasets"][0].update(path="9"), "damaged"),
        (
            lambda images: images[0]["datasets"][0].update(coordinateTransformations=[{"type": "scale", "scale": [1]}]),
            "scale of 1",
        ),
        (lambda images: images[0]["axes"].reverse(), "in the order z, y, x"),
        (lambda images: images[0]["axes"].pop(), "2 axes"),
        (lambda images: images.append(images[0]), "2 images: choose"),
        (lambda images: images.clear(), "0 images"),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_metadata_that_are_wrong_are_a_line(tmp_path, version, change, word):
    refused(attributes(ome_zarr(tmp_path / "a.zarr", picture(), version), change, version), str(tmp_path), word)


@pytest.mark.parametrize("extra", [1, 2])
def test_channels_and_times_of_length_one_are_left_out_and_others_refused(tmp_path, extra):
    array = picture()
    assert open_volume(ome_zarr(tmp_path / "a.zarr", array, extra=extra)).shape == array.shape
    path = tmp_path / "b.zarr"
    ome_zarr(path, array, extra=extra)
    zarr.create_array(
        path, name="0", shape=(3,) * extra + array.shape, dtype="u1", chunks=(1,) * extra + (5, 12, 17), overwrite=True
    )
    refused(path, "save one channel at one time", "'c'" if extra == 1 else "'t'")


def test_metadata_of_early_versions_are_read(tmp_path):
    """0.3 had names of axes alone, 0.1 none: (t, c, z, y, x)."""
    path = ome_zarr(tmp_path / "a.zarr", picture(), "0.4")
    attributes(path, lambda images: images[0].update(axes=["z", "y", "x"]), "0.4")
    assert open_volume(path).voxel_um is None
    path = ome_zarr(tmp_path / "b.zarr", picture(), "0.4", extra=2)
    attributes(
        path,
        lambda images: (images[0].pop("axes"), [d.pop("coordinateTransformations") for d in images[0]["datasets"]]),
        "0.4",
    )
    assert open_volume(path).shape == (5, 12, 17)


def test_names_of_dimensions_are_believed(tmp_path):
    options = {"data": picture(), "chunks": (2, 8, 8)}
    zarr.create_array(tmp_path / "a", dimension_names=["Z", "Y", "X"], **options)
    assert open_volume(tmp_path / "a").shape == (5, 12, 17)
    zarr.create_array(tmp_path / "b", dimension_names=["x", "y", "z"], **options)
    refused(tmp_path / "b", "in the order z, y, x")


def test_of_a_group_the_only_volume_is_taken_and_several_are_listed(tmp_path):
    group = zarr.open_group(tmp_path / "g", mode="w")
    group.create_array("line", data=np.arange(4))
    refused(tmp_path / "g", "no array of the axes (Z, Y, X)", "/line (4,) int64")
    group.create_array("deep/down", data=picture(), chunks=(5, 12, 17))
    assert open_volume(tmp_path / "g").source == f"{tmp_path / 'g'}::/deep/down"
    assert open_volume(f"{tmp_path / 'g'}::deep").shape == (5, 12, 17)
    group.create_array("other", data=picture(), chunks=(5, 12, 17))
    refused(tmp_path / "g", "2 arrays", "/deep/down (5, 12, 17) uint16", "::/deep/down")
    refused(f"{tmp_path / 'g'}::line", "(4,)")


@pytest.mark.parametrize("name", ["plain-2.zarr", "plain-3.zarr", "ome-0.4.zarr", "ome-0.5.zarr", "sharded.zarr"])
def test_a_missing_chunk_is_an_error_that_names_it_unless_it_is_allowed(tmp_path, name, monkeypatch):
    monkeypatch.setattr(chunked, "BLOCK_BYTES", 1)
    array = picture()
    path = write(tmp_path, name, array)
    chunks = [f for f in (tmp_path / name).rglob("*") if f.is_file() and f.name[-1].isdigit()]
    chunk = min(f for f in chunks if f.relative_to(tmp_path / name).parts[0] != "1")  # not of the low resolution
    chunk.unlink()
    volume = open_volume(path)
    refused(path, "is missing", chunk.name, "allow missing chunks", read=reading)
    np.testing.assert_array_equal(volume.data[4], array[4])  # the others can be read
    filled = np.asarray(open_volume(path, allow_missing_chunks=True).data)
    assert 0 < (filled != array).sum() < array.size
    assert (filled[filled != array] == 0).all()


def test_a_shard_may_leave_out_chunks_since_its_index_says_so(tmp_path):
    array = np.zeros((4, 8, 8), np.uint8)
    array[0, 0, 0] = 1
    zarr.create_array(tmp_path / "a", data=array, chunks=(2, 4, 4), shards=(4, 8, 8))
    np.testing.assert_array_equal(reading(tmp_path / "a"), array)
    np.testing.assert_array_equal(open_volume(tmp_path / "a").data[2:, 4:], array[2:, 4:])


@pytest.mark.parametrize("compressor", ["blosc", "zstd", "gzip", None])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("keep", [0, 1, 15, 17, 0.5, -1])
def test_a_chunk_that_was_cut_short_is_an_error(tmp_path, compressor, version, keep):
    """Of blosc numcodecs believes the header: it reads past the end, and may end the process."""
    codecs = zarr.codecs
    coders = {
        "blosc": (numcodecs.Blosc(), codecs.BloscCodec(typesize=2)), "zstd": (numcodecs.Zstd(), codecs.ZstdCodec()),
        "gzip": (numcodecs.GZip(), codecs.GzipCodec()), None: (None, None),
    }  # fmt: skip
    coder = coders[compressor][version - 2]
    zarr.create_array(tmp_path / "a", data=picture(), chunks=(5, 12, 17), zarr_format=version, compressors=coder)
    chunk = next(f for f in (tmp_path / "a").rglob("*") if f.is_file() and f.name[-1].isdigit())
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    refused(tmp_path / "a", str(tmp_path), "z 0 to 4", read=reading)


def test_a_chunk_of_more_than_it_may_hold_is_not_decoded(tmp_path):
    zarr.create_array(tmp_path / "a", data=picture(), chunks=(5, 12, 17), compressors=zarr.codecs.GzipCodec())
    chunk = next(f for f in (tmp_path / "a").rglob("*") if f.is_file() and f.name[-1].isdigit())
    chunk.write_bytes(np.random.default_rng(0).bytes(100_000))
    refused(tmp_path / "a", "100000 bytes for a chunk of 2040", read=reading)


@pytest.mark.parametrize("version", [2, 3])
def test_a_terabyte_opens_at_once_and_a_chunk_of_one_is_refused(tmp_path, version):
    options = {"dtype": "u1", "zarr_format": version, "shape": (10**4,) * 3}
    zarr.create_array(tmp_path / "large", chunks=(64, 64, 64), **options)
    assert open_volume(tmp_path / "large").shape == (10**4,) * 3
    refused(tmp_path / "large", "is missing", read=lambda path: open_volume(path).data[5000, 5000, 5000])
    zarr.create_array(tmp_path / "chunk", chunks=(10**4,) * 3, **options)
    refused(tmp_path / "chunk", "too large to be read", "1e+12")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"zarr_format": 3}', "null", '{"zarr_format": 3, "node_type": "array"}', "\0" * 50],
)
@pytest.mark.parametrize("version", [2, 3])
def test_metadata_that_are_no_metadata_are_a_line(tmp_path, version, content):
    zarr.create_array(tmp_path / "a", data=picture(), chunks=(5, 12, 17), zarr_format=version)
    (tmp_path / "a" / (".zarray" if version == 2 else "zarr.json")).write_text(content)
    refused(tmp_path / "a", str(tmp_path))


def test_what_is_no_volume_of_numbers_is_refused(tmp_path):
    def array(name, **options):
        zarr.create_array(tmp_path / name, **options)
        return tmp_path / name

    refused(array("four", data=np.zeros((2, 2, 2, 2))), "(2, 2, 2, 2) is no volume")
    refused(array("none", shape=(0, 4, 4), dtype="u1"), "(0, 4, 4)")
    refused(array("complex", data=np.zeros((2, 2, 2), complex)), "complex128", "float32")
    (tmp_path / "empty.zarr").mkdir()
    refused(tmp_path / "empty.zarr", "no TIFF slices")
    (tmp_path / "file.zarr").write_text("not a folder")
    refused(tmp_path / "file.zarr", "unknown kind")


class Exploit:
    def __reduce__(self):
        return print, ("RAN",)


def test_a_pickle_in_a_chunk_is_not_run(tmp_path, capfd):
    """A codec of zarr 2 unpickles whatever the chunk is, for any type of voxels."""
    zarr.create_array(tmp_path / "a", data=picture(), chunks=(5, 12, 17), zarr_format=2, compressors=None)
    (tmp_path / "a" / "0.0.0").write_bytes(pickle.dumps(Exploit()))
    file = tmp_path / "a" / ".zarray"
    described = json.loads(file.read_text())
    coder, text = {"id": "pickle", "protocol": 4}, {"id": "vlen-utf8"}
    for change in ({"compressor": coder}, {"filters": [coder]}, {"dtype": "|O", "filters": [coder], "fill_value": ""}):
        file.write_text(json.dumps(described | change))
        refused(tmp_path / "a", "pickle", read=reading)
    # behind another codec of objects zarr itself would open it
    for filters in ([text, coder], [coder, text]):
        file.write_text(json.dumps(described | {"dtype": "|O", "filters": filters, "fill_value": ""}))
        refused(tmp_path / "a", read=reading)
    assert "RAN" not in capfd.readouterr().out


def test_a_loop_of_links_in_a_store_ends(tmp_path):
    zarr.open_group(tmp_path / "g", mode="w").create_array("a", data=picture(), chunks=(5, 12, 17))
    (tmp_path / "g" / "again").symlink_to(tmp_path / "g")
    refused(tmp_path / "g", "holds", "/a (5, 12, 17)", "choose one")
    assert open_volume(f"{tmp_path / 'g'}::a").shape == (5, 12, 17)


def test_the_hash_of_a_store_is_of_all_its_files(tmp_path):
    a, b = (ome_zarr(tmp_path / name, picture()) for name in ("a", "b"))
    assert file_sha256(a) == file_sha256(b) == file_sha256(f"{b}::0")
    chunk = next(f for f in (b / "0").rglob("*") if f.is_file() and f.name == "0")
    chunk.write_bytes(chunk.read_bytes() + b"\0")
    assert file_sha256(a) != file_sha256(b)
    with pytest.raises(InputError, match="URL"):
        file_sha256("http://localhost/a.zarr")


def test_without_the_library_the_line_says_what_to_type(tmp_path, monkeypatch):
    path = ome_zarr(tmp_path / "a.zarr", picture())
    monkeypatch.setitem(sys.modules, "zarr", None)
    refused(path, "zarr: pip install 'segbench[formats]'")
    refused("http://localhost/a.zarr", "zarr: pip install 'segbench[formats]'")


class Server(http.server.ThreadingHTTPServer):
    """Files of a folder; `broken` requests are answered by an error first, `log` has what was asked for."""

    request_queue_size = 64  # of more than 5 connections at once one would wait a second

    def __init__(self, folder, *, ranges=True):
        self.log, self.broken, self.ranges = [], 0, ranges
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.log.append(self.path)
        chunk = self.path.rpartition("/")[2][:1].isdigit()
        if chunk and self.server.broken:
            self.server.broken -= 1
            return self.send_error(503)
        span = self.headers.get("Range")
        path = self.translate_path(self.path)
        if not span or not self.server.ranges or not chunk:
            return super().do_GET()
        first, last = span.removeprefix("bytes=").split("-")
        whole = Path(path).read_bytes()
        part = whole[int(first) : int(last) + 1 if last else None] if first else whole[-int(last) :]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        return self.wfile.write(part)


@pytest.fixture
def served(tmp_path):
    servers = []

    def start(**options):
        server = Server(tmp_path, **options)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server, f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
    gc.collect()  # a connection that was left open would be a warning here, and so an error


@pytest.mark.parametrize(
    "name", ["plain-2.zarr", "plain-3.zarr", "ome-0.4.zarr", "ome-0.5.zarr", "ome-5d.zarr", "ome-inside.zarr"]
)
def test_a_url_gives_what_the_folder_gives(tmp_path, served, name):
    array = picture()
    local = open_volume(write(tmp_path, name, array))
    _, url = served()
    volume = open_volume(f"{url}/{local.source.split('::')[0][len(str(tmp_path)) + 1 :]}")
    assert (volume.voxel_um, volume.shape) == (local.voxel_um, local.shape)
    np.testing.assert_array_equal(np.asarray(volume.data), array)
    np.testing.assert_array_equal(volume.data[2:4, 3, ::4], array[2:4, 3, ::4])
    pickled = pickle.dumps(volume)
    assert len(pickled) < 2000  # neither a connection nor what was read
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickled).data), array)


def test_a_url_is_read_by_chunks_and_each_once(tmp_path, served):
    zarr.create_array(tmp_path / "a", data=np.zeros((64, 128, 128), np.uint8) + 1, chunks=(64, 64, 64))
    server, url = served()
    volume = open_volume(f"{url}/a")
    assert not [path for path in server.log if "/c/" in path]
    volume.data[3, 5, 70]
    volume.data[30:, 5, 70:]
    assert [path for path in server.log if "/c/" in path] == ["/a/c/0/0/1"]


def test_a_url_that_fails_for_a_moment_is_asked_again(tmp_path, served, monkeypatch):
    monkeypatch.setattr(zarr_array, "PAUSES", (0.01, 0.01))
    path = write(tmp_path, "plain-3.zarr", picture())
    server, url = served()
    server.broken = 1
    np.testing.assert_array_equal(reading(f"{url}/plain-3.zarr"), picture())
    server.broken = 10**6
    refused(f"{url}/plain-3.zarr", "503", read=reading)
    assert path


def test_a_chunk_that_a_url_lacks_is_missing_at_once(tmp_path, served):
    write(tmp_path, "plain-3.zarr", picture())
    (tmp_path / "plain-3.zarr/c/0/0/0").unlink()
    server, url = served()
    refused(f"{url}/plain-3.zarr", "chunk c/0/0/0 is missing", read=reading)
    assert server.log.count("/plain-3.zarr/c/0/0/0") == 1


def test_shards_need_a_server_that_sends_parts(tmp_path, served):
    array = picture()
    write(tmp_path, "sharded.zarr", array)
    _, url = served()
    refused(f"{url}/sharded.zarr", "cannot be searched", "::/0")
    volume = open_volume(f"{url}/sharded.zarr::a/scan")
    np.testing.assert_array_equal(volume.data[1:3, 2, 3], array[1:3, 2, 3])
    np.testing.assert_array_equal(np.asarray(volume.data), array)
    _, deaf = served(ranges=False)
    refused(f"{deaf}/sharded.zarr::a/scan", "were asked for", read=reading)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://127.0.0.1:1/a.zarr", "cannot be reached"),
        ("gopher://127.0.0.1/a.zarr", "gopher"),
        ("s3://bucket/a.zarr", "s3fs"),
        ("http://127.0.0.1:1/scan.tif", "only zarr is read from a URL"),
    ],
)
def test_a_url_that_cannot_be_opened_is_a_line(url, word):
    refused(url, url, word)


def test_a_url_without_the_array_is_a_line(tmp_path, served):
    ome_zarr(tmp_path / "a.zarr", picture())
    _, url = served()
    refused(f"{url}/b.zarr", "cannot be reached, is no zarr")
    refused(f"{url}/a.zarr::9", "has no array /9")


def test_a_process_that_read_a_url_ends_in_silence(tmp_path, served):
    write(tmp_path, "plain-3.zarr", picture())
    _, url = served()
    code = f"import numpy, segbench; print(numpy.asarray(segbench.open_volume('{url}/plain-3.zarr').data).sum())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (str(picture().sum()), "")


def test_the_marks_of_a_store_that_was_half_deleted_are_no_volume(tmp_path):
    path = ome_zarr(tmp_path / "a.zarr", picture())
    shutil.rmtree(path / "0")
    refused(path, "damaged")
    assert zarr_module.REMOTE_WORKERS > 1
