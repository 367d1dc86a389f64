"""Softmax models of K classes: the same figures as the definitions in NumPy, however a volume is cut."""

import hashlib
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
import tomli_w
import zarr
from conftest import blobs
from ome_zarr_models.v05.image_label import ImageLabel
from scipy.ndimage import uniform_filter
from scipy.special import softmax
from test_view import Seen

from segbench.cascade import Refined
from segbench.engines import start
from segbench.errors import InputError
from segbench.io.files import file_sha256
from segbench.masks import Site
from segbench.metrics.uncertainty import categorical
from segbench.normalisation import fit
from segbench.predict import aggregate, cluster, predict, said, sample_masks, scan
from segbench.predict import classes as passes
from segbench.predict.classes import WIDTH, empty, several
from segbench.predict.folder import Folder
from segbench.predict.margin import mean_logits
from segbench.predict.result import UNIT, quantised
from segbench.predict.scan import Request, predict_scan
from segbench.tiling import Tile
from segbench.view.run import view
from segbench.volume import Volume
from segbench.zoo import CARD, Model, find
from segbench.zoo.card import CascadeCard, FileCard
from segbench.zoo.findings import ConformalCard

SHAPE = (10, 27, 33)
CLASSES = ("pore", "carbon", "nickel")
NOTHING = np.empty((0, 0, 0, 0), np.float32), np.empty((0, 0, 0), np.bool_)
MAPS = ("probability", "entropy", "mutual", "spread")


def silent(what, done, total, voxels):
    """No progress."""


