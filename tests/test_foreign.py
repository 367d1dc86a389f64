"""Whether a scan is of the kind that a model was trained on."""

import io
import json
import shutil
from collections import Counter

import numpy as np
import onnx
import pytest
import tomli_w
from conftest import TINY, blobs
from onnx import TensorProto, helper, numpy_helper

from segbench.data import pool
from segbench.engines import start
from segbench.errors import InputError
from segbench.evaluate.cases import Labelled
from segbench.evaluate.eval import evaluate
from segbench.foreign import Look, cloud, known, look_of, looked_at, of_volume
from segbench.foreign import encoder as encoders
from segbench.foreign import graph as graphs
from segbench.foreign import look as looks
from segbench.foreign.descriptors import BULGE, NAMES, describe, structure
from segbench.foreign.look import encoded
from segbench.foreign.windows import EDGE, places, windows
from segbench.io import file_sha256
from segbench.normalisation import VOID, fit
from segbench.predict import predict
from segbench.predict.scan import Request, predict_scan
from segbench.tiling import Grid
from segbench.train.foreign import add
from segbench.volume import Volume
from segbench.zoo import CARD, find
from segbench.zoo.card import FileCard
from segbench.zoo.page import page
from segbench.zoo.reference import write_arrays


def at(name):
    return NAMES.index(name)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def discs(count=16, edge=64, radius=9):
    """Bright discs on dark, a few in each window."""
    rng, (y, x) = np.random.default_rng(3), np.mgrid[:edge, :edge]
    made = np.zeros((count, edge, edge), np.float32)
    for window in made:
        for cy, cx in rng.uniform(0, edge, (6, 2)):
            window[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = 1
    return (made - made.mean()) / made.std()


def test_noise_has_the_descriptors_of_noise():
    found = describe(noise(16, 64, 64))
    assert found[: len(NAMES)][at("quantile 95 %")] == pytest.approx(1.645, abs=0.03)
    assert found[at("roughness at 1")] == pytest.approx(np.log(4), abs=0.03)  # rows and columns, a variance of 2 each
    assert found[at("roughness at 16")] == pytest.approx(np.log(4), abs=0.03)
    assert found[[at("tails at 1"), at("tails at 4"), at("lobes")]] == pytest.approx(0, abs=0.08)
    assert found[at("edges at 1")] == pytest.approx(np.log(np.log(20) / np.log(2)), abs=0.08)
    assert found[BULGE] == pytest.approx(0, abs=0.08)


def test_two_values_a_ramp_and_stripes_by_hand():
    coins = np.where(noise(16, 64, 64) > 0, np.float32(1), np.float32(-1))
    assert describe(coins)[at("lobes")] == pytest.approx(np.log(1 / 3), abs=1e-3)
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32) / 10, (2, 64, 64))
    assert describe(ramp)[at("roughness at 4")] == pytest.approx(2 * np.log(0.4), rel=1e-3)
    assert describe(ramp)[at("rows against columns at 4")] < -5
    assert describe(np.ascontiguousarray(ramp.transpose(0, 2, 1)))[at("rows against columns at 4")] > 5
    assert np.isfinite(describe(np.zeros((1, 48, 48), np.float32))).all()


def test_what_bulges_and_what_has_form():
    image = discs()
    upright, turned = describe(image), describe(-image)
    assert upright[BULGE] > 0.3
    assert turned[BULGE] == pytest.approx(-upright[BULGE])
    formless = [describe(noise(16, 64, 64)), describe(np.stack([blobs((1, 64, 64), n)[0] for n in range(16)]))]
    assert structure(upright) > 5
    assert max(structure(np.stack(formless))) < 1.5


def test_a_cloud_is_a_mahalanobis_distance_where_nothing_is_skewed():
    rng = np.random.default_rng(0)
    half = rng.standard_normal((400, 5)) @ rng.standard_normal((5, 5))
    points = np.concatenate([half, -half])
    fitted = cloud.fit(points, 5)
    z = points / np.sqrt((points**2).mean(axis=0))
    covariance = z.T @ z / len(z) + cloud.SHRINKAGE * np.eye(5)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", z, np.linalg.inv(covariance), z) / 5)
    np.testing.assert_allclose(fitted(points), expected, rtol=1e-9)
    # with fewer axes, all other directions share their mean variance
    few = cloud.fit(points, 2)
    variances, vectors = np.linalg.eigh(z.T @ z / len(z))
    shared = np.concatenate([np.full(3, variances[:3].mean()), variances[3:]]) + cloud.SHRINKAGE
    np.testing.assert_allclose(few(points), np.sqrt(((z @ vectors) ** 2 / shared).sum(axis=1) / 5), rtol=1e-9)


