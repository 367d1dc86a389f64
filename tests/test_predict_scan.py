"""Scans into results on disk: the same bytes however the work was cut, and nothing lost when it stops."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zarr
from conftest import blobs

from segbench import io
from segbench.data import battery16
from segbench.data.domains import DOMAINS
from segbench.engines import start
from segbench.errors import InputError, OutputError
from segbench.predict import predict, pyramid
from segbench.predict.folder import Folder
from segbench.predict.job import start as job
from segbench.predict.job import wanted
from segbench.predict.result import MAPS, UNIT, Result, level_shapes, quantised
from segbench.predict.scan import Request, predict_scan
from segbench.tiling import Grid
from segbench.volume import Volume
from segbench.zoo import Model, find

SHAPE = (20, 27, 33)


def silent(what, done, total, voxels):
    """No progress."""


def tree(path):
    """Hash of every file below a folder, by name."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def small(tiny):
    """The tiny model with small tiles, so that a small volume has several."""
    card = tiny.card.model_copy(
        update={"input": tiny.card.input.model_copy(update={"core": (8, 16, 16), "halo": (4, 4, 4)})}
    )
    return Model(card=card, path=tiny.path)


@pytest.fixture
def request_(small, tmp_path):
    def make(out="a.zarr", **changes):
        volume = Volume(blobs(SHAPE) * 3000 + 100, (1.0, 0.5, 0.25), "scan")
        return Request(**{"volume": volume, "model": small, "engine": start(small, "fake"), "out": tmp_path / out,
                          "samples": 5, "keep_samples": 2, **changes})  # fmt: skip

    return make


def test_a_result_holds_what_is_predicted_in_memory(request_, small):
    asked = request_(engine=start(small, "onnxruntime", threads=2))
    outcome = predict_scan(asked, silent)
    expected = predict(asked.volume, small.card, asked.engine, samples=5)
    maps = zarr.open_array(asked.out / "0", mode="r")[:]
    labels = zarr.open_array(asked.out / "labels/segmentation/0", mode="r")[:]
    np.testing.assert_array_equal(labels, expected.labels)
    for channel, values in zip(maps, (expected.probability, expected.entropy, expected.mutual, expected.spread),
                               strict=True):  # fmt: skip
        np.testing.assert_allclose(channel * UNIT, values, atol=UNIT / 2 + 1e-6)
    assert outcome.summary.fractions["active"].labels == pytest.approx(labels.mean())
    assert outcome.summary.entropy == pytest.approx(expected.entropy.mean(), rel=1e-5)


def test_kept_samples_are_draws_and_their_shares_the_interval(request_, small):
    asked = request_(keep_samples=5)
    summary = predict_scan(asked, silent).summary
    shares = [zarr.open_array(asked.out / f"labels/sample-{t:04d}/0", mode="r")[:].mean() for t in range(5)]
    assert len(set(shares)) > 1
    found = summary.fractions["active"]
    assert found.mean == pytest.approx(np.mean(shares))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(shares, (5, 95))))
    assert summary.fractions["void"].mean == pytest.approx(1 - np.mean(shares))


@pytest.mark.parametrize("voxel", [None, (1.0, 0.5, 0.25)])
def test_a_result_passes_an_ngff_validator(request_, voxel):
    from ome_zarr_models.v05.image import Image
    from ome_zarr_models.v05.image_label import ImageLabel

    asked = request_(volume=Volume(blobs((20, 27, 33)), voxel, "scan"))
    predict_scan(asked, silent)
    image = Image.from_zarr(zarr.open_group(asked.out, mode="r"))
    assert len(image.attributes.ome.multiscales[0].datasets) == len(list(level_shapes(SHAPE, 16)))
    for name in ("segmentation", "sample-0000", "sample-0001"):
        ImageLabel.from_zarr(zarr.open_group(asked.out / "labels" / name, mode="r"))


def test_levels_are_means_and_commonest_labels(request_):
    asked = request_()
    predict_scan(asked, silent)
    for level in (1, 2):
        fine, coarse = (zarr.open_array(asked.out / str(n), mode="r")[:] for n in (level - 1, level))
        assert coarse.shape[1:] == tuple((n + 1) // 2 for n in fine.shape[1:])
        z, y, x = (n // 2 for n in fine.shape[1:])
        whole = fine[:, : 2 * z, : 2 * y, : 2 * x].astype(float).reshape(4, z, 2, y, 2, x, 2).mean(axis=(2, 4, 6))
        assert np.abs(coarse[:, :z, :y, :x] - whole).max() <= 0.5
        fine, coarse = (
            zarr.open_array(asked.out / f"labels/segmentation/{n}", mode="r")[:] for n in (level - 1, level)
        )
        share = fine[: 2 * z, : 2 * y, : 2 * x].reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5))
        np.testing.assert_array_equal(coarse[:z, :y, :x], share > 0.5)