def tree(path):
    """Hash of every file below a folder, by name."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def softmaxed(tiny, count=3, mean="probability", cascade=None, **changes):
    """The tiny model as one of so many classes, with small tiles; run by the engine `fake` alone."""
    need = tiny.card.input.model_copy(update={"core": (4, 16, 16), "halo": (4, 4, 4), **changes})
    names = CLASSES if count == 3 else tuple(f"phase {n}" for n in range(count))
    update = {"activation": "softmax", "classes": names, "mean": mean, "input": need, "cascade": cascade}
    if cascade is not None:  # stand-ins, which nothing runs
        files = {"doubt": tiny.card.files.graph, "local": tiny.card.files.graph}
        update["files"] = tiny.card.files.model_copy(update=files)
    return Model(card=tiny.card.model_copy(update=update), path=tiny.path)


def volume(shape=SHAPE):
    return Volume(blobs(shape) * 3000 + 100, (1.0, 0.5, 0.25), "scan")


def logits_of(model, image, samples=5, seed=0):
    """Logits [T, K, Z, Y, X] of a whole volume: the engine `fake` sees no neighbours."""
    normalised = fit(model.card.input.normalisation, image)(np.asarray(image.data, np.float32))
    return start(model, "fake").bind(sample_masks(model.card, samples, seed))(normalised[None, None])


def reference(logits, card):
    """Probabilities of the samples [T, K, …] and what is said in the end [K, …], in float64."""
    calibrated = logits.astype(np.float64) * card.calibration.scale + card.calibration.shift
    samples = softmax(calibrated, axis=1)
    mean = softmax(calibrated.mean(0), axis=0) if card.mean == "logits" else samples.mean(0)
    return samples, mean


def drawn(samples, classes, shape=(2, 3, WIDTH + 45)):
    """Logits near each other, and such whose probabilities are 0 or 1 in float32."""
    rng = np.random.default_rng(samples * classes)
    sizes = rng.choice([0.1, 3, 20, 100], (samples, 1, *shape))
    return (rng.standard_normal((samples, classes, *shape)) * sizes).astype(np.float32)


@pytest.mark.parametrize("of", [passes, aggregate])
def test_what_numba_keeps_is_compiled_from_these_sources(of):
    found = hashlib.sha256((Path(of.__file__).parent / "loops.py").read_bytes()).hexdigest()[:12]
    assert found == of.BUILT_FROM, f"give {of.__name__}.BUILT_FROM this value, or old loops go on running: {found}"


@pytest.mark.parametrize("by_logits", [False, True])
@pytest.mark.parametrize(("samples", "classes"), [(1, 3), (3, 2), (7, 3), (16, 3), (33, 8), (3, 40)])
def test_the_compiled_pass_is_the_definition(samples, classes, by_logits):
    given, scale = drawn(samples, classes), 1.3
    maps = empty(given.shape, min(2, samples))
    several(given, 1, 0, scale, by_logits, *NOTHING, maps)
    x = (given[:, :, 1] * np.float32(scale)).astype(np.float64)
    p = softmax(x, axis=1)
    mean = softmax(x.mean(0), axis=0) if by_logits else p.mean(0)
    meant = categorical(p.astype(np.float32), mean.astype(np.float32))
    np.testing.assert_allclose(maps.probabilities[:, 1], mean, atol=3e-6)
    best = np.sort(mean, axis=0)
    clear = best[-1] - best[-2] > 1e-5
    assert clear.mean() > 0.9  # sure samples of different classes are as likely
    np.testing.assert_array_equal(maps.labels[1][clear], mean.argmax(0)[clear])
    probability, entropy, mutual, spread, deviation = maps.values[:, 1]
    shown = maps.probabilities[1, 1] if classes == 2 else maps.probabilities[:, 1].max(0)
    np.testing.assert_array_equal(probability, shown)
    np.testing.assert_allclose(entropy, meant.entropy, atol=5e-6)
    np.testing.assert_allclose(mutual, meant.mutual, atol=8e-6)
    np.testing.assert_allclose(spread[clear], meant.spread[clear], atol=2e-6)
    np.testing.assert_allclose(deviation[clear], meant.deviation[clear], atol=2e-6)
    own = given[:, :, 1].argmax(1)
    np.testing.assert_array_equal(maps.samples[:, 1], own[: min(2, samples)])
    expected = [[(sample == k).sum() for sample in own] for k in range(classes)]
    np.testing.assert_array_equal(maps.active[1, 0], expected)
    assert not maps.active[0].any()  # the other plane is not touched


@pytest.mark.parametrize("by_logits", [False, True])
def test_a_second_network_decides_where_it_doubts_and_nowhere_else(by_logits):
    """Here it is surer than the samples, which disagree, so that mutual information has to come down to its entropy."""
    given, rng = drawn(7, 3), np.random.default_rng(1)
    local = softmax(9 * rng.standard_normal(given.shape[1:]), axis=0).astype(np.float32)
    doubted = rng.random(local.shape[1:]) < 0.2
    doubted[1, 0] = False  # a row without any
    first, both = (empty(given.shape, 1) for _ in range(2))
    several(given, 1, 0, 1.0, by_logits, *NOTHING, first)
    several(given, 1, 0, 1.0, by_logits, local, doubted, both)
    there = doubted[1]
    np.testing.assert_array_equal(both.values[:, 1, ~there], first.values[:, 1, ~there])
    np.testing.assert_array_equal(both.probabilities[:, 1], np.where(there, local[:, 1], first.probabilities[:, 1]))
    np.testing.assert_array_equal(both.labels[1], both.probabilities[:, 1].argmax(0))
    p = softmax(given[:, :, 1].astype(np.float64), axis=1).astype(np.float32)
    meant, before = categorical(p, both.probabilities[:, 1]), first.values[2, 1]
    np.testing.assert_allclose(both.values[1, 1], meant.entropy, atol=5e-6)
    assert (before > meant.entropy + 0.1)[there].any()
    np.testing.assert_allclose(both.values[2, 1], np.minimum(before, both.values[1, 1]))
    np.testing.assert_allclose(both.values[3, 1], meant.spread, atol=2e-6)
    np.testing.assert_allclose(both.values[4, 1], meant.deviation, atol=2e-6)
    np.testing.assert_array_equal(both.active, first.active)  # the samples are the first network's
    np.testing.assert_array_equal(both.samples[:, 1], first.samples[:, 1])


def test_one_pass_agrees_with_itself_and_equal_classes_are_the_first():
    given = drawn(1, 3)
    given[:, :, 0, 0] = 7
    for by_logits in (False, True):
        maps = empty(given.shape, 0)
        several(given, 0, 0, 1.0, by_logits, *NOTHING, maps)
        assert not maps.values[2, 0].any()  # mutual information, exactly
        assert not maps.values[3:, 0].any()
        assert (maps.labels[0, 0] == 0).all()
        np.testing.assert_allclose(maps.values[1, 0, 0], np.log(3), atol=1e-6)


def test_infinite_logits_are_certain_and_nan_stays_nan():
    given = np.zeros((1, 3, 1, 1, 4), np.float32)
    given[0, :, 0, 0, :3] = [[np.inf, -np.inf, 0], [0, 0, np.nan], [0, -np.inf, 0]]
    for by_logits in (False, True):
        maps = empty(given.shape, 0)
        several(given, 0, 0, 1.0, by_logits, *NOTHING, maps)
        np.testing.assert_allclose(maps.probabilities[:, 0, 0, 0], [1, 0, 0], atol=1e-37)
        np.testing.assert_allclose(maps.probabilities[:, 0, 0, 1], [0, 1, 0], atol=1e-37)
        assert np.isnan(maps.probabilities[:, 0, 0, 2]).all()
        np.testing.assert_array_equal(np.isnan(maps.values[:, 0, 0]), [[False, False, True, False]] * 5)
        np.testing.assert_allclose(maps.probabilities[:, 0, 0, 3], 1 / 3, atol=1e-7)
        np.testing.assert_array_equal(maps.labels[0, 0, :2], [0, 1])


@pytest.mark.parametrize("samples", [3, 5, 7, 11, 13, 33])
def test_a_mean_of_ones_is_one(samples):
    """Metrics refuse what is above it."""
    given = np.zeros((samples, 3, 1, 1, 9), np.float32)
    given[:, 2] = 200
    maps = empty(given.shape, 0)
    several(given, 0, 0, 1.0, False, *NOTHING, maps)
    np.testing.assert_array_equal(maps.values[0], 1)


@pytest.mark.parametrize("mean", ["probability", "logits"])
@pytest.mark.parametrize("samples", [0, 1, 5])
def test_a_prediction_is_the_definition(tiny, mean, samples):
    model, image = softmaxed(tiny, mean=mean), volume()
    found = predict(image, model.card, start(model, "fake"), samples)
    logits = logits_of(model, image, samples)
    p, said_ = reference(logits, model.card)
    assert len(p) == max(samples, 1)
    meant = categorical(p.astype(np.float32), said_.astype(np.float32))
    np.testing.assert_array_equal(found.labels, said_.argmax(0))
    assert set(np.unique(found.labels)) == {0, 1, 2}
    np.testing.assert_allclose(found.probabilities, said_, atol=1e-6)
    np.testing.assert_array_equal(found.probability, found.probabilities.max(0))
    for name in ("entropy", "mutual", "spread", "deviation"):
        np.testing.assert_allclose(getattr(found, name), getattr(meant, name), atol=3e-6)
    np.testing.assert_allclose(found.shares, [[(s.argmax(0) == k).mean() for s in p] for k in range(3)])
    assert found.doubted is None
    assert (found.mutual.max() > 1e-3) == (samples == 5)
    assert samples == 5 or not found.mutual.any()


def test_tiles_and_slices_cut_otherwise_give_the_same(tiny):
    """Without halo along Z a slice's answer does not depend on how many are read with it, or on its tile."""
    image, alone = volume(), softmaxed(tiny, core=(1, 64, 64), halo=(0, 4, 4))
    expected = predict(image, alone.card, start(alone, "fake"), 4)
    for core in ((3, 16, 16), (10, 64, 64), (4, 8, 40)):
        model = softmaxed(tiny, core=core, halo=(0, 4, 4))
        found = predict(image, model.card, start(model, "fake"), 4)
        for name in ("labels", "probabilities", *MAPS, "deviation"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert found.shares == expected.shares
    for z in (0, 7):  # a slice alone, were it normalised as its volume is
        one = predict(replace(image, data=image.data[z : z + 1]), alone.card, start(alone, "fake"), 4)
        assert one.probabilities.shape == (3, 1, *SHAPE[1:])


def test_shards_workers_and_memory_agree_to_the_byte(tiny, tmp_path, monkeypatch):
    model = softmaxed(tiny)
    engine = start(model, "fake")
    asked = Request(volume(), model, engine, tmp_path / "a.zarr", samples=5, keep_samples=2)
    summary = predict_scan(asked, silent).summary
    expected = predict(asked.volume, model.card, engine, samples=5)
    maps, labels = (zarr.open_array(asked.out / name, mode="r")[:] for name in ("0", "labels/segmentation/0"))
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_array_equal(maps, quantised(np.stack([getattr(expected, name) for name in MAPS])))
    for number, name in enumerate(CLASSES):
        fraction = summary.fractions[name]
        assert fraction.labels == pytest.approx((labels == number).mean())
        assert fraction.mean == pytest.approx(np.mean(expected.shares[number]))
        assert (fraction.low, fraction.high) == pytest.approx(tuple(np.percentile(expected.shares[number], (5, 95))))
    assert sum(fraction.mean for fraction in summary.fractions.values()) == pytest.approx(1)
    assert summary.doubted is None
    samples = reference(logits_of(model, asked.volume), model.card)[0].argmax(1)
    for t in range(2):
        kept = zarr.open_array(asked.out / f"labels/sample-{t:04d}/0", mode="r")[:]
        np.testing.assert_array_equal(kept, samples[t])
    for shard in ((1, 3), (0, 3), (2, 3)):
        predict_scan(replace(asked, out=tmp_path / "b.zarr", shard=shard), silent)
    monkeypatch.setattr(cluster, "find", lambda name: model)
    how = cluster.Start("this", "fake", "f32", 1, "cpu", None)

    def workers(job, wanted, finished):
        context = cluster._Context(asked.volume, how, job, Folder(tmp_path / "c.zarr"))
        for number, tile in wanted:
            cluster._compute(context, number, tile)

    predict_scan(replace(asked, out=tmp_path / "c.zarr"), silent, workers)
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "b.zarr") == tree(tmp_path / "c.zarr")
    window = zarr.open_group(asked.out, mode="r").attrs["ome"]["omero"]["channels"][1]["window"]
    assert window["max"] == round(np.log(3) / UNIT)


