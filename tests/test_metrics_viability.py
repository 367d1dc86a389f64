import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from segbench.errors import InputError
from segbench.metrics import slabs
from segbench.metrics.viability import separability, viability


def direct(image, labels):
    z = (image.astype(np.float64) - image.mean(dtype=np.float64)) / image.std(dtype=np.float64)
    return z[labels == 1].mean() - z[labels == 0].mean()


OFFSETS = st.sampled_from([0.0, 3e4, -1e5])


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), OFFSETS, st.integers(3, 700))
def test_it_is_the_definition_and_separability_never_exceeds_one(seed, share, offset, limit):
    rng = np.random.default_rng(seed)
    image = (rng.normal(size=(5, 9, 14)) + offset).astype(np.float32)
    labels = (rng.random(image.shape) < share).astype(np.uint8)
    labels[0, 0, :2] = 0, 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLAB", limit)
        found, part = viability(image, labels), separability(image, labels)
    assert found == pytest.approx(direct(image, labels), rel=1e-9, abs=1e-10)
    p = labels.mean()
    assert part == pytest.approx(p * (1 - p) * found**2, rel=1e-9)
    assert 0 <= part <= 1


@pytest.mark.parametrize("share", [0.5, 0.1, 1e-4])
def test_two_grey_values_that_are_the_labels_are_separated_fully(share):
    labels = np.zeros(10000, np.uint8)
    labels[: round(share * 10000)] = 1
    image = np.where(labels, 200.0, 10.0)
    assert separability(image, labels) == pytest.approx(1)
    assert viability(image, labels) == pytest.approx(1 / np.sqrt(share * (1 - share)))


def test_otsus_threshold_maximises_it():
    rng = np.random.default_rng(1)
    image = np.concatenate([rng.normal(0, 1, 6000), rng.normal(3, 1, 3000)])
    best = threshold_otsu(image, nbins=2048)
    scores = {t: separability(image, image > t) for t in (best - 0.4, best, best + 0.4)}
    assert max(scores, key=scores.get) == best


def test_a_darker_class_one_is_negative_and_grey_units_do_not_matter():
    image, labels = np.array([4, 5, 1, 2], np.uint8), np.array([0, 0, 1, 1])
    assert viability(image, labels) < 0
    assert viability(image * 7.0 - 100, labels) == pytest.approx(viability(image, labels))


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        (np.full(6, 0.1, np.float32), np.array([0, 1, 0, 1, 0, 1])),
        (np.arange(4.0), np.zeros(4, int)),
        (np.arange(4.0), np.ones(4, int)),
        (np.array([0.0, np.nan, 1.0]), np.array([0, 1, 1])),
        (np.array([0.0, np.inf, 1.0]), np.array([0, 1, 1])),
    ],
    ids=["constant", "no class 1", "no class 0", "NaN", "infinite"],
)
def test_where_it_means_nothing_it_is_nan(image, labels):
    assert np.isnan(viability(image, labels))
    assert np.isnan(separability(image, labels))


def test_three_labels_or_two_shapes_are_refused():
    with pytest.raises(InputError, match="labels 0 and 1, found 2"):
        viability(np.arange(3.0), np.array([0, 1, 2]))
    with pytest.raises(InputError, match="differ in shape"):
        viability(np.arange(3.0), np.array([0, 1]))


def test_the_image_is_left_alone():
    image = np.arange(8.0).reshape(2, 4)
    viability(image, image > 3)
    np.testing.assert_array_equal(image, np.arange(8.0).reshape(2, 4))


def test_rounding_does_not_carry_separability_past_one():
    for high in range(1, 100):
        labels = np.arange(101) < high
        assert 1 - 1e-12 < separability(np.where(labels, 0.3, 0.1), labels) <= 1