def test_a_skewed_margin_is_measured_by_its_own_side():
    points = np.concatenate([np.full(50, -1.0), np.full(50, 9.0), [0.0]])[:, None]
    fitted = cloud.fit(points, 1)
    assert (fitted.below[0], fitted.above[0]) == (1, 9)
    low, high = fitted(np.array([[-2.0], [18.0]]))
    assert low == pytest.approx(high)


def test_a_score_is_the_share_of_nearer_scans_and_rises_beyond_them():
    scans = np.array([1.0, 2.0, 3.0, 4.0])
    found = known.share(scans, np.array([0.0, 1.0, 2.5, 4.0, 8.0, 1e9]))
    assert found[:5] == pytest.approx([0, 0.2, 0.5, 0.8, 0.9])
    assert 0.999999 < found[5] < 1


def test_windows_are_spread_over_the_scan_whatever_its_size():
    for shape in ((96, 96, 96), (1, 700, 900), (2, 64, 64), (4000, 3000, 2000), (3, 48, 5000)):
        found = places(shape)
        assert 1 <= len(found) <= 18
        assert len(set(map(str, found))) == len(found)
        for z, y, x in found:
            assert 0 <= z < shape[0]
            for part, length in ((y, shape[1]), (x, shape[2])):
                assert 0 <= part.start < part.stop <= length
                assert part.stop - part.start == min(EDGE, length)
    assert len(places((96, 96, 96))) == len(places((1, 700, 900))) == 16
    assert places((96, 47, 96)) == ()


def test_a_constant_exterior_is_not_looked_at():
    image = noise(4, 256, 256)
    image[:, :, 128:] = VOID
    assert len(windows(image, True)) < len(windows(image, False)) == 16
    assert (windows(image, True) == np.float32(VOID)).mean() <= 0.05
    assert windows(np.full((4, 96, 96), VOID, np.float32), True) is None


def test_the_encoder_of_one_slice_is_that_of_the_slice_repeated(tiny, monkeypatch):
    window = noise(1, 60, 52)
    flat = encoders.encoder(tiny, "onnxruntime")
    assert graphs.encoder_graph(tiny.graph).flat
    monkeypatch.setattr(graphs, "flattened", lambda *_: None)
    assert not graphs.encoder_graph(tiny.graph).flat
    whole = encoders.encoder(tiny, "onnxruntime")
    np.testing.assert_allclose(encoded(window, flat), encoded(window, whole), rtol=1e-5, atol=1e-6)


def test_runtimes_see_the_same(tiny):
    window = noise(2, 64, 64)
    one, other = (encoded(window, encoders.encoder(tiny, name)) for name in ("onnxruntime", "openvino"))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("pads", "flat"), [([0, 1, 1, 0, 1, 1], True), ([1, 1, 1, 1, 1, 1], False)])
def test_zeros_above_and_below_a_slice_keep_the_graph_as_it_is(pads, flat):
    weight = numpy_helper.from_array(np.ones((1, 1, 3, 3, 3), np.float32), "weight")
    node = helper.make_node("Conv", ["image", "weight"], ["features"], pads=pads, kernel_shape=[3, 3, 3])
    assert (graphs.flattened([node], {"weight": numpy_helper.to_array(weight)}) is not None) == flat


def test_without_dropout_there_are_no_features(tmp_path):
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, None, None, None]) for n in ("image", "logits")
    ]
    nodes = [helper.make_node("Relu", ["image"], ["logits"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:])), tmp_path / "model.onnx")
    assert graphs.encoder_graph(tmp_path / "model.onnx") is None


@pytest.fixture(scope="module")
def fitted(tiny, tmp_path_factory):
    """The tiny model with a fit to eight scans of two training volumes, made by the command."""
    out = tmp_path_factory.mktemp("fitted")
    shutil.copytree(tiny.path, out / "model")
    recipe = out / "recipe.toml"
    recipe.write_text(TINY.read_text().replace("size = 32", "size = 48"))
    card = tiny.card.model_copy(
        update={"training": tiny.card.training.model_copy(update={"recipe_sha256": file_sha256(recipe)})}
    )
    (out / "model" / CARD).write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return out


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(pool, "each", lambda make, jobs: [make(*job) for job in jobs])  # no processes for two volumes
        before, steps = find(str(fitted / "model")), []
        add(fitted / "model", fitted / "recipe.toml", lambda *step: steps.append(step))
    after = find(str(fitted / "model"))
    assert after.hash == before.hash
    assert steps[-1] == ("looking at training scans", 2, 2)
    return after