def test_two_classes_by_softmax_are_those_of_a_sigmoid(tiny, tmp_path):
    """The engine `fake` has them twice its sigmoid's logit apart; half of that is a scale of the calibration."""
    model, image = softmaxed(tiny, 2), volume()
    halved = tiny.card.calibration.model_copy(update={"scale": 0.5, "shift": 7.0})  # a shift changes no softmax
    two = Model(card=model.card.model_copy(update={"calibration": halved}), path=tiny.path)
    one = Model(card=model.card.model_copy(update={"activation": "sigmoid", "calibration": None}), path=tiny.path)
    found, expected = (predict(image, m.card, start(m, "fake"), 6) for m in (two, one))
    np.testing.assert_array_equal(found.labels, expected.labels)
    for name in (*MAPS, "deviation"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6)
    assert found.shares == expected.shares
    assert found.probabilities is None
    summaries = [
        predict_scan(Request(image, m, start(m, "fake"), tmp_path / f"{n}.zarr", samples=6), silent).summary
        for n, m in enumerate((two, one))
    ]
    assert summaries[0].fractions == summaries[1].fractions


@dataclass
class Window:
    """A second network that sees means over windows: doubts where F of class 0 is large, and says softmax of them."""

    margin: int = 3
    doubts: float = 1.0
    shapes: set = field(default_factory=set)

    def __call__(self, image, mean):
        m = self.margin
        assert mean.shape[1:] == image.shape
        assert image.flags.c_contiguous
        assert mean.flags.c_contiguous
        self.shapes.add(image.shape)
        inner = np.s_[..., m : image.shape[1] - m, m : image.shape[2] - m]
        seen = np.stack([_windows(np.concatenate([mean, image[None]])[:, z], m) for z in range(len(image))], 1)[inner]
        return Refined(softmax(seen[:-1] + seen[-1:] * _TILT, axis=0).astype(np.float32), mean[inner][0] > self.doubts)


