"""The compiled aggregation against closed forms in float64, and against the definitions of the metrics."""

import numpy as np
import pytest
from scipy.special import entr, expit, log1p

from segbench import zoo
from segbench.metrics.uncertainty import binary
from segbench.predict import said
from segbench.predict.aggregate import WIDTH, aggregate
from segbench.predict.aggregate import binary as room
from segbench.zoo.findings import CalibrationCard

SCALE, SHIFT = 1.3, -0.2


def aggregated(given, z=0, scale=1.0, shift=0.0, threshold=0.5, keep=0):
    """What is written of a plane: labels, values (5, Y, X), counts, samples."""
    maps = room(given.shape, keep)
    aggregate(given, z, scale, shift, threshold, maps)
    return maps.labels[z], maps.values[:, z], maps.active[z], maps.samples[:, z]


def logits(samples, shape=(2, 3, WIDTH + 45), seed=0):
    """Small ones and such whose probabilities are 0 or 1 in float32."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((samples, *shape)) * rng.choice([0.1, 3, 20, 300], (samples, *shape))).astype(
        np.float32
    )


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 16, 33])
def test_mean_entropy_and_spread_are_the_closed_forms(samples):
    given = logits(samples)
    labels, values, active, keep = aggregated(given, 1, SCALE, SHIFT, 0.4, min(2, samples))
    mean, whole, mutual, spread, deviation = values
    x = (given[:, 1] * np.float32(SCALE) + np.float32(SHIFT)).astype(np.float64)
    p = expit(x)
    entropy = log1p(np.exp(-np.abs(x))) + np.abs(x) * expit(-np.abs(x))
    low, high = np.percentile(p, [30, 70], axis=0)
    np.testing.assert_allclose(mean, p.mean(axis=0), rtol=0, atol=3e-7)
    q = p.mean(axis=0)
    meant = entr(q) + entr(1 - q)  # beside a mean of 1, rounded by 6e-8, it is as steep as 16
    np.testing.assert_allclose(whole, meant, rtol=0, atol=1e-6)
    np.testing.assert_allclose(mutual, meant - entropy.mean(axis=0), rtol=0, atol=1e-6)
    assert mutual.min() >= 0
    assert (mutual <= whole).all()
    np.testing.assert_array_equal(labels, mean > np.float32(0.4))
    np.testing.assert_allclose(spread, high - low, rtol=0, atol=4e-7)
    np.testing.assert_allclose(deviation, p.std(axis=0), rtol=0, atol=3e-7)
    np.testing.assert_array_equal(active, (p.astype(np.float32) > 0.4).sum(axis=(1, 2)))
    assert len(keep) == min(2, samples)
    np.testing.assert_array_equal(keep, p[: len(keep)].astype(np.float32) > 0.4)


def test_small_probabilities_keep_their_digits():
    """1 - p and log(1 + e) would lose them all."""
    given = np.linspace(-60, -3, 200, dtype=np.float32).reshape(1, 1, 1, -1)
    mean, expected = aggregated(given)[1][:2]
    x = given[0, 0].astype(np.float64)
    np.testing.assert_allclose(mean, expit(x), rtol=1e-6)
    np.testing.assert_allclose(expected, log1p(np.exp(x)) - x * expit(x), rtol=1e-6)


def test_infinite_logits_are_certain_and_nan_stays_nan():
    given = np.array([np.inf, -np.inf, np.nan, 0], np.float32).reshape(1, 1, 1, 4)
    _, (mean, expected, mutual, spread, deviation), active, _ = aggregated(given)
    np.testing.assert_allclose(mean[0], [1, 0, np.nan, 0.5], atol=1e-37)
    np.testing.assert_allclose(expected, [[0, 0, np.nan, np.log(2)]], atol=1e-7)
    np.testing.assert_array_equal(mutual, [[0, 0, np.nan, 0]])
    assert active.tolist() == [1]
    assert spread[0, 0] == 0
    np.testing.assert_array_equal(deviation[0], [0, 0, np.nan, 0])


def test_small_deviations_keep_their_digits():
    """The mean of squares minus the square of the mean would lose them all."""
    given = (9 + 1e-2 * np.random.default_rng(0).standard_normal((16, 1, 1, 300))).astype(np.float32)
    deviation = aggregated(given, scale=-1)[1][4]
    np.testing.assert_allclose(deviation, expit(-given[:, 0].astype(np.float64)).std(axis=0), rtol=1e-3)


@pytest.mark.parametrize("samples", [3, 5, 7, 11, 13, 33])
def test_a_mean_of_ones_is_one(samples):
    """Metrics refuse what is above it."""
    mean, *_ = aggregated(np.full((samples, 1, 1, 9), 200, np.float32))[1]
    np.testing.assert_array_equal(mean, 1)


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_said_is_what_the_metrics_define(tiny, threads):
    card = zoo.find(str(tiny.path)).card
    fitted = CalibrationCard(scale=SCALE, shift=SHIFT, on="a test", nll_before=1, nll_after=1)
    card = card.model_copy(update={"calibration": fitted})
    given = logits(5, (4, 6, 9))
    found = said(given[:, None], card, keep=2, threads=threads)
    p = expit(given.astype(np.float64) * SCALE + SHIFT).astype(np.float32)
    meant = binary(p)
    np.testing.assert_allclose(found.probability, meant.mean, atol=5e-7)
    np.testing.assert_allclose(found.entropy, meant.entropy, atol=1e-6)
    np.testing.assert_allclose(found.mutual, meant.mutual, atol=2e-6)
    np.testing.assert_allclose(found.spread, meant.spread, atol=1e-6)
    np.testing.assert_allclose(found.deviation, meant.deviation, atol=1e-6)
    np.testing.assert_array_equal(found.labels, meant.mean > card.threshold)
    np.testing.assert_array_equal(found.active, (p > card.threshold).sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(found.samples, p[:2] > card.threshold)
