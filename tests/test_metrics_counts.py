import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import confusion_matrix

from segbench.errors import InputError
from segbench.metrics import overlap, slabs
from segbench.metrics.counts import confusion, from_margins

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=7)


@st.composite
def labels(draw):
    """Truth and prediction of one shape, with classes that are often absent."""
    classes = draw(st.integers(1, 6))
    shape, kind = draw(SHAPES), draw(st.sampled_from([np.uint8, np.int16, np.int64, np.uint64]))
    most = draw(st.integers(0, classes - 1))
    values = arrays.arrays(kind, shape, elements=st.integers(0, most))
    return draw(values), draw(values), classes


@given(labels(), st.integers(1, 50))
def test_it_counts_like_scikit_learn_whatever_the_slab(case, limit):
    truth, predicted, classes = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a single label
        expected = confusion_matrix(truth.ravel(), predicted.ravel(), labels=range(classes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLAB", limit)
        found = confusion(truth, predicted, classes)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


def test_an_element_is_true_class_by_predicted_class():
    np.testing.assert_array_equal(confusion(np.array([0, 1, 1]), np.array([0, 0, 0]), 2), [[1, 0], [2, 0]])


@given(SHAPES, st.integers(1, 60))
def test_slabs_cover_every_voxel_once_and_stay_small(shape, limit):
    seen = np.zeros(shape, dtype=int)
    for slab in slabs.slabs(shape, limit):
        assert 1 <= seen[slab].size <= limit
        seen[slab] += 1
    assert (seen == 1).all()


def test_only_one_slab_is_read_at_a_time():
    class Lazy:
        def __init__(self, array):
            self.array, self.shape, self.dtype, self.largest = array, array.shape, array.dtype, 0

        def __getitem__(self, key):
            self.largest = max(self.largest, self.array[key].size)
            return self.array[key]

    array = np.zeros((40, 30, 20), np.uint8)
    lazy = Lazy(array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLAB", 1000)
        assert confusion(lazy, lazy, 2)[0, 0] == array.size
    assert 0 < lazy.largest <= 1000


def test_a_volume_of_more_than_2_to_the_32_voxels_is_counted_to_the_voxel():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, (2, 129, 131), dtype=np.uint8)
    times = 2**32 // truth.size + 3  # 4.3e9 voxels, of which one slice is stored
    huge = [np.broadcast_to(a, (times, *a.shape)) for a in (truth, predicted)]
    assert huge[0].size > 2**32
    expected = [[int(n) * times for n in row] for row in confusion(truth, predicted, 3)]
    assert confusion(*huge, 3).tolist() == expected
    assert sum(map(sum, expected)) == huge[0].size


def test_an_axis_that_only_one_array_repeats_is_walked():
    truth = np.broadcast_to(np.array([0, 1], np.uint8), (3, 2))
    predicted = np.array([[0, 0], [1, 1], [1, 0]], np.uint8)
    np.testing.assert_array_equal(confusion(truth, predicted, 2), [[1, 2], [2, 1]])


def test_counts_beyond_float32_are_exact():
    """2^24 + 1 is the first whole number that float32 has not; many slabs add up here."""
    voxels = 2**24 + 3
    labels = np.zeros(voxels, np.uint8)
    labels[-2:] = 1
    assert confusion(labels, labels, 2).tolist() == [[voxels - 2, 0], [0, 2]]


def test_counts_of_tiles_add_up_past_2_to_the_32_and_the_scores_follow():
    one = confusion(np.zeros(3, np.uint8), np.zeros(3, np.uint8), 2)
    big = sum((np.array([[2**31 + 1, 5], [7, 2**31 - 1]], dtype=np.int64) for _ in range(9)), one)
    assert big.dtype == np.int64
    assert big.tolist() == [[9 * 2**31 + 12, 45], [63, 9 * 2**31 - 9]]
    total = 9 * 2**32 + 3 + 9 * 12
    assert overlap.accuracy(big) == (18 * 2**31 + 3) / total
    assert overlap.iou(big)[1] == (9 * 2**31 - 9) / (9 * 2**31 - 9 + 45 + 63)
    assert overlap.f1(big)[0] == 2 * (9 * 2**31 + 12) / (2 * (9 * 2**31 + 12) + 45 + 63)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "unequal shape"),
        (np.array([0, 2]), np.array([0, 1]), "truth: label 2"),
        (np.array([0, 1]), np.array([0, -1]), "predicted: label -1"),
        (np.array([0, 1]), np.array([0, 2**63], np.uint64), "predicted: label"),
        (np.array([0.0, 1.0]), np.array([0, 1]), "integers"),
    ],
)
def test_what_is_no_label_is_refused_in_one_line(truth, predicted, message):
    with pytest.raises(InputError, match=message) as caught:
        confusion(truth, predicted, 2)
    assert "\n" not in str(caught.value)


def test_no_class_is_refused():
    with pytest.raises(InputError, match="at least one class"):
        confusion(np.zeros(1, int), np.zeros(1, int), 0)


def test_an_empty_array_counts_nothing():
    assert confusion(np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.uint8), 2).tolist() == [[0, 0], [0, 0]]


@given(st.integers(1, 7).flatmap(lambda k: arrays.arrays(np.int64, (k, k), elements=st.integers(0, 2**40))))
def test_from_margins_finds_a_matrix_with_the_counts_of_any_matrix(matrix):
    hits = np.diag(matrix)
    missed, false = matrix.sum(1) - hits, matrix.sum(0) - hits
    found = from_margins(hits, missed, false)
    assert found.min() >= 0
    np.testing.assert_array_equal(np.diag(found), hits)
    np.testing.assert_array_equal(found.sum(1) - hits, missed)
    np.testing.assert_array_equal(found.sum(0) - hits, false)


@pytest.mark.parametrize(
    ("missed", "false"), [([1, 0], [0, 0]), ([2, 0, 1], [2, 1, 0]), ([-1, 1], [1, -1]), ([1], [1])]
)
def test_counts_of_no_matrix_are_refused(missed, false):
    with pytest.raises(InputError, match="no confusion matrix"):
        from_margins(np.ones(len(missed), int), missed, false)