_TILT = np.array([1.0, -2.0, 0.5])[:, None, None, None]


def _windows(planes, margin):
    """Means over windows of 2 margin + 1, replicated past the edges, planes (N, Y, X)."""
    edge = 2 * margin + 1
    return np.stack([uniform_filter(plane.astype(np.float64), edge, mode="nearest") for plane in planes])


CASCADE = CascadeCard(edge=7, threshold=0.5, parameters=1)


@pytest.mark.parametrize("mean", ["probability", "logits"])
def test_doubted_pixels_are_the_second_networks_whatever_the_tile(tiny, mean):
    """The windows of pixels at a tile's edge reach into its neighbours, and at the volume's past it."""
    model, image, second = softmaxed(tiny, mean=mean, cascade=CASCADE), volume(), Window()
    logits = logits_of(model, image)
    samples, own = reference(logits, model.card)
    first = logits.astype(np.float64).mean(0)
    grey = fit(model.card.input.normalisation, image)(image.data)
    seen = np.stack([_windows(np.concatenate([first, grey[None]])[:, z], 3) for z in range(SHAPE[0])], 1)
    local = softmax(seen[:-1] + seen[-1:] * _TILT, axis=0)
    doubted = first[0] > second.doubts
    assert 0.05 < doubted.mean() < 0.5
    expected = np.where(doubted, local, own)
    found = predict(image, model.card, start(model, "fake"), 5, cascade=second)
    assert len(second.shapes) > 1  # tiles of several sizes
    np.testing.assert_array_equal(found.doubted, doubted)
    np.testing.assert_allclose(found.probabilities, expected, atol=2e-6)
    np.testing.assert_array_equal(found.labels, expected.argmax(0))
    assert (found.labels != own.argmax(0)).any()
    meant = categorical(samples.astype(np.float32), expected.astype(np.float32))
    mutual = categorical(samples.astype(np.float32), own.astype(np.float32)).mutual
    np.testing.assert_allclose(found.entropy, meant.entropy, atol=3e-6)
    np.testing.assert_allclose(found.mutual, np.minimum(mutual, meant.entropy), atol=5e-6)
    np.testing.assert_allclose(found.spread, meant.spread, atol=2e-6)
    np.testing.assert_allclose(found.deviation, meant.deviation, atol=2e-6)
    other = softmaxed(tiny, mean=mean, cascade=CASCADE, core=(1, 9, 40))
    again = predict(image, other.card, start(other, "fake"), 5, cascade=Window())
    np.testing.assert_array_equal(again.doubted, found.doubted)
    np.testing.assert_allclose(again.probabilities, found.probabilities, atol=1e-6)


