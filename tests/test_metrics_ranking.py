from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from segbench.errors import InputError
from segbench.metrics import slabs
from segbench.metrics.correlation import pearson
from segbench.metrics.ranking import BINS, HALF, Histogram, auc, place


def apart(rng: np.random.Generator, kind: type) -> np.ndarray:
    """Scores of which no two lie in one bin, from very near 0 to very near 1."""
    drawn = np.concatenate([rng.random(2000), 2.0 ** -rng.uniform(1, 30, 2000), 1 - 2.0 ** -rng.uniform(1, 22, 2000)])
    drawn = drawn.astype(np.float32).astype(kind)
    return drawn[np.unique(place(drawn), return_index=True)[1]]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
def test_on_scores_that_bins_can_tell_it_is_scikit_learns_value(seed, kind):
    rng = np.random.default_rng(seed)
    score = rng.choice(apart(rng, kind), (4, 5, 6))
    truth = rng.random(score.shape) < 0.3
    truth.flat[:2] = True, False
    found = Histogram().add(score, truth)
    assert found.auc() == pytest.approx(roc_auc_score(truth.ravel(), score.ravel()), rel=1e-12)
    expected = average_precision_score(truth.ravel(), score.ravel())
    assert found.average_precision() == pytest.approx(expected, rel=1e-12)


def test_bins_are_in_order_mirrored_and_fine_at_both_ends():
    every = np.sort(np.concatenate([np.linspace(0, 1, 20001), 2.0 ** -np.linspace(1, 40, 5000)])).astype(np.float32)
    places = place(every)
    assert (np.diff(places) >= 0).all()
    assert (places[0], places[-1]) == (0, BINS - 1)
    assert place(np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1))])).tolist() == [HALF - 1, HALF]
    quarters = np.arange(1, 1 << 12) / (1 << 13)  # so that 1 - x is exact
    np.testing.assert_array_equal(place(1 - quarters[quarters < 0.5]), BINS - 1 - place(quarters[quarters < 0.5]))
    small = every[(every > 2.0**-25) & (every < 0.5)].astype(np.float64)
    assert (place(small * (1 + 1 / 64)) > place(small))[small * (1 + 1 / 64) < 0.5].all(), "1.6 % apart, told apart"
    assert place(np.array([-0.0, 0.0, 2.0**-26])).tolist() == [0, 0, 0]


def test_scores_within_a_bin_are_equal_and_the_error_is_bounded_by_that():
    rng = np.random.default_rng(0)
    truth = rng.random(20000) < 0.4
    score = np.clip(0.3 * truth + rng.random(20000) * 0.7, 0, 1).astype(np.float32)
    found = Histogram().add(score, truth)
    assert found.auc() == pytest.approx(roc_auc_score(truth, score), abs=1e-4)
    assert found.average_precision() == pytest.approx(average_precision_score(truth, score), abs=2e-3)
    assert auc(np.array([0.25, 0.2501]), np.array([False, True])) == 0.5


def test_the_crowd_near_zero_is_still_ranked():
    """Bins of equal width would tie all of these."""
    truth = np.arange(1000) % 2 == 0
    score = np.where(truth, 3e-6, 1e-6) * np.random.default_rng(0).uniform(0.9, 1.1, 1000)
    assert auc(score, truth) == 1


@pytest.mark.parametrize(("score", "expected"), [([0, 0.2, 0.8, 1], 1.0), ([1, 0.8, 0.2, 0], 0.0), ([0.5] * 4, 0.5)])
def test_order_decides(score, expected):
    assert auc(np.array(score), np.array([0, 0, 1, 1])) == expected


def test_parts_add_up_to_the_whole_in_any_order():
    rng = np.random.default_rng(2)
    score, truth = rng.random((3, 500)), rng.integers(0, 2, (3, 500))
    whole = Histogram().add(score, truth)
    parts = [Histogram().add(s, t) for s, t in zip(score, truth, strict=True)]
    for order in (parts, parts[::-1]):
        merged = sum(order, Histogram())
        np.testing.assert_array_equal(merged.positive, whole.positive)
        assert merged.auc() == whole.auc()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLAB", 77)
        np.testing.assert_array_equal(Histogram().add(score, truth).negative, whole.negative)


def test_pairs_beyond_64_bits_are_counted_exactly():
    positive, negative = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    positive[10], positive[5] = 3 * 2**33, 2**33
    negative[0], negative[5] = 2**34, 2**34
    pairs = 2**35 * 2**35
    wins = 3 * 2**33 * 2**35 + 2**33 * 2**34 + 2**33 * 2**34 // 2
    assert Histogram(positive, negative).auc() == wins / pairs


@pytest.mark.parametrize("truth", [[0, 0], [1, 1]])
def test_one_class_alone_cannot_be_ranked(truth):
    assert np.isnan(auc(np.array([0.1, 0.9]), np.array(truth)))
    assert np.isnan(Histogram().auc())
    assert np.isnan(Histogram().average_precision())


@pytest.mark.parametrize("score", [[-0.1, 0.5], [0.5, 1.1], [np.nan, 0.5]])
def test_what_is_no_probability_is_refused(score):
    with pytest.raises(InputError, match="probability"):
        auc(np.array(score), np.array([0, 1]))


def test_a_histogram_is_frozen_and_shapes_must_match():
    with pytest.raises(FrozenInstanceError):
        Histogram().positive = np.zeros(3)
    with pytest.raises(InputError, match="differ in shape"):
        auc(np.zeros(3), np.zeros(2))


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=2, max_size=20))
def test_pearson_agrees_with_numpy(pairs):
    a, b = np.array(pairs).T
    if a.std() < 1e-6 or b.std() < 1e-6:
        return
    assert pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)


def test_pearson_by_hand():
    assert pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert pearson([1e-200, 2e-200, 3e-200], [6e200, 4e200, 2e200]) == pytest.approx(-1)
    assert pearson([1, np.nan, 2, 3], [1, 5, 2, 3]) == pytest.approx(1)
    assert pearson([1, 9, 2, 3], [1, np.nan, 2, 3]) == pytest.approx(1)
    for a, b in (([], []), ([1], [1]), ([1, 1], [1, 2]), ([1, np.nan], [1, 2])):
        assert np.isnan(pearson(a, b))
    with pytest.raises(InputError, match="one length"):
        pearson([1, 2], [1, 2, 3])


def test_pearson_of_the_studys_table_is_the_one_told_of_it():
    """Accuracy against the human label, and how far the model's viability exceeds the label's (Sandia)."""
    accuracy = [984, 973, 966, 955, 948, 945, 928, 917, 902, 900, 892, 773, 748, 745, 699, 668]
    human = [1966, 2383, 2105, 2363, 1612, 1676, 1852, 1473, 1508, 1894, 1490, 1001, 868, 782, 500, 475]
    model = [1945, 2381, 2169, 2388, 1613, 1689, 1876, 1554, 1620, 1933, 1573, 1639, 1536, 1546, 1685, 1635]
    assert round(pearson(accuracy, np.subtract(model, human)), 3) == -0.971