def test_the_commonest_of_three_labels_by_hand():
    block = np.array([[[2, 2], [2, 1]], [[1, 1], [0, 0]]], np.uint8)
    assert pyramid.commonest(block, 3).tolist() == [[[1]]]  # three of 1, three of 2: the lower one
    assert pyramid.mean(np.array([[[0, 1, 5]]], np.uint16)).tolist() == [[[1, 5]]]  # 0.5 up; the end counts twice


def test_maps_are_rounded_to_the_nearest_unit():
    assert quantised(np.array([0, 0.0004, 0.0006, 0.5, 1], np.float32)).tolist() == [0, 0, 1, 500, 1000]


def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(request_, small):
    whole = request_("whole.zarr")
    predict_scan(whole, silent)

    class Failing:
        def __init__(self, after):
            self.engine, self.left = start(small, "fake"), after

        def __getattr__(self, name):
            return getattr(self.engine, name)

        def bind(self, masks):
            run = self.engine.bind(masks)

            def once(image, inner):
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
                return run(image, inner)

            return once

    for after in (3, 0, 5):
        with pytest.raises(KeyboardInterrupt):
            predict_scan(request_(engine=Failing(after)), silent)
        assert not request_().out.exists()
    outcome = predict_scan(request_(), silent)
    assert 0 < outcome.computed <= outcome.tiles - 8
    assert tree(request_().out) == tree(whole.out)
    assert not Folder(request_().out).path.exists()
    again = predict_scan(request_(), silent)
    assert (again.computed, again.summary) == (0, outcome.summary)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_shards_in_any_order_give_the_bytes_of_one_process(request_, order):
    whole = request_("whole.zarr")
    predict_scan(whole, silent)
    outcomes = [predict_scan(request_(shard=(n, 3)), silent) for n in order]
    assert [o.summary is None for o in outcomes] == [True, True, False]
    total = outcomes[0].tiles
    assert sum(o.computed for o in outcomes) == total
    assert len(outcomes[0].missing) == total - outcomes[0].computed
    assert tree(request_().out) == tree(whole.out)


def test_another_process_at_work_is_told(request_):
    asked = request_()
    folder = Folder(asked.out)
    folder.make(0)
    with folder.held((0, 1)), pytest.raises(OutputError, match="another process is writing it"):
        predict_scan(asked, silent)
    with folder.held((1, 3)):
        with pytest.raises(OutputError, match="another process"):
            predict_scan(asked, silent)
        with pytest.raises(OutputError, match="shard 1/3"):
            predict_scan(request_(shard=(1, 3)), silent)
        assert predict_scan(request_(shard=(0, 3)), silent).missing


def test_other_work_under_the_name_is_refused_and_kept(request_):
    asked = request_()
    predict_scan(asked, silent)
    before = tree(asked.out)
    for changes, what in (({"samples": 6}, "another samples"), ({"seed": 1}, "another seed"),
                          ({"volume": Volume(blobs(SHAPE) * 2, (1.0, 0.5, 0.25))}, "another scan"),
                          ({"invert": True}, "another inverted"),
                          ({"keep_samples": 1}, "another keep samples")):  # fmt: skip
        with pytest.raises(OutputError, match=what):
            predict_scan(request_(**changes), silent)
    assert tree(asked.out) == before
    assert predict_scan(request_(samples=6, restart=True), silent).summary.job.wanted.samples == 6


def test_what_is_no_result_is_never_touched(request_):
    asked = request_()
    asked.out.mkdir()
    (asked.out / "thesis.txt").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(OutputError, match="no result of segbench predict"):
            predict_scan(request_(restart=restart), silent)
    assert (asked.out / "thesis.txt").read_text() == "years of work"