def test_planted_pixels_are_stored_and_counted(tiny, tmp_path, monkeypatch):
    """A second network that doubts the brightest pixels and says carbon."""
    model, image = softmaxed(tiny, cascade=CASCADE), volume()
    planted = np.zeros(SHAPE, bool)
    planted[[0, 4, 9], [0, 15, 26], [0, 16, 32]] = True  # in corners and beside seams
    image = replace(image, data=np.where(planted, 1e5, image.data).astype(np.float32))

    class Planted:
        margin = 2

        def __call__(self, grey, mean):
            doubted = grey[:, 2:-2, 2:-2] > 20
            return Refined(np.broadcast_to(_CARBON, (3, *doubted.shape)), doubted)

    engine, made = start(model, "fake"), []
    found = predict(image, model.card, engine, 4, cascade=Planted())
    np.testing.assert_array_equal(found.doubted, planted)
    assert (found.labels[planted] == 1).all()
    np.testing.assert_allclose(found.probability[planted], 0.8)
    plain = softmaxed(tiny)
    without = predict(image, plain.card, engine, 4)
    np.testing.assert_array_equal(found.probabilities[:, ~planted], without.probabilities[:, ~planted])
    assert (without.labels[planted] == 2).all()
    monkeypatch.setattr(scan, "cascade_of", lambda *given: made.append(given) or Planted())
    asked = Request(image, model, engine, tmp_path / "a.zarr", samples=4, keep_samples=1)
    summary = predict_scan(asked, silent).summary
    assert made == [(model, engine)]
    assert summary.doubted == pytest.approx(3 / planted.size)
    np.testing.assert_array_equal(zarr.open_array(asked.out / "labels/doubted/0", mode="r")[:], planted)
    np.testing.assert_array_equal(zarr.open_array(asked.out / "labels/segmentation/0", mode="r")[:], found.labels)
    ImageLabel.from_zarr(zarr.open_group(asked.out / "labels/doubted", mode="r"))
    predict_scan(replace(asked, out=tmp_path / "tiffs", format="tiff"), silent)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "tiffs" / "doubted.tif"), planted)


