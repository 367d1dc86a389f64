"""A result as a page: what it carries is what the arrays hold, and no text in a file becomes markup or code."""

import base64
import hashlib
import json
import re
import shutil
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import tifffile
import zarr
from test_cli import refused
from view_results import write_result

from segbench.errors import InputError
from segbench.view import grey, layers
from segbench.view.result import Level, open_result
from segbench.view.run import view
from segbench.volume import Volume

SHAPE = (21, 37, 40)
HOSTILE = "</script><script>alert(1)</script><!-- {{script}} & \u2028 ' \""
COLOURS = ((0, (0, 0, 0, 0)), (1, (230, 159, 0, 255)))


class Result:
    """A result in a folder with its scan, and the arrays that they were made of."""

    def __init__(self, folder, shape=SHAPE, voxel_um=(2.0, 0.5, 0.5), seed=0, **options):
        random = np.random.default_rng(seed)
        self.scan = folder / "scan.tif"
        self.image = random.integers(0, 60000, shape, dtype=np.uint16)
        tifffile.imwrite(self.scan, self.image, photometric="minisblack")
        self.maps = random.integers(0, 6900, (4, *shape), dtype=np.uint16)
        self.labels = random.integers(0, 2, shape, dtype=np.uint8)
        said = {
            "source": str(self.scan), "model": "vnet-battery", "model_version": "0.3.0", "version": "0.2.0",
            "samples": 16, "seed": 7, "classes": ["void", "active"],
            "summary": {"fractions": {"active": {"mean": 0.25, "low": 0.2, "high": 0.3}}},
        }  # fmt: skip
        options = {"said": said, "colours": COLOURS, "voxel_um": voxel_um} | options
        self.folder = write_result(folder / "result.zarr", self.maps, self.labels, **options)
        self.page = folder / "result.html"

    def stored(self, path):
        return np.asarray(zarr.open_array(self.folder, path=path, mode="r")[...])


class Seen(HTMLParser):
    """The elements of a page as a browser takes them apart, and the text of its scripts by their id."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.scripts, self.policy, self.outside = [], {}, "", []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.outside += [value for name, value in attributes if name in ("src", "href", "style") or name[:2] == "on"]
        self.policy += found.get("content", "") if found.get("http-equiv") else ""
        if tag == "script":
            self.scripts[found.get("id", "main")] = ""

    def handle_data(self, text):
        if self.cdata_elem == "script":
            self.scripts[list(self.scripts)[-1]] += text

    @property
    def about(self):
        return json.loads(self.scripts["about"])

    def layer(self, name):
        packed = self.scripts[f"layer-{name}"]
        return np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8).reshape(self.about["shape"])

    def values(self, name):
        """What the page's script makes of a layer's bytes."""
        low, high = self.about["layers"][name]["low"], self.about["layers"][name]["high"]
        return low + self.layer(name) / 255 * (high - low)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A good result. Do not change it: copy it."""
    return Result(tmp_path_factory.mktemp("made"))


@pytest.fixture
def copied(made, tmp_path):
    shutil.copytree(made.folder, tmp_path / "result.zarr")
    return tmp_path / "result.zarr"


def means(image, factor, shape):
    """Block by block, as the definition says."""
    out = np.empty(shape)
    for z, y, x in np.ndindex(*shape):
        block = tuple(slice(i * f, (i + 1) * f) for i, f in zip((z, y, x), factor, strict=True))
        out[z, y, x] = image[block].mean()
    return out


def as_bytes(values, low, high):
    return np.floor(np.clip((values - low) / (high - low), 0, 1) * 255 + 0.5).astype(np.uint8)