def test_a_restart_of_one_of_several_shards_is_refused(request_):
    with pytest.raises(InputError, match="other shards"):
        predict_scan(request_(shard=(0, 2), restart=True), silent)
    with pytest.raises(InputError, match="0/2 to 1/2"):
        predict_scan(request_(shard=(2, 2)), silent)
    with pytest.raises(InputError, match="5 samples to keep"):
        predict_scan(request_(keep_samples=6), silent)


def test_a_disk_that_fills_up_loses_nothing(request_, monkeypatch):
    whole, asked = request_("whole.zarr"), request_()
    predict_scan(whole, silent)
    write, left = Result.write, [4]

    def full(self, tile, found):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, tile, found)

    monkeypatch.setattr(Result, "write", full)
    with pytest.raises(OutputError, match=r"No space left on device.*free some space"):
        predict_scan(asked, silent)
    monkeypatch.undo()
    assert predict_scan(asked, silent).computed < len(Grid(SHAPE, (8, 16, 16), (4, 4, 4)))
    assert tree(asked.out) == tree(whole.out)


def test_too_full_a_disk_is_told_before_the_first_tile(request_, monkeypatch):
    monkeypatch.setattr("segbench.io.atomic.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match=r"MB are needed and 0\.0 MB are free"):
        predict_scan(request_(), silent)


def test_tiff_files_hold_the_same(request_):
    asked = request_()
    predict_scan(asked, silent)
    files = request_("tiffs", format="tiff")
    predict_scan(files, silent)
    maps = zarr.open_array(asked.out / "0", mode="r")[:]
    for name, channel in zip(MAPS, maps, strict=True):
        np.testing.assert_array_equal(tifffile.imread(files.out / f"{name}.tif"), channel)
    labels = zarr.open_array(asked.out / "labels/segmentation/0", mode="r")[:]
    np.testing.assert_array_equal(tifffile.imread(files.out / "labels.tif"), labels)
    assert sorted(p.name for p in files.out.iterdir())[-1] == "summary.json"
    opened = io.open_volume(files.out / "labels.tif")
    assert opened.shape == SHAPE
    assert predict_scan(files, silent).computed == 0


def command(scan, out, model, *more):
    return [sys.executable, "-m", "segbench", "predict", str(scan), "--zoo", str(model), "--out", str(out),
            "--samples", "4", "--engine", "fake", *more]  # fmt: skip


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, (blobs((48, 64, 64)) * 200).astype(np.uint8))
    return path


