"""Intervals by the bootstrap: against closed forms, and flagged where one case says nothing of others."""

import numpy as np
import pytest

from segbench.errors import InputError
from segbench.metrics import overlap
from segbench.metrics.intervals import of_mean, of_pooled


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(1).normal(0.9, 0.02, 400)
    found = of_mean(list(values))
    error = 1.96 * values.std() / np.sqrt(values.size)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + error, abs=0.1 * error)


def test_a_pooled_accuracy_has_the_interval_of_its_blocks():
    right = np.random.default_rng(2).integers(80, 101, 200)
    counts = np.stack([np.diag([n, 0]) + np.array([[0, 100 - n], [0, 0]]) for n in right])
    found, mean = of_pooled(counts, overlap.accuracy), of_mean(list(right / 100))  # blocks of equal size
    assert (found.value, found.low, found.high) == pytest.approx((mean.value, mean.low, mean.high), abs=1e-12)


def test_it_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        found = of_mean(list(rng.exponential(1.0, 40)), draws=400)
        hits += found.low <= 1 <= found.high
    assert 0.88 <= hits / 300 <= 0.98  # the percentile interval of 40 skewed values covers a little less than it says


def test_one_case_says_nothing_of_others():
    found = of_mean([0.9])
    assert (found.value, found.n) == (0.9, 1)
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_what_is_undefined_is_left_out_and_counted():
    found = of_mean([0.5, float("nan"), 0.7])
    assert (found.value, found.n) == (pytest.approx(0.6), 2)
    assert of_mean([float("nan")]).n == 0
    with pytest.raises(InputError):
        of_pooled(np.zeros((0, 2, 2), np.int64), overlap.accuracy)


def test_a_seed_is_a_seed():
    values = [0.1, 0.4, 0.9, 0.95]
    assert of_mean(values, seed=3) == of_mean(values, seed=3)
    assert of_mean(values, seed=3) != of_mean(values, seed=4)