def test_a_page_carries_the_arrays(made, tmp_path):
    written = view(made.folder, tmp_path / "p.html")
    page = Seen(tmp_path / "p.html")
    assert written.warnings == ()
    assert written.bytes == (tmp_path / "p.html").stat().st_size
    assert page.about["shape"] == list(SHAPE)
    np.testing.assert_array_equal(page.layer("labels"), made.labels)
    np.testing.assert_array_equal(page.layer("probability"), as_bytes(made.maps[0], 0, 10000))
    np.testing.assert_array_equal(page.layer("entropy"), as_bytes(made.maps[1], 0, 6931))
    np.testing.assert_array_equal(page.layer("mutual_information"), as_bytes(made.maps[2], 0, made.maps[2].max()))
    for channel, name in enumerate(("probability", "entropy", "mutual_information")):
        step = page.about["layers"][name]["high"] / 255
        assert np.abs(page.values(name) - made.maps[channel] / 10000).max() <= step / 2 + 1e-9
    low, high = np.percentile(made.image, (0.1, 99.9))
    assert np.abs(page.values("grey") - np.clip(made.image, low, high)).max() <= (high - low) / 255 / 2 * 1.001


@pytest.mark.parametrize(("edge", "level", "factor", "said"), [
    (40, 0, [1, 1, 1], "full resolution"), (39, 1, [2, 2, 2], "1/2 resolution"), (19, 2, [4, 4, 4], "1/4 resolution"),
])  # fmt: skip
def test_the_finest_level_that_fits_the_edge(made, tmp_path, edge, level, factor, said):
    assert view(made.folder, tmp_path / "p.html", edge=edge).resolution == said
    page = Seen(tmp_path / "p.html")
    stored = made.stored(f"{level}")
    assert page.about["shape"] == list(stored.shape[1:])
    assert page.about["factor"] == factor
    assert ["shown at", said] in page.about["facts"]
    np.testing.assert_array_equal(page.layer("labels"), made.stored(f"labels/segmentation/{level}"))
    np.testing.assert_array_equal(page.layer("entropy"), as_bytes(stored[1], 0, 6931))
    expected = means(made.image, factor, stored.shape[1:])
    low, high = np.percentile(expected, (0.1, 99.9))
    assert np.abs(page.layer("grey") - np.clip((expected - low) / (high - low), 0, 1) * 255).max() <= 0.501


@pytest.mark.parametrize("limit", ["PAGE_BYTES", "HELD_BYTES"])
def test_a_page_that_would_be_too_large_is_coarser(made, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(layers, limit, 60_000)
    assert view(made.folder, tmp_path / "p.html").resolution == "1/2 resolution"


def test_levels_of_which_none_can_be_carried(made, tmp_path, segbench, monkeypatch):
    small = Result(tmp_path, smallest=20)
    refused(segbench("view", small.folder, "--out", small.page, "--edge", 16), r"11 x 19 x 20.*--edge 20")
    monkeypatch.setattr(layers, "HELD_BYTES", 1)
    refused(segbench("view", small.folder, "--out", small.page), "too large for a page")
    assert not small.page.exists()


def test_halves_that_were_rounded_up_or_down():
    def factor(shape, finer=(5, 7, 1), times=(2, 4, 1)):
        from segbench.view.result import _times

        return _times(Level("0", "0", finer, times), shape, "x")

    assert factor((2, 3, 1)) == factor((3, 4, 1)) == (4, 8, 1)
    assert factor((5, 4, 1)) == (2, 8, 1)
    with pytest.raises(InputError, match="no half"):
        factor((1, 4, 1))


def test_means_of_levels_whose_halves_were_rounded_down():
    image = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)
    found = grey.reduced(Volume(image), Level("1", "1", (2, 3, 3), (2, 2, 2)))
    np.testing.assert_allclose(found, means(image[:4, :, :6], (2, 2, 2), (2, 3, 3)))


def test_a_scan_is_read_in_parts(monkeypatch):
    class Counted:
        def __init__(self, array):
            self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

        def __getitem__(self, key):
            self.read.append(self.array[key].shape)
            return self.array[key]

    monkeypatch.setattr("segbench.io.checks.BLOCK_VOXELS", 3 * 8 * 8)
    data, told = Counted(np.random.default_rng(0).random((10, 8, 8))), []
    found = grey.reduced(Volume(data), Level("2", "2", (3, 2, 2), (4, 4, 4)), lambda *n: told.append(n))
    np.testing.assert_allclose(found, means(data.array, (4, 4, 4), (3, 2, 2)), rtol=1e-6)
    assert data.read == [(3, 8, 8), (3, 8, 8), (3, 8, 8), (1, 8, 8)]
    assert told == [(3, 10), (6, 10), (9, 10), (10, 10)]