def test_the_command_says_what_it_did_and_what_is_missing(scan, tiny, tmp_path):
    run = lambda *more: subprocess.run(command(scan, tmp_path / "a.zarr", tiny.path, *more), capture_output=True,  # noqa: E731
                                       text=True, check=False)  # fmt: skip
    first = run("--shard", "1/2", "--voxel-um", "0.5")
    assert first.returncode == 0, first.stderr
    assert "of shard 0/2" in first.stderr
    second = run("--shard", "0/2", "--voxel-um", "0.5")
    assert "Phase fractions" in second.stdout
    assert "active" in second.stdout
    wrong = run("--voxel-um", "0.7")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "another voxel um" in wrong.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--shard", "2/2"), "0/2 to 1/2"),
        (("--shard", "x"), "give i/n"),
        (("--voxel-um", "a,b"), "one number in µm"),
        (("--format", "jpeg"), "Known: zarr, tiff"),
        (("--dask", "local:x"), "local:N"),
        (("--samples", "-1"), "at least 0"),
        (("--engine", "abacus"), "unknown engine"),
        (("--zoo", "nothing"), "unknown model"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(segbench, scan, tiny, tmp_path, options, says):
    code, _, err = segbench(*command(scan, tmp_path / "a.zarr", tiny.path)[3:], *options)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a.zarr").exists()


def test_dask_workers_give_the_bytes_of_one_process(scan, tiny, tmp_path):
    pytest.importorskip("distributed")
    for name, more in (("a.zarr", ()), ("b.zarr", ("--dask", "local:2"))):
        done = subprocess.run(command(scan, tmp_path / name, tiny.path, *more), capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "b.zarr")


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(scan, tiny, tmp_path):
    options = ("--engine", "onnxruntime", "--samples", "64", "--threads", "1")
    asked = command(scan, tmp_path / "a.zarr", tiny.path, *options)
    process = subprocess.Popen(asked, stderr=subprocess.PIPE, text=True, preexec_fn=_listen)  # noqa: PLW1509
    assert process.stderr.readline().startswith("segmenting: 0 of")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("segbench: interrupted")
    assert "Traceback" not in err
    assert not (tmp_path / "a.zarr").exists()
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _listen():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background does not hear it


def killed_runs(scan, model, out, times, rng):
    """Starts the command and kills it at a random moment, so many times; then lets it end."""
    started = time.monotonic()
    subprocess.run(command(scan, out.with_name("timed.zarr"), model, "--quiet"), check=True)
    seconds = time.monotonic() - started
    for _ in range(times):
        process = subprocess.Popen(command(scan, out, model, "--quiet"), start_new_session=True)
        try:
            process.wait(timeout=float(rng.uniform(0.3, 1.1)) * seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(command(scan, out, model, "--quiet"), check=True)


def test_killed_at_any_moment_the_same_command_goes_on(scan, tiny, tmp_path):
    killed_runs(scan, tiny.path, tmp_path / "a.zarr", 4, np.random.default_rng(0))
    subprocess.run(command(scan, tmp_path / "b.zarr", tiny.path, "--quiet"), check=True)
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "b.zarr")
    assert sorted(Path(p).name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr", "scan.tif", "timed.zarr"]


def test_tiles_leave_no_seams():
    """Across borders of tiles the default model's probability steps as where no border is; with no halo it does not."""
    (case,) = battery16.load({"Tesla": DOMAINS["Tesla"]}, 64)
    model = find("vnet-battery")
    engine, halo = start(model, "openvino", threads=2), model.card.input.halo

    def steps(core, halo):
        tiled = model.card.input.model_copy(update={"core": core, "halo": halo})
        card = model.card.model_copy(update={"input": tiled})
        found = predict(Volume(case.image), card, engine, samples=2).probability
        return np.array([np.abs(np.diff(found, axis=axis)).take(31, axis).mean() for axis in (1, 2)])

    one = steps((64, 64, 64), halo)
    with_halo, without = (np.abs(steps((64, 32, 32), h) / one - 1) for h in (halo, (16, 0, 0)))
    assert (with_halo < 0.1 * without).all(), (with_halo, without)


def test_a_scan_is_the_same_in_any_format(segbench, tiny, tmp_path):
    h5py = pytest.importorskip("h5py")
    grey = (blobs((24, 32, 20)) * 200 + 1000).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", grey)
    (tmp_path / "stack").mkdir()
    for z, plane in enumerate(grey):
        tifffile.imwrite(tmp_path / "stack" / f"s{z}.tif", plane)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = grey
    zarr.save_array(tmp_path / "in.zarr", grey)
    grey.astype(">u2").tofile(tmp_path / "a.raw")
    flags = ("--raw-shape", "24,32,20", "--raw-dtype", "uint16", "--raw-byte-order", "big")
    trees = []
    for number, (name, more) in enumerate(
        [
            ("a.tif", ()),
            ("stack", ()),
            ("stack/s*.tif", ()),
            ("a.h5::/entry/data", ()),
            ("in.zarr", ()),
            ("a.raw", flags),
        ]
    ):
        out = tmp_path / f"{number}.zarr"
        code, _, err = segbench(*command(tmp_path / name, out, tiny.path, "--quiet", *more)[3:])
        assert (code, err) == (0, "")
        trees.append({name: digest for name, digest in tree(out).items() if name != "zarr.json"})  # names the source
    assert all(found == trees[0] for found in trees)


def test_a_refused_scan_leaves_nothing_but_what_was_computed(request_, tmp_path):
    same = Volume(np.full(SHAPE, 7, np.uint8), source="same")
    with pytest.raises(InputError, match="constant"):
        predict_scan(request_("new.zarr", volume=same), silent)
    assert not any(path.name.startswith("new") for path in tmp_path.iterdir())
    begun = Folder(tmp_path / "begun.zarr")
    begun.make(0)
    asked = request_()
    begun.write_job(job(asked.volume, asked.model, wanted(asked.volume, asked.model, asked.engine, 5, 0, invert=False,
                                                          keep=2, form="zarr")))  # fmt: skip
    with pytest.raises(OutputError, match="another scan"):
        predict_scan(request_("begun.zarr", volume=same), silent)
    assert begun.job.exists()
    with pytest.raises(InputError, match="constant"):  # other shards may be waiting for it
        predict_scan(request_("shards.zarr", volume=same, shard=(0, 2)), silent)
    assert (tmp_path / "shards.zarr.partial").exists()
