"""Which phase bulges, the bright or the dark one."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from segbench.data.battery16 import make_case
from segbench.data.domains import DOMAINS
from segbench.engines import start
from segbench.io.chunked import Cache, Chunked
from segbench.polarity import LEAST_ERRORS, LEAST_SCORE, Polarity, polarity
from segbench.predict import Predictor, predict
from segbench.volume import Volume

OTHER = {"normal": "inverted", "inverted": "normal", "unsure": "unsure"}


def spheres(shape, radius, count, noise=0.1, seed=0):
    """Bright balls on a dark ground, edges one voxel soft; a ball may lie in another."""
    rng = np.random.default_rng(seed)
    distance = np.full(shape, np.inf, dtype=np.float32)
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    for _ in range(count):
        centre = rng.uniform(0, shape)
        squares = sum(np.square(a - c) for a, c in zip(axes, centre, strict=True))
        np.minimum(distance, np.sqrt(squares) - radius, out=distance)
    return 1 / (1 + np.exp(2 * np.clip(distance, -30, 30))) + noise * rng.standard_normal(shape)


def lattice(size, radius):
    """Touching balls in a body-centred lattice, turned against the axes; they fill .68."""
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))
    points = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), axis=-1) @ turn
    edge = 4 * radius / 3**0.5
    distance = np.full((size,) * 3, np.inf)
    for centre in (0.0, 0.5):
        apart = points / edge - centre
        squares = np.square(apart - np.rint(apart)).sum(axis=-1)
        np.minimum(distance, edge * np.sqrt(squares) - radius, out=distance)
    return 1 / (1 + np.exp(2 * distance)) + 0.1 * np.random.default_rng(0).standard_normal(distance.shape)


def judged(data):
    return polarity(Volume(np.asarray(data)))


@pytest.mark.parametrize(
    "data",
    [spheres((48, 64, 64), 7, 20), lattice(56, 7), spheres((40, 96, 96), 16, 20), spheres((17, 192, 192), 9, 120)[8:9]],
    ids=["sparse", "dense", "large", "slice"],
)
def test_balls_are_normal_and_their_negative_is_inverted(data):
    """Whatever their share. Rounding turns a sign where a level line is straight: hence the tolerance."""
    straight, turned = judged(data), judged(-data)
    assert (straight.verdict, turned.verdict) == ("normal", "inverted")
    assert turned.score == pytest.approx(-straight.score, abs=1e-4)
    assert turned.error == pytest.approx(straight.error, abs=1e-4)


def test_one_disc_scores_one():
    """Its level lines curve one way everywhere; noise-free, so nothing else has a slope."""
    y, x = np.ogrid[-64:64, -64:64]
    data = 1 / (1 + np.exp(np.hypot(y, x) - 30))[None]
    assert judged(data).score == pytest.approx(1, abs=1e-3)
    assert judged(-data).score == pytest.approx(-1, abs=1e-3)


def test_straight_layers_and_noise_are_unsure():
    rng = np.random.default_rng(0)
    layers = np.sin(np.arange(128) / 5)[None, :, None] + 0.2 * rng.standard_normal((64, 128, 128))
    assert judged(layers).verdict == "unsure"
    verdicts = [judged(rng.standard_normal((1, 128, 128))).verdict for _ in range(40)]
    assert verdicts.count("unsure") >= 36


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32", "float64"])
def test_the_scale_of_grey_does_not_matter(kind):
    data = spheres((40, 64, 64), 8, 40)
    whole = np.rint((data - data.min()) / np.ptp(data) * 250)
    given = {"uint8": whole, "uint16": 13000 + whole * 200, "int16": whole - 300, "float32": whole * 2.0**-40}
    seen = judged(given.get(kind, whole + 1e7).astype(kind))
    assert seen.score == pytest.approx(judged(whole).score, abs=1e-4)
    assert seen.verdict == "normal"


@pytest.mark.parametrize("fill", [-9.0, 0.0, 9.0])
def test_a_constant_exterior_is_no_evidence(fill):
    """The rim of a round field of view, filled dark, is one large bright disc."""
    data = spheres((16, 128, 128), 8, 60)
    y, x = np.ogrid[-64:64, -64:64]
    outside = np.hypot(y + 0.5, x + 0.5) > 63
    for sign, verdict in ((1, "normal"), (-1, "inverted")):
        open_field = judged(sign * data)
        seen = judged(np.where(outside, fill, sign * data))
        assert seen.verdict == open_field.verdict == verdict
        assert seen.score == pytest.approx(open_field.score, abs=3 * open_field.error)
    noise = np.random.default_rng(0).standard_normal(data.shape)
    assert judged(np.where(outside, fill, noise)).verdict == "unsure"


def test_all_heights_are_looked_at():
    data = np.random.default_rng(0).standard_normal((72, 64, 64)) * 0.1
    data[40:] = spheres((32, 64, 64), 7, 14)
    assert judged(data[:40]).verdict == "unsure"
    assert judged(data).verdict == judged(data[::-1]).verdict == "normal"


def test_a_slice_and_its_repetition_are_judged_alike():
    data = spheres((17, 128, 128), 9, 45)[8:9]
    one, many = judged(data), judged(np.repeat(data, 40, axis=0))
    assert many.score == pytest.approx(one.score, abs=1e-4)
    assert many.error == pytest.approx(one.error, abs=1e-4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (64, 20, 64), (3, 31, 31)])
def test_too_small_an_image_is_unsure(shape):
    seen = judged(np.random.default_rng(0).standard_normal(shape))
    assert np.isnan(seen.score)
    assert seen.verdict == "unsure"


def test_what_is_nearly_constant_is_unsure():
    data = np.zeros((8, 64, 64))
    data[4, 30, 30] = 1
    assert judged(data).verdict == "unsure"


def test_little_of_a_large_volume_is_read():
    """Of 10^9 voxels at most 54 slices, 45 of them averaged five by five."""
    read = []
    plane = spheres((1, 1000, 1000), 12, 400)[0].astype(np.float32)
    lazy = Chunked(
        (1000, 1000, 1000), plane.dtype, (1, 1000, 1000), lambda at: read.append(at) or plane[np.newaxis], Cache(0)
    )
    assert polarity(Volume(lazy)).verdict == "normal"
    assert len(read) <= 54


@pytest.mark.parametrize("name", ["Tesla", "25R6", "Electrode_III_3"])
def test_domains_of_battery16(name):
    """The densest, the sparsest, and the one with the least contrast."""
    image = make_case(DOMAINS[name], 64, 0).image
    assert judged(image).verdict == "normal"
    assert judged(-image).verdict == "inverted"


@pytest.mark.real
def test_measured_images_are_never_taken_for_inverted(real):
    verdicts = {}
    for path in sorted(real.glob("nmc-nanoct-*/*.image.tif")):
        image = tifffile.imread(path)[None]
        verdicts[path.name] = (judged(image).verdict, judged(-image).verdict)
    assert len(verdicts) == 11
    assert all(a != "inverted" and b == OTHER[a] for a, b in verdicts.values()), verdicts
    assert sum(a == "normal" for a, _ in verdicts.values()) >= 5, verdicts


def test_a_prediction_says_what_looks_inverted_and_inverting_silences_it(tiny):
    engine = start(tiny, threads=1)
    data = spheres((24, 64, 64), 8, 40).astype(np.float32)
    assert predict(Volume(data), tiny.card, engine, samples=1).warnings == ()
    turned = Volume(-data, source="scan.tif")
    (warning,) = predict(turned, tiny.card, engine, samples=1).warnings
    assert warning.startswith("scan.tif: the contrast looks inverted")
    assert "--invert" in warning
    assert "\n" not in warning
    straightened = predict(turned, tiny.card, engine, samples=1, invert=True)
    assert straightened.warnings == ()
    expected = predict(Volume(data), tiny.card, engine, samples=1)
    np.testing.assert_allclose(straightened.probability, expected.probability, atol=1e-5)
    front = Predictor(tiny.card, engine).predict(-data, samples=1, invert=True)
    np.testing.assert_array_equal(front.probability, straightened.probability)


def test_a_verdict_needs_a_score_and_its_error():
    assert (LEAST_SCORE, LEAST_ERRORS) == (0.02, 2.5), "docs/normalisation.md names them"
    for verdict in ("normal", "unsure"):
        assert Polarity(0.1, 0.01, verdict).warning("a") is None
    assert replace(Polarity(-0.1, 0.01, "normal"), verdict="inverted").warning("a") is not None