def test_a_fit_is_pinned_small_and_changes_no_prediction(model):
    assert model.foreign.stat().st_size < 300_000
    assert model.card.foreign.threshold == pytest.approx(8 / 9)
    assert "8 augmented scans" in model.card.foreign.on
    text = (model.path / "README.md").read_text()
    assert text == page(model.card)
    assert "**Foreign input**" in text
    assert "Foreign" not in page(model.card.model_copy(update={"foreign": None}))


def test_another_recipe_is_refused(segbench, model):
    code, _, err = segbench("zoo", "foreign", model.path, "--recipe", TINY)
    assert code == 2
    assert "not the recipe" in err
    code, _, err = segbench("zoo", "foreign", model.path, "--recipe", "nowhere.toml")
    assert code == 2
    assert "no such recipe" in err


def test_what_is_no_fit_is_one_line(tmp_path):
    write_arrays(tmp_path / "foreign.npz", {"lows": np.zeros((2, 2), np.float32)})
    with pytest.raises(InputError, match="fit it again"):
        known.read(tmp_path / "foreign.npz", 0)
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(InputError, match=r"text\.npz"):
        known.read(tmp_path / "text.npz", 0)


def test_a_fit_survives_its_file(tmp_path):
    rng = np.random.default_rng(0)
    grey = np.stack([describe(noise(4, 48, 48, seed=n)) for n in range(12)])
    made = known.fit(grey, rng.random((12, 6)), np.arange(12) >= 10)
    known.write(tmp_path / "foreign.npz", made)
    found = known.read(tmp_path / "foreign.npz", 6)
    parts = made.parts(grey, rng.random((12, 6)))
    assert set(parts) == set(known.PARTS)
    np.testing.assert_allclose(found.score(parts), made.score(parts), atol=1e-6)
    only = {name: part for name, part in parts.items() if name != "features"}
    np.testing.assert_allclose(np.sort(found.score(only)[:10]), np.arange(1, 11) / 11, atol=1e-6)
    # two tiles are held against each other, not against scans
    np.testing.assert_allclose(np.sort(found.score(only, tile=True)[10:]), [1 / 3, 2 / 3], atol=1e-6)


def cut_short(raw):
    return raw[: len(raw) // 2]


def flipped(raw):
    """Compressed bytes that are none."""
    return raw[:200] + bytes(byte ^ 255 for byte in raw[200:400]) + raw[400:]


def rewritten(**changes):
    """The same fit with other arrays; None leaves one out."""

    def change(raw):
        with np.load(io.BytesIO(raw)) as arrays:
            held = dict(arrays)
        held |= {name: make(held[name]) for name, make in changes.items()}
        out = io.BytesIO()
        np.savez(out, **{name: array for name, array in held.items() if array is not None})
        return out.getvalue()

    return change


def not_a_number(array):
    array = array.copy()
    array.flat[0] = np.nan
    return array


HOSTILE = {
    "truncated": cut_short,
    "flipped": flipped,
    "empty": lambda raw: b"",
    "pickled": rewritten(lows=lambda lows: np.array([{"a": 1}], dtype=object)),
    "nan": rewritten(grey_median=not_a_number),
    "nan in a table": rewritten(all=not_a_number),
    "no table": rewritten(tiles=lambda table: table[:0]),
    "falling": rewritten(without=lambda table: table[::-1]),
    "negative": rewritten(grey_variances=lambda variances: -variances),
    "transposed": rewritten(grey_axes=lambda axes: axes.T[:, :3]),
    "a scalar": rewritten(features_axes=lambda axes: axes[0, 0]),
    "text": rewritten(units=lambda units: np.array(["a"] * 4)),
    "fewer features": rewritten(
        features_median=lambda a: a[:-1],
        features_below=lambda a: a[:-1],
        features_above=lambda a: a[:-1],
        features_axes=lambda a: a[:-1],
    ),
    "no features": rewritten(features_median=lambda _: None, features_axes=lambda _: None),
}


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_a_damaged_fit_is_one_line_before_anything_is_written(segbench, model, tmp_path, damage):
    bad, file = tmp_path / "bad", tmp_path / "bad" / "foreign.npz"
    shutil.copytree(model.path, bad)
    file.write_bytes(damage(file.read_bytes()))
    pinned = FileCard(path=file.name, sha256=file_sha256(file))  # else the hash tells
    write_card(bad, model.card.model_copy(update={"files": model.card.files.model_copy(update={"foreign": pinned})}))
    np.save(tmp_path / "scan.npy", scan().data)
    code, out, err = segbench(
        "predict", tmp_path / "scan.npy", "--zoo", bad, "--out", tmp_path / "a.zarr", "--samples", 2, "--engine", "fake"
    )
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"{file}: " in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "scan.npy"]


