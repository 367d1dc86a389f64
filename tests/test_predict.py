"""Prediction: coherent over tiles, the same whatever is asked for with it, and clear about what it cannot use."""

import numpy as np
import pytest
import tifffile
from conftest import blobs

from segbench.engines import ENGINES, available, start
from segbench.errors import EngineError, InputError, UnknownNameError
from segbench.masks import SAMPLES, masks
from segbench.metrics.uncertainty import binary
from segbench.normalisation import Normalisation, fit
from segbench.predict import predict, tiles
from segbench.predict.said import sigmoid
from segbench.volume import Volume


def card_with(card, **changes):
    return card.model_copy(update={"input": card.input.model_copy(update=changes)})


@pytest.fixture(scope="module")
def engine(tiny):
    return start(tiny, "onnxruntime", threads=2)


def test_one_tile_equals_the_network_applied_by_hand(tiny, engine):
    """The definition, written out once more for a volume of one tile."""
    data = blobs((20, 22, 18)) * 300 + 1000
    card = card_with(tiny.card, core=(20, 22, 18), halo=(4, 4, 4))
    got = predict(Volume(data), card, engine, samples=5, seed=3)
    grey = (data - data.mean(dtype=np.float64)) / data.std(dtype=np.float64)
    padded = np.pad(grey, 4, mode="edge").astype(np.float32)[None, None]
    logits = engine.bind(masks(card.dropout, 3, range(5)))(padded)[:, 0, 4:-4, 4:-4, 4:-4]
    assert (card.calibration.scale, card.calibration.shift) == (1.25, -0.3)
    expected = binary(1 / (1 + np.exp(-(1.25 * logits - 0.3))))
    np.testing.assert_allclose(got.probability, expected.mean, atol=2e-6)
    np.testing.assert_allclose(got.entropy, expected.entropy, atol=1e-5)
    np.testing.assert_allclose(got.mutual, expected.mutual, atol=1e-5)
    np.testing.assert_allclose(got.spread, expected.spread, atol=1e-5)
    np.testing.assert_array_equal(got.labels, got.probability > 0.5)


def test_samples_are_coherent_over_tiles(tiny, engine):
    """With a halo as long as the receptive field, many tiles with one mask are one network over the volume."""
    data = blobs((24, 24, 24))
    whole = predict(Volume(data), card_with(tiny.card, core=(24,) * 3, halo=(16,) * 3), engine, samples=1, seed=1)
    cut = predict(Volume(data), card_with(tiny.card, core=(8,) * 3, halo=(16,) * 3), engine, samples=1, seed=1)
    np.testing.assert_allclose(cut.probability, whole.probability, atol=1e-5)


def test_a_batch_does_not_change_a_sample(tiny, engine):
    volume = Volume(blobs((16, 16, 16)))
    first = predict(volume, tiny.card, engine, samples=1, seed=0).probability
    image = (blobs((16, 16, 16)) - blobs((16, 16, 16)).mean()) / blobs((16, 16, 16)).std()
    assert image.shape == first.shape
    means = {t: predict(volume, tiny.card, engine, samples=t, seed=0).probability for t in (4, 5)}
    total5, total4 = means[5] * 5, means[4] * 4
    fifth = total5 - total4
    assert fifth.min() > -1e-5
    assert fifth.max() < 1 + 1e-5
    again = predict(volume, tiny.card, engine, samples=5, seed=0).probability
    np.testing.assert_array_equal(again, means[5])


def test_another_seed_gives_other_samples(tiny, engine):
    volume = Volume(blobs((16, 16, 16)))
    a, b = (predict(volume, tiny.card, engine, samples=3, seed=s) for s in (0, 1))
    assert np.abs(a.mutual - b.mutual).mean() > 1e-5


@pytest.mark.parametrize("times", [8, 16, 32])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_slice_gives_the_same_labels_however_often_it_is_repeated(tiny, name, times):
    runtime = start(tiny, name)
    data = blobs((1, 40, 30), seed=2)
    single = predict(Volume(data), tiny.card, runtime, samples=4, seed=0)
    repeated = predict(Volume(np.repeat(data, times, axis=0)), tiny.card, runtime, samples=4, seed=0)
    np.testing.assert_allclose(repeated.probability, np.repeat(single.probability, times, axis=0), atol=1e-5)
    sure = np.abs(single.probability[0] - 0.5) > 1e-5
    np.testing.assert_array_equal(repeated.labels[:, sure], np.repeat(single.labels, times, axis=0)[:, sure])
    assert sure.mean() > 0.999


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_grey_values_of_any_scale_give_the_same(tiny, engine, dtype):
    grey = np.round((blobs((16, 16, 16)) - blobs((16, 16, 16)).min()) * 20)
    assert grey.max() < 255
    expected = predict(Volume(grey.astype(np.float32)), tiny.card, engine, samples=2).probability
    got = predict(Volume(grey.astype(dtype)), tiny.card, engine, samples=2).probability
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_short_axes_make_short_tiles_where_the_network_allows_it(tiny):
    assert tiles(card_with(tiny.card, fixed_tile=True, border="zero"), (1, 50, 50)).shape == (32, 32, 32)
    assert tiles(card_with(tiny.card, border="zero"), (1, 50, 50)).shape == (10, 26, 26)
    assert tiny.card.input.border == "replicate"
    assert tiles(tiny.card, (2, 50, 50)).shape == (10, 26, 26)
    assert tiles(tiny.card, (1, 50, 50)).shape == (2, 26, 26), "a slice needs no slices beside it"