_CARBON = np.array([0.1, 0.8, 0.1], np.float32)[:, None, None, None]


def test_what_is_said_of_a_core_takes_calibration_and_mean_from_the_card(tiny):
    model = softmaxed(tiny, mean="logits")
    logits = drawn(6, 3, (2, 4, 9))
    one, *others = (said(logits, model.card, keep=1, threads=threads) for threads in (1, 3, 7, 20))
    p, mean = reference(logits, model.card)
    np.testing.assert_allclose(one.probabilities, mean, atol=3e-6)
    np.testing.assert_array_equal(one.active, [[(s.argmax(0) == k).sum() for s in p] for k in range(3)])
    for more in others:  # parts of planes, one row each at most
        for name in (*MAPS, "labels", "probabilities", "deviation", "samples", "active"):
            np.testing.assert_array_equal(getattr(one, name), getattr(more, name), err_msg=name)


def test_mean_logits_are_added_up_in_their_order():
    logits = drawn(7, 3)
    np.testing.assert_array_equal(mean_logits(logits)[:, 1:, 1:, 5:9], mean_logits(logits[:, :, 1:, 1:, 5:9]))
    np.testing.assert_allclose(mean_logits(logits), logits.astype(np.float64).mean(0), atol=1e-4)


def test_what_does_not_go_with_a_cascade_is_one_line(tiny):
    model = softmaxed(tiny, cascade=CASCADE)
    engine = start(model, "fake")
    with pytest.raises(InputError, match=r"'tiny': a card with \[cascade\]"):
        predict(volume(), model.card, engine, 2)
    with pytest.raises(InputError, match=r"'tiny': a card with \[cascade\]"):
        predict(volume(), softmaxed(tiny).card, engine, 2, cascade=Window())
    with pytest.raises(InputError, match="sees 5 pixels around a core"):
        predict(volume(), model.card, engine, 2, cascade=Window(margin=5))


def written(model, folder, **changes):
    """The model as a folder, with changes to its card that may be wrong."""
    shutil.copytree(model.path, folder)
    card = model.card.model_copy(update=changes)
    (folder / CARD).write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return folder


def test_a_cascade_that_sees_past_the_halo_is_refused_when_the_model_is_loaded(tiny, tmp_path):
    model = softmaxed(tiny, cascade=CASCADE)
    far, near = (
        written(model, tmp_path / str(edge), cascade=CASCADE.model_copy(update={"edge": edge})) for edge in (11, 9)
    )
    with pytest.raises(InputError, match=r"card.toml: .*edge is 11, so a core needs 5 pixels .* has 4 along Y or X"):
        find(str(far))
    assert find(str(near)).card.cascade.edge == 9


def test_conformal_bounds_of_three_classes_are_refused(tiny, tmp_path):
    fitted = ConformalCard(
        on="x", blocks=9, edge=8, samples=2, level=0.9, floor=0.1, widen=0, risk=0.1, possible=0.4, sure=0.6
    )
    folder = written(softmaxed(tiny), tmp_path / "model", conformal=fitted)
    with pytest.raises(InputError, match="there are 3 classes"):
        find(str(folder))


def test_the_command_lists_all_classes_and_a_page_shows_eight(segbench, tiny, tmp_path):
    model = softmaxed(tiny, 8)
    folder = written(model, tmp_path / "model")
    data = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    data[:, ::2] *= 3
    tifffile.imwrite(tmp_path / "scan.tif", data)
    options = ("--engine", "fake", "--samples", "3", "--out", tmp_path / "a.zarr")
    code, out, err = segbench("predict", tmp_path / "scan.tif", "--zoo", folder, *options)
    assert code == 0, err
    rows = [line.strip("│").split("│") for line in out.splitlines() if line.startswith("│")]
    assert tuple(row[0].strip() for row in rows) == model.card.classes
    shares = [float(row[1]) for row in rows]
    assert min(shares) > 0
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert "second network" not in out
    view(tmp_path / "a.zarr", tmp_path / "a.html")
    page = Seen(tmp_path / "a.html")
    assert tuple(each["name"] for each in page.about["classes"]) == model.card.classes
    assert len({tuple(each["rgba"][:3]) for each in page.about["classes"]}) == 8
    assert len({tuple(page.about["colours"][n][:3]) for n in range(8)}) == 8
    assert tuple(each["name"] for each in page.about["shares"]) == model.card.classes
    assert page.about["of"] == "the label's class"
    assert page.about["layers"]["entropy"]["high"] == pytest.approx(np.log(8), abs=1e-3)
    labels = zarr.open_array(tmp_path / "a.zarr/labels/segmentation/0", mode="r")[:]
    np.testing.assert_array_equal(page.layer("labels"), labels)
    assert set(np.unique(labels)) == set(range(8))


