import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import entr

from segbench.errors import InputError
from segbench.metrics import uncertainty
from segbench.metrics.uncertainty import binary, categorical

PROBABILITY = st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0, 1, width=32))


SHAPE = st.tuples(st.integers(1, 20), st.integers(1, 4), st.integers(1, 3))


@given(arrays.arrays(np.float32, SHAPE, elements=PROBABILITY))
def test_it_is_the_definition(samples):
    p = samples.astype(np.float64)
    mean = p.mean(0)
    entropy = entr(mean) + entr(1 - mean)
    found = binary(samples)
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.entropy, entropy, atol=2e-6)
    np.testing.assert_allclose(found.mutual, entropy - (entr(p) + entr(1 - p)).mean(0), atol=4e-6)
    np.testing.assert_allclose(found.spread, np.subtract(*np.percentile(p, [70, 30], axis=0)), atol=1e-6)
    np.testing.assert_allclose(found.deviation, p.std(0), atol=1e-6)
    for field in (found.mean, found.entropy, found.mutual, found.spread, found.deviation):
        assert field.dtype == np.float32
        assert field.shape == samples.shape[1:]
        assert field.min() >= 0
    assert (found.mutual <= found.entropy).all()


@given(st.integers(1, 9), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_of_several_classes_it_is_the_definition(t, k, seed):
    p = np.random.default_rng(seed).dirichlet(np.full(k, 0.4), (t, 3, 4)).transpose(0, 3, 1, 2)
    mean = p.mean(0)
    found = categorical(p.astype(np.float32))
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.entropy, entr(mean).sum(0), atol=3e-6)
    np.testing.assert_allclose(found.mutual, entr(mean).sum(0) - entr(p).sum(1).mean(0), atol=5e-6)
    called = found.mean.argmax(0)[None]
    spread = np.subtract(*np.percentile(p, [70, 30], axis=0))
    np.testing.assert_allclose(found.spread, np.take_along_axis(spread, called, 0)[0], atol=1e-6)
    np.testing.assert_allclose(found.deviation, np.take_along_axis(p.std(0), called, 0)[0], atol=1e-6)


def test_of_what_is_said_in_the_end_where_that_is_not_the_mean_of_the_samples():
    p = np.random.default_rng(1).dirichlet(np.full(3, 0.4), (5, 40)).transpose(0, 2, 1).astype(np.float32)
    said = np.random.default_rng(2).dirichlet(np.full(3, 0.2), 40).T.astype(np.float32)
    found, own = categorical(p, said), np.take_along_axis(p, said.argmax(0)[None, None], 1)[:, 0].astype(np.float64)
    np.testing.assert_array_equal(found.mean, said)
    np.testing.assert_allclose(found.entropy, entr(said).sum(0), atol=3e-6)
    more = entr(said.astype(np.float64)).sum(0) - entr(p.astype(np.float64)).sum(1).mean(0)
    assert (more < -0.1).any()
    np.testing.assert_allclose(found.mutual, np.maximum(more, 0), atol=5e-6)
    np.testing.assert_allclose(found.deviation, own.std(0), atol=1e-6)
    np.testing.assert_allclose(found.spread, np.subtract(*np.percentile(own, [70, 30], axis=0)), atol=1e-6)


def test_two_classes_are_the_same_as_yes_or_no():
    p = np.random.default_rng(0).random((16, 5, 6, 7), dtype=np.float32)
    one, two = binary(p), categorical(np.stack([1 - p, p], axis=1))
    np.testing.assert_allclose(two.mean[1], one.mean, atol=1e-6)
    for name in ("entropy", "mutual", "spread", "deviation"):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), atol=1e-6)


def test_sure_disagreement_is_all_mutual_and_agreement_none():
    disagree = binary(np.array([[0.0], [1.0]], np.float32))
    assert disagree.entropy[0] == pytest.approx(np.log(2))
    assert disagree.mutual[0] == pytest.approx(np.log(2))
    assert disagree.deviation[0] == 0.5
    agree = binary(np.full((16, 3), 0.3, np.float32))
    assert agree.mutual == pytest.approx(0, abs=1e-6)
    assert agree.spread.tolist() == [0, 0, 0]
    sure = binary(np.array([[0.0, 1.0]], np.float32))
    assert sure.entropy.tolist() == [0, 0]


def test_the_sorting_network_sorts_by_the_zero_one_principle():
    for length in range(1, 13):
        inputs = np.array(list(product((0, 1), repeat=length)), np.float32).T.copy()
        expected = np.sort(inputs, axis=0)
        for low, high in uncertainty.network(length):
            inputs[[low, high]] = np.sort(inputs[[low, high]], axis=0)
        np.testing.assert_array_equal(inputs, expected)


def test_chunks_join_and_the_samples_are_left_alone():
    samples = np.random.default_rng(3).random((5, 3 * uncertainty.CHUNK + 7), dtype=np.float32)
    before = samples.copy()
    whole = binary(samples)
    np.testing.assert_array_equal(samples, before)
    for part in (slice(0, 9), slice(uncertainty.CHUNK - 3, uncertainty.CHUNK + 3), slice(-8, None)):
        np.testing.assert_array_equal(binary(samples[:, part]).spread, whole.spread[part])
    small = samples[:, :10].copy()
    binary(small)
    np.testing.assert_array_equal(small, before[:, :10])
    several = np.stack([1 - small, small], axis=1)
    categorical(several)
    np.testing.assert_array_equal(several[:, 1], small)


def test_nan_stays_where_it_is():
    found = binary(np.array([[np.nan, 0.5], [0.5, 0.5]], np.float32))
    assert np.isnan([found.mean[0], found.entropy[0], found.mutual[0], found.spread[0], found.deviation[0]]).all()
    assert np.isfinite([found.mean[1], found.entropy[1], found.mutual[1], found.spread[1], found.deviation[1]]).all()


@pytest.mark.parametrize(
    ("of", "shape"), [(binary, (0, 3)), (categorical, (3,)), (categorical, (0, 2, 3)), (binary, ())]
)
def test_no_sample_is_refused(of, shape):
    with pytest.raises(InputError, match="uncertainty needs"):
        of(np.zeros(shape, np.float32))


def test_fourteen_million_probabilities_take_a_moment():
    samples = np.random.default_rng(0).random((16, 96, 96, 96), dtype=np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        binary(samples)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0  # measured: 0.1; sorting every voxel by itself takes longer than this