def test_where_a_second_network_decided_is_an_overlay_of_its_own(made, copied, tmp_path):
    view(made.folder, tmp_path / "p.html")
    assert "doubted" not in Seen(tmp_path / "p.html").about["layers"]
    shutil.copytree(copied / "labels" / "segmentation", copied / "labels" / "doubted")
    view(copied, tmp_path / "p.html", scan=str(made.scan), edge=39)
    page = Seen(tmp_path / "p.html")
    assert page.about["layers"]["doubted"]["title"] == "second network"
    np.testing.assert_array_equal(page.values("doubted"), made.stored("labels/segmentation/1"))
    shutil.rmtree(copied / "labels" / "doubted" / "1")
    with pytest.raises(InputError, match="damaged"):
        view(copied, tmp_path / "other.html")
    assert not (tmp_path / "other.html").exists()


def test_a_single_slice(tmp_path):
    one = Result(tmp_path, (1, 30, 20))
    view(one.folder, one.page, edge=16)
    page = Seen(one.page)
    assert page.about["shape"] == [1, 15, 10]
    assert page.about["factor"] == [1, 2, 2]
    assert ["shown at", "1/2 resolution"] in page.about["facts"]


def test_what_the_header_says(made, tmp_path):
    view(made.folder, tmp_path / "p.html")
    about = Seen(tmp_path / "p.html").about
    facts = dict(about["facts"])
    assert (facts["model"], facts["segbench"]) == ("vnet-battery 0.3.0", "0.2.0")
    assert (facts["samples"], facts["seed"], facts["scan"]) == ("16", "7", str(made.scan))
    assert facts["voxel size"] == "2 x 0.5 x 0.5 µm"
    assert about["voxel_um"] == [2.0, 0.5, 0.5]
    assert about["shares"] == [{"name": "active", "mean": 0.25, "low": 0.2, "high": 0.3}]
    assert [(c["value"], c["name"], tuple(c["rgba"])) for c in about["classes"]] == [
        (0, "void", COLOURS[0][1]), (1, "active", COLOURS[1][1]),
    ]  # fmt: skip


def test_maps_in_the_unit_that_the_result_says(tmp_path):
    coarse = Result(tmp_path, said={"unit_of_maps": 1e-3, "classes": ["a", "b", "c"]})
    view(coarse.folder, coarse.page)
    page = Seen(coarse.page)
    assert page.about["layers"]["probability"]["high"] == pytest.approx(1)
    # of three classes; but nothing is cut
    assert page.about["layers"]["entropy"]["high"] == pytest.approx(max(1.099, coarse.maps[1].max() / 1000))
    np.testing.assert_array_equal(page.layer("probability"), as_bytes(coarse.maps[0], 0, 1000))
    np.testing.assert_array_equal(page.layer("entropy"), as_bytes(coarse.maps[1], 0, coarse.maps[1].max()))


def test_without_a_voxel_size(tmp_path):
    plain = Result(tmp_path, voxel_um=None)
    view(plain.folder, plain.page)
    about = Seen(plain.page).about
    assert about["voxel_um"] is None
    assert ["voxel size", "unknown"] in about["facts"]


@pytest.mark.parametrize("said", [
    None, [], {}, {"classes": "void", "summary": {"fractions": [1]}, "samples": "16", "source": 3, "warnings": 1},
    {"classes": [None, 3], "summary": {"fractions": {"a": None, "b": {"mean": float("nan")}}}, "seed": True},
])  # fmt: skip
def test_nothing_of_what_a_result_says_of_itself_has_to_be_there(tmp_path, said):
    bare = Result(tmp_path, said=said, colours=((1, (300, -1, "x", 255)), ("a", (1,)), (2, (1, 2))))
    (sentence,) = view(bare.folder, bare.page).warnings
    assert "does not say where its scan is" in sentence
    page = Seen(bare.page)
    assert page.about["warnings"] == [sentence]
    assert page.about["shares"] == []
    assert "grey" not in page.about["layers"]
    np.testing.assert_array_equal(page.layer("labels"), bare.labels)