def write_card(folder, card):
    (folder / CARD).write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))


def test_a_fit_of_another_network_is_refused(segbench, model, tmp_path):
    """Card and file agree with each other, not with the graph."""
    bad, file = tmp_path / "bad", tmp_path / "bad" / "foreign.npz"
    shutil.copytree(model.path, bad)
    file.write_bytes(HOSTILE["fewer features"](file.read_bytes()))
    files = model.card.files.model_copy(update={"foreign": FileCard(path=file.name, sha256=file_sha256(file))})
    fewer = model.card.foreign.model_copy(update={"features": model.card.foreign.features - 1})
    write_card(bad, model.card.model_copy(update={"files": files, "foreign": fewer}))
    np.save(tmp_path / "scan.npy", scan().data)
    code, _, err = segbench("predict", tmp_path / "scan.npy", "--zoo", bad, "--out", tmp_path / "a.zarr")
    assert code == 2
    assert "fit it again" in err
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize(
    ("section", "line", "said"),
    [
        ("foreign", "threshold = 1.5", "foreign.threshold"),
        ("foreign", "threshold = 0", "foreign.threshold"),
        ("foreign", "threshold = nan", "foreign.threshold"),
        ("foreign", None, "belong together"),
    ],
)
def test_a_card_that_states_half_a_fit_is_refused(model, tmp_path, section, line, said):
    shutil.copytree(model.path, tmp_path / "bad")
    card = model.card.model_dump(mode="json", exclude_none=True)
    if line is None:
        del card[section]
    else:
        key, value = line.split(" = ")
        card[section][key] = float(value)
    (tmp_path / "bad" / CARD).write_text(tomli_w.dumps(card))
    with pytest.raises(InputError, match=said):
        find(str(tmp_path / "bad"))


def scan(shape=(40, 60, 60), seed=1):
    return Volume(blobs(shape, seed), source="scan")


def test_the_score_does_not_depend_on_engine_samples_or_tiles(model):
    volume, engines = scan(), [start(model, name, threads=2) for name in ("onnxruntime", "openvino", "fake")]
    found = [
        predict(volume, model.card, engine, samples, 0, look=look_of(model, engine)).foreign
        for engine, samples in zip(engines, (1, 3, 0), strict=True)
    ]
    assert all(one.features for one in found)
    scores = [one.score for one in found]
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-5)
    tiled = model.card.input.model_copy(update={"core": (16, 56, 56)})
    other = predict(
        volume, model.card.model_copy(update={"input": tiled}), engines[2], 2, look=look_of(model, engines[2])
    )
    assert other.foreign.score == scores[2]
    assert other.foreign.parts == found[2].parts


def test_a_prediction_is_the_same_with_a_look(model):
    engine = start(model, "fake")
    one, other = (predict(scan(), model.card, engine, 2, look=seeing) for seeing in (None, look_of(model, engine)))
    assert one.foreign is None
    np.testing.assert_array_equal(one.probability, other.probability)
    np.testing.assert_array_equal(one.labels, other.labels)


def test_slices_are_scored_and_small_ones_are_not(model):
    engine = start(model, "fake")
    seeing = look_of(model, engine)
    assert 0 <= predict(scan((1, 200, 100)), model.card, engine, 2, look=seeing).foreign.score < 1
    tiny_one = predict(scan((1, 40, 40)), model.card, engine, 2, look=seeing)
    assert tiny_one.foreign.score is None
    assert tiny_one.foreign.tiles is None
    assert tiny_one.warnings == ()


def test_a_foreign_scan_is_told_in_one_sentence(model, monkeypatch):
    engine = start(model, "fake")
    stripes = np.zeros((60, 60, 60), np.float32)
    stripes[:, :, ::2] = 100
    found = predict(Volume(stripes, source="stripes.tif"), model.card, engine, 2, look=look_of(model, engine))
    assert found.foreign.above
    (sentence,) = (text for text in found.warnings if "unlike" in text)
    assert sentence.startswith("stripes.tif: unlike the scans that tiny was trained on")
    assert "\n" not in sentence
    monkeypatch.setattr(looks, "runtime_for", lambda engine: None)
    alone = predict(Volume(stripes), model.card, engine, 2, look=look_of(model, engine)).foreign
    assert alone.above
    assert not alone.features
    assert "features" not in alone.parts


