from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import ndimage
from skimage.data import binary_blobs
from sklearn.metrics import roc_auc_score

from segbench.errors import InputError
from segbench.evaluate import baselines
from segbench.evaluate.baselines import LabelledSlice, forest, middle_slice, otsu


def blobs(seed=0, edge=40):
    """A noisy image with a slope of grey, and its truth."""
    rng = np.random.default_rng(seed)
    truth = binary_blobs(edge, blob_size_fraction=0.2, n_dim=3, volume_fraction=0.5, rng=seed)
    noise = ndimage.gaussian_filter(rng.normal(size=truth.shape), 0.7)
    image = ndimage.gaussian_filter(truth.astype(float), 0.7) + 1.5 * noise + np.linspace(0, 0.6, edge)
    return (1000 + 300 * image).astype(np.float32), truth.astype(np.uint8)


def test_otsu_marks_the_brighter_phase():
    image = np.where(np.arange(60).reshape(3, 4, 5) % 3, 7.0, -2.0).astype(np.float32)
    assert otsu(image).tolist() == (image > 0).tolist()
    assert otsu(image).dtype == np.uint8
    assert otsu((image * 10 + 30).astype(np.uint16)).tolist() == (image > 0).tolist()


def test_a_forest_beats_the_threshold_where_there_is_noise():
    image, truth = blobs()
    labels, probability = forest(image, middle_slice(image, truth))
    assert labels.dtype == np.uint8
    assert probability.dtype == np.float32
    assert labels.shape == probability.shape == image.shape
    assert (labels == truth).mean() > (otsu(image) == truth).mean() + 0.05
    assert (labels == truth).mean() > 0.85
    assert roc_auc_score(truth.ravel(), probability.ravel()) > 0.93
    np.testing.assert_array_equal(labels == 1, probability > 0.5)


def test_the_forest_never_sees_another_slice_of_the_truth():
    image, truth = blobs(edge=24)
    other = 1 - truth
    other[12] = truth[12]
    results = [forest(image, middle_slice(image, shown)) for shown in (truth, other)]
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_bytes_at_any_number_of_threads():
    image, truth = blobs(edge=40)
    shown = middle_slice(image, truth)
    results = [forest(image, shown, seed=3, threads=n) for n in (1, 4, 3)]
    for labels, probability in results[1:]:
        np.testing.assert_array_equal(labels, results[0][0])
        np.testing.assert_array_equal(probability, results[0][1])
    assert not np.array_equal(forest(image, shown, seed=4)[1], results[0][1])


def test_grey_units_do_not_matter_and_the_slice_may_be_of_another_image():
    (image, truth), (other, other_truth) = blobs(0), blobs(1)
    labels, _ = forest(image * 2 - 500, middle_slice(other, other_truth))
    assert (labels == truth).mean() > 0.85


def test_a_single_slice_is_a_volume_of_depth_one():
    image, truth = blobs(edge=64)
    labels, probability = forest(image[:1], LabelledSlice(image[30:31], 0, truth[30]))
    assert labels.shape == probability.shape == (1, 64, 64)
    assert (labels == truth[:1]).mean() > 0.8


def test_several_classes_and_their_values_are_kept():
    image, truth = blobs()
    three = (truth * 5).astype(np.int64)
    three[:, :, 20:] += truth[:, :, 20:]
    labels, probability = forest(image, middle_slice(image, three))
    assert set(np.unique(labels)) <= {0, 5, 6}
    assert (labels == three).mean() > 0.8
    assert not probability.any()


@pytest.mark.parametrize("value", [0, 1])
def test_a_slice_of_one_class_predicts_that_class(value):
    image, _ = blobs(edge=12)
    labels, probability = forest(image, middle_slice(image, np.full(image.shape, value)))
    assert (labels == value).all()
    assert (probability == value).all()


@pytest.mark.parametrize("depth", [1, 12])
def test_a_constant_image_gets_the_most_frequent_class(depth):
    image = np.full((depth, 12, 12), 0.1, np.float32)
    truth = np.zeros(image.shape, np.uint8)
    truth[:, 5:] = 1
    labels, probability = forest(image, middle_slice(image, truth))
    assert (labels == 1).all()
    assert np.ptp(probability) == 0
    assert not otsu(image).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_grey_that_is_no_number_is_refused(value):
    image, truth = blobs(edge=12)
    image[0, 0, 0] = value
    for call in (lambda: otsu(image), lambda: forest(image, middle_slice(image, truth))):
        with pytest.raises(InputError, match="NaN or infinite"):
            call()


@pytest.mark.parametrize(
    ("z", "labels"),
    [
        (5, np.zeros((3, 3), int)),
        (0, np.zeros((3, 4), int)),
        (0, np.zeros((3, 3))),
        (0, np.full((3, 3), 256)),
    ],
)
def test_what_is_no_labelled_slice_is_refused(z, labels):
    with pytest.raises(InputError, match="slice"):
        LabelledSlice(np.zeros((2, 3, 3)), z, labels)


def test_the_closed_form_eigenvalues_are_numpys():
    rng = np.random.default_rng(0)
    full = rng.normal(size=(500, 3, 3))
    matrices = full + full.transpose(0, 2, 1)
    matrices[:3] = np.zeros((3, 3)), np.eye(3), np.diag([2, 2, -1])
    m = matrices.astype(np.float32)
    beside = m[:, 0, 1], m[:, 0, 2], m[:, 1, 2]
    found = np.stack(baselines._eigenvalues((m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]), beside))
    np.testing.assert_allclose(found.T, np.linalg.eigvalsh(matrices)[:, ::-1], atol=5e-6)


def test_features_of_a_paraboloid_are_its_derivatives():
    z, y, x = (a - 24.0 for a in np.indices((49, 49, 49)))
    image = z**2 + 2 * y**2 + 3 * x**2
    with ThreadPoolExecutor(2) as pool:
        table = baselines.features(image, pool)
    inner = table[:, 24, 24, 24] * image.std()
    assert table.shape == (25, 49, 49, 49)
    for scale in (0, 1):  # the wider Gaussians feel the border
        _, gradient, laplacian, *eigen = inner[1 + 6 * scale : 7 + 6 * scale]
        assert gradient == pytest.approx(0, abs=0.02)
        assert laplacian == pytest.approx(12, rel=0.01)
        assert eigen == pytest.approx([6, 4, 2], rel=0.01)


@pytest.mark.parametrize("stack", [False, True])
def test_of_a_deep_volume_only_what_the_shown_slices_see_is_looked_at(stack, monkeypatch):
    image = np.random.default_rng(3).normal(size=(2 * baselines.REACH + 30, 9, 8)).astype(np.float32)
    shown = LabelledSlice(image, (baselines.REACH + 10, baselines.REACH + 14), np.zeros((2, 9, 8), np.uint8))
    looked, features = [], baselines.features
    monkeypatch.setattr(baselines, "features", lambda *asked: looked.append(features(*asked)) or looked[-1])
    with ThreadPoolExecutor(1) as pool:
        near = baselines._shown(shown, pool, stack)
        whole = features(image, pool, stack)
    assert len(looked[0][0]) == 2 * baselines.REACH + 5 < len(image)
    assert np.array_equal(near, whole[:, list(shown.z)])
    if not stack:
        monkeypatch.setattr(baselines, "REACH", baselines.REACH // 2)
        with ThreadPoolExecutor(1) as pool:
            assert not np.array_equal(baselines._shown(shown, pool, stack), near), "it looks further than that"