CHANNELS, EDGE = 4, 3


def conv2d_graph(path):
    """Two convolutions of single slices with masks between, to three classes."""
    rng = np.random.default_rng(0)
    helper, make = onnx.helper, onnx.numpy_helper.from_array
    weights = {
        "w1": rng.standard_normal((CHANNELS, 1, 1, EDGE, EDGE)),
        "w2": rng.standard_normal((3, CHANNELS, 1, EDGE, EDGE)),
    }
    constants = [make(value.astype(np.float32), name) for name, value in weights.items()]
    pads = [0, 1, 1, 0, 1, 1]
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["x"], pads=pads),
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Unsqueeze", ["masks", "axes"], ["m"]),
        helper.make_node("Mul", ["y", "m"], ["dropped"]),
        helper.make_node("Conv", ["dropped", "w2"], ["logits"], pads=pads),
    ]
    of = lambda name, shape: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)  # noqa: E731
    graph = helper.make_graph(
        nodes, "slices",
        [of("image", [1, 1, "Z", "Y", "X"]), of("masks", ["T", CHANNELS])], [of("logits", ["T", 3, "Z", "Y", "X"])],
        [*constants, make(np.array([2, 3, 4], np.int64), "axes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_graph_of_slices_on_the_runtimes(tiny, tmp_path, engine):
    """K channels come out of real engines, thin or not; neighbouring slices change nothing."""
    conv2d_graph(tmp_path / "graph.onnx")
    plain = softmaxed(tiny, core=(1, 16, 16), halo=(0, 4, 4), multiple=(1, 1, 1))
    file = FileCard(path="graph.onnx", sha256=file_sha256(tmp_path / "graph.onnx"))
    card = plain.card.model_copy(
        update={
            "dropout": (Site(name="x", channels=CHANNELS, kept=2),),
            "files": plain.card.files.model_copy(update={"graph": file}),
        }
    )
    image, found = volume((3, 27, 33)), []
    for depth in (1, 3):
        deeper = card.model_copy(update={"input": card.input.model_copy(update={"core": (depth, 16, 16)})})
        for thin in (None, False):
            runs = start(Model(card=deeper, path=tmp_path), engine, threads=1, thin=thin)
            found.append(predict(image, deeper, runs, 4))
    grey = fit(card.input.normalisation, image)(image.data)
    normalised = np.pad(grey, ((0, 0), (4, 4), (4, 4)), mode="edge")[None, None]
    bound = start(Model(card=card, path=tmp_path), "onnxruntime", threads=1, thin=False).bind(sample_masks(card, 4, 0))
    p, mean = reference(bound(np.ascontiguousarray(normalised))[..., 4:-4, 4:-4], card)
    meant = categorical(p.astype(np.float32))
    for each in found:
        np.testing.assert_allclose(each.probabilities, mean, atol=2e-5)
        np.testing.assert_allclose(each.entropy, meant.entropy, atol=1e-4)
        np.testing.assert_allclose(each.spread, meant.spread, atol=1e-3)
    assert found[0].mutual.max() > 0.05


def test_tiles_around_a_core_are_clipped_to_the_volume():
    """Where the margin is asked of the first network, in the coordinates of what is read."""
    from segbench.predict.margin import grown

    corner = Tile((0, 0, 0), (2, 8, 8), (0, -4, -4), (2, 16, 16))
    assert grown(corner, 3, (2, 20, 8)) == (slice(0, 2), slice(4, 15), slice(4, 12))
    assert grown(corner, 0, (2, 20, 8)) == corner.inner
    with pytest.raises(InputError, match="sees 5 pixels"):
        grown(corner, 5, (2, 20, 8))