def test_the_worst_respect_is_named():
    def said(**parts):
        return looks.Foreign(score=0.999, threshold=0.99, parts=parts, places=16).warning("a", "m")

    assert "inverted" in said(grey=1.0, bulge=3.0)
    assert "noise" in said(grey=1.0, structure=3.0, bulge=0.0)
    assert looks.Foreign(score=0.99, threshold=0.99).warning("a", "m") is None


def test_shards_and_processes_agree_and_the_result_says_it(model, tmp_path):
    engine, volume = start(model, "fake"), scan((60, 52, 52))
    tiled = model.model_copy(
        update={
            "card": model.card.model_copy(update={"input": model.card.input.model_copy(update={"core": (32, 56, 56)})})
        }
    )

    def run(out, shard):
        return predict_scan(Request(volume, tiled, engine, tmp_path / out, 2, shard=shard), lambda *_: None)

    whole = run("whole.zarr", (0, 1)).summary
    assert run("parts.zarr", (1, 2)).summary is None
    parts = run("parts.zarr", (0, 2)).summary
    assert whole.foreign == parts.foreign
    memory = predict(volume, tiled.card, engine, 2, look=look_of(tiled, engine))
    assert memory.foreign == whole.foreign
    assert whole.foreign.tiles is not None
    attributes = json.loads((tmp_path / "whole.zarr" / "zarr.json").read_text())["attributes"]["segbench"]
    assert attributes["summary"]["foreign"]["score"] == whole.foreign.score
    assert attributes["warnings"] == list(memory.warnings)


def test_one_tile_in_four_is_looked_at_and_no_direction_is_left_out():
    grid = Grid((96, 96, 64), (16, 16, 16), (4, 4, 4))
    seen = looked_at(grid)
    assert len(seen) == len(grid) // 4
    for axis in range(3):
        counts = Counter(tile.start[axis] for tile in seen)
        assert len(counts) == -(-grid.volume[axis] // 16)
        assert max(counts.values()) - min(counts.values()) <= 2
    assert looked_at(Grid((16, 16, 16), (16, 16, 16), (4, 4, 4))) == frozenset()
    assert len(looked_at(Grid((1, 32, 16), (1, 16, 16), (0, 4, 4)))) == 1


class Source:
    """One labelled volume."""

    name, classes, domains, note = "one", ("void", "active"), ("one",), ""

    def cases(self, domain):
        image = noise(1, 64, 64)
        label = (image > 0).astype(np.uint8)
        yield Labelled("one", domain, "one", Volume(image, source="noise"), None, label, "0" * 64)


def test_rows_carry_the_score_only_where_there_is_a_fit(model, tiny):
    (row,) = (row for row in evaluate(model, start(model, "fake"), Source(), 2, 0) if row.kind == "case")
    assert 0 <= row.metrics["foreign"] < 1
    assert np.isnan(row.metrics["foreign_tiles"])  # tiles of 24 voxels are too small to look at
    assert bool(row.warnings) == (row.metrics["foreign"] > model.card.foreign.threshold)
    (bare,) = (row for row in evaluate(tiny, start(tiny, "fake"), Source(), 2, 0) if row.kind == "case")
    assert "foreign" not in bare.metrics
    assert look_of(tiny, start(tiny, "fake")) is None


def test_the_command_says_it(segbench, model, tmp_path):
    np.save(tmp_path / "scan.npy", scan().data)
    arguments = ("predict", tmp_path / "scan.npy", "--zoo", model.path, "--out", tmp_path / "a.zarr", "--samples", 2)
    code, out, _ = segbench(*arguments, "--engine", "onnxruntime")
    assert code == 0
    assert "foreign score 0." in out
    np.save(tmp_path / "same.npy", np.ones((8, 64, 64)))
    code, _, err = segbench("predict", tmp_path / "same.npy", "--zoo", model.path, "--out", tmp_path / "b.zarr")
    assert code == 2
    assert "constant image" in err


def test_the_zoos_default_tells_noise_from_its_training(tmp_path):
    """The released fit: noise, stripes and inverted discs are foreign; bright discs under noise are not far off."""
    model = find("vnet-battery")
    seeing: Look = look_of(model, start(model, "fake"))
    norm = model.card.input.normalisation
    image = discs(1, 512, 30)[0] + 0.3 * noise(512, 512)

    def score(grey):
        volume = Volume(np.ascontiguousarray(grey)[None])
        return seeing.judge(of_volume(volume, fit(norm, volume))).score

    assert min(score(noise(512, 512)), score(np.sin(np.arange(512) / 2) + 0 * image), score(-image)) > 0.99
