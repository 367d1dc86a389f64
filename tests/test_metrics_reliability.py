"""Calibration and sparsification against closed forms, and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from segbench.errors import InputError
from segbench.metrics.ranking import Histogram, place
from segbench.metrics.reliability import Reliability
from segbench.metrics.sparsification import EXACT, HARMONIC, _harmonic, aurc, ause, curve


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


def test_diagrams_hold_what_bins_hold():
    p, y = np.array([0.9, 0.92, 0.9, 0.1, 0.1, 0.5]), np.array([1, 0, 1, 0, 1, 1])
    found = Reliability().add(p, y)
    top, (each,) = found.top_label, found.class_wise
    assert (top.count[13], top.observed[13], top.count[7], top.observed[7]) == (5, 3, 1, 0)
    assert top.probability[13] == pytest.approx((0.9 + 0.92 + 0.9 + 0.9 + 0.9) / 5)
    assert (each.count[1], each.observed[1], each.count[13], each.observed[13]) == (2, 1, 3, 2)
    assert each.frequency[13] == pytest.approx(2 / 3)
    assert np.isnan(top.probability[[0, 5, 14]]).all()
    assert found.confusion.tolist() == [[1, 1], [2, 2]]


def test_a_class_is_called_above_the_threshold():
    p, y = np.array([0.3, 0.35, 0.6]), np.array([1, 0, 1])
    found = Reliability().add(p, y, threshold=0.32)
    assert found.confusion.tolist() == [[0, 1], [1, 1]]
    assert found.ece == pytest.approx((abs(0 - 0.7) + abs(0 - 0.35) + abs(1 - 0.6)) / 3)


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


def ordered(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which no two lie in one bin, and errors."""
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(np.unique((2.0 ** -rng.uniform(1, 20, 4 * n)).astype(np.float32)))
    score = drawn[np.unique(place(drawn), return_index=True)[1]]
    return score, rng.random(len(score)) < np.sqrt(score)


def area(score: np.ndarray, error: np.ndarray) -> float:
    """AURC by its definition: mean error rate of the n most certain, n = 1 to N."""
    sorted_errors = error[np.argsort(score, kind="stable")]
    return float((np.cumsum(sorted_errors) / np.arange(1, len(error) + 1)).mean())


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_areas_are_their_definitions(seed):
    score, error = ordered(seed)
    found = Histogram().add(score, error)
    assert aurc(found) == pytest.approx(area(score, error), rel=1e-11)
    oracle = area(error, error)
    assert ause(found) == pytest.approx((area(score, error) - oracle) / error.mean(), rel=1e-9)


def test_ties_leave_in_random_order():
    rng = np.random.default_rng(3)
    score, error = rng.integers(0, 3, 60) / 4, rng.random(60) < 0.3
    shuffled = [area(score[at], error[at]) for at in (rng.permutation(60) for _ in range(20_000))]
    standard_error = np.std(shuffled) / 20_000**0.5
    assert aurc(Histogram().add(score, error)) == pytest.approx(np.mean(shuffled), abs=4 * standard_error)


def test_harmonic_numbers():
    n = np.array([0, 1, 10, EXACT, EXACT + 1, 1000, 10**10])
    expected = [0, 1, 2.9289682539682538, HARMONIC[EXACT], HARMONIC[EXACT] + 1 / (EXACT + 1), 7.485470860550345]
    np.testing.assert_allclose(_harmonic(n), [*expected, 23.603066594891987], rtol=1e-15)


def test_an_oracle_has_no_area_and_ignorance_has_the_closed_form():
    error = np.random.default_rng(0).random(200_000) < 0.05
    assert ause(Histogram().add(error.astype(np.float32), error)) == pytest.approx(0, abs=1e-12)
    # a constant uncertainty leaves the error rate e as it is; the oracle's area is e + (1 - e) ln(1 - e)
    e = float(error.mean())
    constant = Histogram().add(np.full(error.shape, 0.3), error)
    assert aurc(constant) == pytest.approx(e, rel=1e-12)
    expected = 1 - (e + (1 - e) * math.log(1 - e)) / e
    assert ause(constant) == pytest.approx(expected, abs=1e-4)


def test_a_sparsification_curve_by_sorting():
    rng = np.random.default_rng(2)
    score = rng.integers(0, 50, 20_000) / 64
    error = rng.random(20_000) < 0.3 * score  # ties: a few thousandths
    taken, rest, oracle = curve(Histogram().add(score, error), steps=50)
    order = np.argsort(score, kind="stable")
    for share, value, best in zip(taken, rest, oracle, strict=True):
        left = order[: round(20_000 * (1 - share))]
        assert value == pytest.approx(error[left].mean(), abs=2e-3)
        assert best == pytest.approx(max(error.sum() - 20_000 * share, 0) / len(left), abs=1e-9)


def test_no_errors_and_no_voxels_are_undefined():
    assert math.isnan(ause(Histogram().add(np.array([0.5]), np.array([0]))))
    assert np.isnan(curve(Histogram())[1]).all()
    assert math.isnan(aurc(Histogram()))
    assert aurc(Histogram().add(np.array([0.5, 0.2]), np.array([0, 0]))) == 0
