import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from segbench import resources
from segbench.metrics import overlap
from segbench.metrics.counts import confusion, from_margins

PRINTED = json.loads((resources.folder("evaluate") / "printed" / "tomo2seg.json").read_text())
REPORTS = PRINTED["reports"]
SCORES = {
    "accuracy": overlap.binary_accuracy,
    "precision": overlap.precision,
    "recall": overlap.recall,
    "f1": overlap.f1,
    "jaccard": overlap.iou,
}


def null(value):
    """As the reports print it: an empty cell where a score is undefined."""
    return None if np.isnan(value) else float(value)


def test_there_are_nineteen_reports():
    assert len(REPORTS) == 19
    assert {len(report["classes"]) for report in REPORTS} == {3, 5}


@pytest.mark.parametrize("report", REPORTS, ids=lambda r: f"{r['model']}-{r['runid']}")
def test_the_published_reports_follow_from_their_counts_to_the_last_digit(report):
    rows = [dict(zip(PRINTED["class_columns"], row, strict=True)) for row in report["classes"].values()]
    macro = dict(zip(PRINTED["mean_columns"], report["macro"], strict=True))
    micro = dict(zip(PRINTED["mean_columns"], report["micro"], strict=True))
    matrix = from_margins(*([row[key] for row in rows] for key in ("tp", "fn", "fp")))
    assert matrix.sum() == report["voxels"]
    for name, score in SCORES.items():
        values = score(matrix)
        assert [null(v) for v in values] == [row[name] for row in rows], name
        # Their macro mean has no value where one class has none; ours leaves that class out and says so.
        undefined = overlap.defined(values) < len(rows)
        assert (None if undefined else overlap.mean(values)) == macro[name], name
    assert overlap.mean([row["roc-auc"] for row in rows]) == macro["roc-auc"]
    assert overlap.miou(matrix) == macro["jaccard"]
    assert all(overlap.accuracy(matrix) == micro[name] for name in ("accuracy", "precision", "recall", "f1"))


def test_the_best_published_model_has_the_scores_that_are_told_of_it():
    report = max(REPORTS[:18], key=lambda r: r["macro"][-1])
    counts = np.array([row[:3] for row in report["classes"].values()])
    matrix = from_margins(counts[:, 0], counts[:, 2], counts[:, 1])
    assert overlap.iou(matrix).round(3).tolist() == [0.988, 0.955, 0.687]
    assert round(overlap.miou(matrix), 4) == 0.8767
    assert round(overlap.accuracy(matrix), 4) == 0.9903
    majority = matrix.sum(axis=1).max() / matrix.sum()
    assert round(majority, 4) == 0.8244


@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_scores_agree_with_scikit_learn_on_random_labels_with_absent_classes(classes, seed):
    rng = np.random.default_rng(seed)
    # Each side knows only some of the classes.
    truth, predicted = (
        rng.choice(rng.choice(classes, rng.integers(1, classes + 1), replace=False), 40).astype(np.uint8)
        for _ in range(2)
    )
    matrix, every = confusion(truth, predicted, classes), range(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = {"labels": every, "average": None, "zero_division": np.nan}
        jaccard = reference.jaccard_score  # has no NaN for a class that is absent
        expected = {
            "precision": reference.precision_score(truth, predicted, **each),
            "recall": reference.recall_score(truth, predicted, **each),
            "f1": reference.f1_score(truth, predicted, **each),
            "iou": jaccard(truth, predicted, **each | {"zero_division": 0}),
            "balanced": reference.balanced_accuracy_score(truth, predicted),
            "fiou": jaccard(truth, predicted, **each | {"zero_division": 0, "average": "weighted"}),
        }
    absent = ~(np.isin(every, truth) | np.isin(every, predicted))
    expected["iou"][absent] = np.nan
    for name in ("precision", "recall", "f1", "iou"):
        np.testing.assert_allclose(getattr(overlap, name)(matrix), expected[name], rtol=1e-14, err_msg=name)
    assert overlap.accuracy(matrix) == pytest.approx(reference.accuracy_score(truth, predicted), rel=1e-14)
    assert overlap.balanced(matrix) == pytest.approx(expected["balanced"], rel=1e-14)
    assert overlap.fiou(matrix) == pytest.approx(expected["fiou"], rel=1e-14)
    assert overlap.miou(matrix) == pytest.approx(expected["iou"][~absent].mean(), rel=1e-14)
    np.testing.assert_array_equal(np.isnan(overlap.f1(matrix)), absent)
    assert overlap.defined(overlap.iou(matrix)) == (~absent).sum()


def test_a_small_matrix_by_hand():
    matrix = np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]])
    assert overlap.accuracy(matrix) == 0.7
    np.testing.assert_allclose(overlap.iou(matrix), [6 / 9, 1 / 4, np.nan])
    np.testing.assert_allclose(overlap.f1(matrix), [12 / 15, 2 / 5, np.nan])
    assert overlap.miou(matrix) == pytest.approx((6 / 9 + 1 / 4) / 2)
    assert overlap.fiou(matrix) == pytest.approx(0.8 * 6 / 9 + 0.2 * 1 / 4)
    assert overlap.balanced(matrix) == pytest.approx((6 / 8 + 1 / 2) / 2)
    np.testing.assert_allclose(overlap.binary_accuracy(matrix), [0.7, 0.7, 1.0])


def test_a_class_only_predicted_scores_zero_and_counts():
    matrix = np.array([[3, 1], [0, 0]])
    assert overlap.iou(matrix).tolist() == [0.75, 0.0]
    assert overlap.miou(matrix) == 0.375
    assert overlap.fiou(matrix) == 0.75
    assert np.isnan(overlap.recall(matrix)[1])
    assert overlap.precision(matrix)[1] == 0


def test_without_voxels_everything_is_undefined():
    nothing = np.zeros((2, 2), np.int64)
    for score in (overlap.accuracy, overlap.miou, overlap.fiou, overlap.balanced):
        assert np.isnan(score(nothing))
    assert np.isnan(overlap.mean([]))
    assert overlap.defined([np.nan, 1.0]) == 1