def test_hostile_text_stays_text(tmp_path):
    plain = Result(tmp_path)
    share = {"mean": 0.5, "low": 0.4, "high": 0.6}
    said = {
        "source": f"/scans/{HOSTILE}.tif", "model": HOSTILE, "model_version": "\x1b[31m\u202e", "warnings": [HOSTILE],
        "classes": ["void", HOSTILE], "summary": {"fractions": {HOSTILE: share}},
    }  # fmt: skip
    view(plain.folder, plain.page)
    good = Seen(plain.page)
    for name in ("result.zarr", "<img src=x onerror=alert(1)>.zarr"):
        hostile = Result(tmp_path, said=said)
        folder = hostile.folder.rename(tmp_path / name)
        view(folder, tmp_path / "h.html")
        bad = Seen(tmp_path / "h.html")
        assert [tag for tag in bad.tags if tag != "script"] == [tag for tag in good.tags if tag != "script"]
        assert set(bad.scripts) == set(good.scripts) - {"layer-grey"}
        assert bad.scripts["main"] == good.scripts["main"]
        shown = " ".join(HOSTILE.split())
        assert bad.about["classes"][1]["name"] == bad.about["shares"][0]["name"] == shown
        assert dict(bad.about["facts"])["model"].startswith(shown)
        text = (tmp_path / "h.html").read_text()
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_a_page_asks_for_nothing_and_runs_its_own_script_only(made, tmp_path):
    view(made.folder, tmp_path / "p.html")
    page, text = Seen(tmp_path / "p.html"), (tmp_path / "p.html").read_text()
    assert not page.outside
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|innerHTML|eval\(", text)
    digest = base64.b64encode(hashlib.sha256(page.scripts["main"].encode()).digest()).decode()
    assert page.policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'sha256-")
    assert "{{" not in text


def test_a_scan_that_moved(made, tmp_path):
    said = {"source": str(tmp_path / "gone.tif")}
    moved = Result(tmp_path, said=said)
    (sentence,) = view(moved.folder, moved.page).warnings
    assert "gone.tif" in sentence
    assert Seen(moved.page).about["warnings"] == [sentence]
    assert view(moved.folder, moved.page, scan=str(moved.scan)).warnings == ()
    beside = Result(tmp_path, said={"source": moved.scan.name})
    assert view(beside.folder, beside.page).warnings == ()
    assert "grey" in Seen(moved.page).about["layers"]


def test_another_scan_a_damaged_one_and_one_on_a_server(tmp_path, segbench, monkeypatch):
    result = Result(tmp_path)
    tifffile.imwrite(tmp_path / "other.tif", np.zeros((3, 4, 5), np.uint8), photometric="minisblack")
    code, _, err = segbench("view", result.folder, "--out", result.page, "--scan", tmp_path / "other.tif")
    assert code == 0
    assert "it is another scan" in err
    data = result.scan.read_bytes()
    result.scan.write_bytes(data[: len(data) // 2])
    (sentence,) = view(result.folder, result.page).warnings
    assert sentence.startswith("Without grey values: ")
    remote = Result(tmp_path, said={"source": "http://127.0.0.1:9/scan.zarr"})
    monkeypatch.setattr(grey, "open_volume", lambda path: pytest.fail("asked a server that a file named"))
    (sentence,) = view(remote.folder, remote.page).warnings
    assert "--scan" in sentence
    with pytest.raises(InputError, match="--scan"):
        grey.open_scan("http:/127.0.0.1:9/scan.zarr::0", SHAPE, trusted=False)  # a Path makes one slash of two
    for odd in ("a\0b", "\ud800"):
        monkeypatch.undo()
        with pytest.raises(InputError):
            grey.open_scan(odd, SHAPE, trusted=False)


def test_the_command(made, tmp_path, segbench):
    code, out, err = segbench("view", made.folder, "--out", tmp_path / "p.html", "--edge", 20)
    assert (code, err) == (0, "")
    assert re.search(r"p\.html: 0\.\d MB, at 1/2 resolution", out)


def chunk(folder, path):
    return sorted(file for file in (folder / path / "c").rglob("*") if file.is_file())[0]


def attributes(folder, change):
    file = folder / "zarr.json"
    described = json.loads(file.read_text())
    change(described["attributes"])
    file.write_text(json.dumps(described))


BROKEN = {
    "no folder": (shutil.rmtree, "there is no such folder"),
    "an empty folder": (lambda f: (shutil.rmtree(f), f.mkdir()), "no zarr group"),
    "another zarr": (lambda f: (shutil.rmtree(f), zarr.create_group(f)), "no result of `segbench predict`, or an unf"),
    "an array": (lambda f: (shutil.rmtree(f), zarr.create_array(f, shape=(3,), dtype="u1")), "no zarr group"),
    "broken JSON": (lambda f: (f / "zarr.json").write_text("{"), "no zarr group"),
    "a map is missing": (lambda f: attributes(f, lambda a: a["ome"]["omero"]["channels"].pop(1)), "no map 'entropy'"),
    "no levels": (lambda f: attributes(f, lambda a: a["ome"].pop("multiscales")), "damaged"),
    "a level above": (
        lambda f: attributes(f, lambda a: a["ome"]["multiscales"][0]["datasets"][0].update(path="../x")), "damaged",
    ),
    "fewer levels": (
        lambda f: attributes(f, lambda a: a["ome"]["multiscales"][0]["datasets"].pop()), "run what is missing",
    ),
    "no labels": (lambda f: shutil.rmtree(f / "labels"), "damaged"),
    "a level is missing": (lambda f: shutil.rmtree(f / "1"), "damaged"),
    "labels of another shape": (
        lambda f: zarr.create_array(f / "labels/segmentation/0", shape=(3, 4, 5), dtype="u1", overwrite=True),
        "differ in shape",
    ),
    "labels of another type": (
        lambda f: zarr.create_array(f / "labels/segmentation/0", shape=SHAPE, dtype="f4", overwrite=True),
        "not uint8",
    ),
    "a missing chunk": (lambda f: chunk(f, "0").unlink(), "0/c/0/0/0/0 is missing"),
    "a missing chunk of labels": (lambda f: chunk(f, "labels/segmentation/0").unlink(), "is missing"),
    "a chunk cut short": (lambda f: chunk(f, "0").write_bytes(chunk(f, "0").read_bytes()[:100]), "damaged"),
    "an empty chunk": (lambda f: chunk(f, "0").write_bytes(b""), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_whole_result(copied, tmp_path, segbench, what):
    break_it, pattern = BROKEN[what]
    break_it(copied)
    out = tmp_path / "p.html"
    out.write_text("before")
    refused(segbench("view", copied, "--out", out), pattern)
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.glob("*.html*")) == ["p.html"]


def test_a_blosc_chunk_that_is_cut_short_is_not_decoded(made, tmp_path):
    """It may end the process."""
    folder = tmp_path / "result.zarr"
    shutil.copytree(made.folder, folder)
    codec = zarr.codecs.BloscCodec()
    array = zarr.create_array(
        folder / "0", data=made.maps, chunks=(1, 16, 16, 16), compressors=[codec], overwrite=True
    )  # fmt: skip
    assert np.array_equal(array[...], made.maps)
    view(folder, tmp_path / "p.html")
    file = chunk(folder, "0")
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(InputError, match="cut short"):
        view(folder, tmp_path / "p.html")


def test_shards(made, tmp_path):
    folder = tmp_path / "result.zarr"
    shutil.copytree(made.folder, folder)
    zarr.create_array(
        folder / "0", data=made.maps, chunks=(1, 8, 8, 8), shards=(4, 16, 16, 16), overwrite=True,
        config={"write_empty_chunks": True},
    )  # fmt: skip
    result = open_result(folder)
    np.testing.assert_array_equal(result.read_map("entropy", result.levels[0]), made.maps[1])
    chunk(folder, "0").unlink()
    with pytest.raises(InputError, match="is missing"):
        result.read_map("entropy", result.levels[0])


@pytest.mark.parametrize(("out", "options", "pattern"), [
    ("", (), "it is a folder"), ("file/p.html", (), "cannot be written"), ("p.html", ("--edge", 8), "edge is 8"),
])  # fmt: skip
def test_where_no_page_can_be_written(made, tmp_path, segbench, out, options, pattern):
    (tmp_path / "file").touch()
    refused(segbench("view", made.folder, "--out", tmp_path / out, *options), pattern)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
