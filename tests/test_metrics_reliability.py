"""Calibration and sparsification against closed forms, and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from segbench.errors import InputError
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import Reliability
from segbench.metrics.sparsification import ause, curve


def drawn(seed: int, n: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(0.6, 0.8, n)
    return p, rng.random(n) < p**1.3


@given(st.integers(0, 50))
def test_nll_and_brier_are_scikit_learns(seed):
    p, y = drawn(seed)
    p = np.clip(p, 1e-6, 1 - 1e-6)
    found = Reliability().add(p.reshape(50, 10, 10), y.reshape(50, 10, 10))
    assert found.mean_nll == pytest.approx(log_loss(y, p), rel=1e-9)
    assert found.mean_brier == pytest.approx(brier_score_loss(y, p), rel=1e-9)


def test_calibration_error_by_hand():
    p, y = np.array([0.9, 0.9, 0.9, 0.9, 0.2]), np.array([1, 1, 1, 0, 1])
    found = Reliability().add(p, y)
    assert found.ece == pytest.approx((abs(3 - 3.6) + abs(0 - 0.8)) / 5)
    assert found.ece_classwise == pytest.approx((abs(3 - 3.6) + abs(1 - 0.2)) / 5)


def test_calibration_error_by_its_definition():
    p, y = drawn(3)
    sure, right = np.maximum(p, 1 - p), (p > 0.5) == y
    edges = np.linspace(0, 1, 16)
    expected = 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (sure >= low) & ((sure < high) | (high == 1))
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert Reliability().add(p, y).ece == pytest.approx(expected, rel=1e-9)


def test_parts_add_up():
    p, y = drawn(1)
    whole = Reliability().add(p, y)
    parts = Reliability().add(p[:1234], y[:1234]) + Reliability().add(p[1234:], y[1234:])
    for name in ("mean_nll", "mean_brier", "ece", "ece_classwise"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-12)


def test_sure_and_right_is_perfect_and_nothing_is_undefined():
    y = np.array([0, 1, 1])
    found = Reliability().add(y.astype(float), y)
    assert (found.ece, found.mean_brier) == (0, 0)
    assert math.isnan(Reliability().ece)
    assert math.isnan(Reliability().mean_nll)


@pytest.mark.parametrize("bad", [np.array([0.5, np.nan]), np.array([1.1, 0.0]), np.array([0.5])])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(InputError):
        Reliability().add(bad, np.array([0, 1]))


def test_an_oracle_has_no_area_and_ignorance_has_the_closed_form():
    error = np.random.default_rng(0).random(200_000) < 0.05
    assert ause(Histogram().add(error.astype(np.float32), error)) == pytest.approx(0, abs=2e-3)
    # a constant uncertainty leaves the error rate e as it is; the oracle's area is e + (1 - e) ln(1 - e)
    e = float(error.mean())
    expected = 1 - (e + (1 - e) * math.log(1 - e)) / e
    assert ause(Histogram().add(np.full(error.shape, 0.3), error)) == pytest.approx(expected, abs=2e-3)


def test_a_sparsification_curve_by_sorting():
    rng = np.random.default_rng(2)
    score = rng.integers(0, 4096, 20_000) / 4096
    error = rng.random(20_000) < 0.3 * score
    taken, rest, oracle = curve(Histogram().add(score, error), steps=50)
    order = np.argsort(score, kind="stable")
    for share, value, best in zip(taken, rest, oracle, strict=True):
        left = order[: round(20_000 * (1 - share))]
        assert value == pytest.approx(error[left].mean(), abs=2e-3)
        assert best == pytest.approx(max(error.sum() - 20_000 * share, 0) / len(left), abs=1e-9)


def test_no_errors_and_no_voxels_are_undefined():
    assert math.isnan(ause(Histogram().add(np.array([0.5]), np.array([0]))))
    assert np.isnan(curve(Histogram())[1]).all()