def test_normalisation_is_a_z_score_of_the_clipped_volume():
    data = (np.random.default_rng(0).standard_normal((30, 20, 10)) * 7 + 1e6).astype(np.float32)
    scaling = fit(Normalisation(), Volume(data))
    assert scaling.offset == pytest.approx(data.mean(dtype=np.float64), rel=1e-9)
    assert scaling.scale == pytest.approx(data.std(dtype=np.float64), rel=1e-6)
    data[0, 0, 0] = 1e9
    clipped = fit(Normalisation(clip_percentiles=(1, 99)), Volume(data))
    assert clipped.scale < 8
    assert scaling(data[:1]).dtype == np.float32
    assert clipped(data).max() < 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_are_refused(tiny, engine, value):
    data = blobs((16, 16, 16))
    data[3, 2, 1] = value
    with pytest.raises(InputError, match=r"my\.tif: 1 voxels"):
        predict(Volume(data, source="my.tif"), tiny.card, engine)


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_constant_images_are_refused(tiny, engine, value):
    with pytest.raises(InputError, match="constant"):
        predict(Volume(np.full((8, 8, 8), value, np.uint16)), tiny.card, engine)


@pytest.mark.parametrize("samples", [-1, SAMPLES + 1])
def test_no_samples_are_refused(tiny, engine, samples):
    with pytest.raises(InputError, match="samples"):
        predict(Volume(blobs((8, 8, 8))), tiny.card, engine, samples=samples)


def test_sigmoid_does_not_overflow():
    x = np.float32([-1e4, -50, 0, 50, 1e4])
    np.testing.assert_allclose(sigmoid(x), [0, 0, 0.5, 1, 1], atol=1e-7)


def test_engines_are_asked_for_by_name_and_never_substituted(tiny, monkeypatch):
    assert start(tiny).name == available()[0]
    for name in set(ENGINES) - {"tensorrt", "tensorrt-rtx"}:  # these run engine files, not zoo models: test_tensorrt
        running = start(tiny, name, threads=1)
        assert (running.name, running.precision, running.threads) == (name, "f32", 1)
    with pytest.raises(UnknownNameError, match="openvino"):
        start(tiny, "openvin")
    with pytest.raises(EngineError, match="f32"):
        start(tiny, "onnxruntime", precision="int3")
    monkeypatch.setattr("segbench.engines.find_spec", lambda _: None)
    with pytest.raises(EngineError, match="pip install"):
        start(tiny)
    with pytest.raises(EngineError, match="pip install"):
        start(tiny, "openvino")


def test_bf16_is_close_and_says_so(tiny):
    try:
        quick = start(tiny, "openvino", precision="bf16")
    except EngineError as error:
        pytest.skip(f"SKIPPED LOUDLY: {error}")
    assert quick.precision == "bf16"
    volume = Volume(blobs((16, 16, 16)))
    a = predict(volume, tiny.card, quick, samples=4).probability
    b = predict(volume, tiny.card, start(tiny, "openvino"), samples=4).probability
    assert 0 < np.abs(a - b).max() < 0.05


def test_the_front_door_takes_arrays_slices_and_paths(tiny, tmp_path):
    import segbench

    data = blobs((1, 24, 20))
    tifffile.imwrite(tmp_path / "scan.tif", data[0])
    loaded = segbench.load(str(tiny.path), engine="onnxruntime")
    expected = loaded.predict(Volume(data), samples=2, seed=1)
    assert expected.labels.shape == (1, 24, 20)
    for given in (
        data,
        data[0],
        tmp_path / "scan.tif",
        str(tmp_path / "scan.tif"),
        segbench.open_volume(tmp_path / "scan.tif"),
    ):
        np.testing.assert_array_equal(loaded.predict(given, samples=2, seed=1).probability, expected.probability)
    with pytest.raises(InputError, match="no volume"):
        loaded.predict(np.zeros((2, 2, 2, 2), np.float32))


@pytest.mark.parametrize("times", [3, 8, 17])
def test_a_repeated_slice_is_normalised_alike(times):
    """Percentiles between two values move with the number of voxels: the trained model's probabilities moved by .04."""
    data = blobs((1, 40, 48), seed=3)
    how = Normalisation(clip_percentiles=(0.1, 99.9))
    one, many = fit(how, Volume(data)), fit(how, Volume(np.repeat(data, times, axis=0)))
    assert (one.low, one.high) == (many.low, many.high)
    assert one.scale == pytest.approx(many.scale, rel=1e-12)


def test_a_volume_that_cannot_be_read_to_its_end_is_no_prediction(tiny, engine):
    class Gone:
        shape, dtype, gone = (60, 30, 30), np.dtype(np.float32), False
        values = blobs((60, 30, 30))

        def __getitem__(self, key):
            if self.gone:
                raise InputError("scan.h5: cannot be read any more: did it change?")
            return self.values[key]

    data = Gone()
    card = card_with(tiny.card, core=(10, 10, 10), halo=(4, 4, 4))
    with pytest.raises(InputError, match="any more"):
        predict(Volume(data), card, engine, samples=2, progress=lambda *_: setattr(data, "gone", True))
