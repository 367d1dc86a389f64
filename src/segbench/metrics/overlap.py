"""Overlap scores, each a pure function of a confusion matrix of shape (K, K).

With N_ij voxels of true class i predicted as j, t_i = sum_j N_ij true and P_i = sum_j N_ji predicted voxels.
A score whose denominator is zero is NaN: F1 and IoU of a class that is neither in the truth nor in the
prediction (where it is in only one of them they are 0), recall of a class that is not in the truth, precision
of one never predicted. Means leave NaN out; `defined` says how many values went in.
"""

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Confusion = npt.NDArray[np.int64]


def accuracy(confusion: Confusion) -> float:
    """Share of voxels whose class is right: sum_i N_ii / N."""
    return float(_ratio(np.trace(confusion), confusion.sum(dtype=np.int64)))


def recall(confusion: Confusion) -> Float64:
    """Share of each true class that is found: N_ii / t_i, shape (K,)."""
    hits, true, _ = _margins(confusion)
    return _ratio(hits, true)


def precision(confusion: Confusion) -> Float64:
    """Share of each predicted class that is right: N_ii / P_i, shape (K,)."""
    hits, _, predicted = _margins(confusion)
    return _ratio(hits, predicted)


def f1(confusion: Confusion) -> Float64:
    """F1, or Dice, of each class: 2 N_ii / (t_i + P_i), shape (K,)."""
    hits, true, predicted = _margins(confusion)
    return _ratio(2 * hits, true + predicted)


def iou(confusion: Confusion) -> Float64:
    """Intersection over union, or Jaccard, of each class: N_ii / (t_i + P_i - N_ii), shape (K,)."""
    hits, true, predicted = _margins(confusion)
    return _ratio(hits, true + predicted - hits)


def miou(confusion: Confusion) -> float:
    """Mean IoU over the classes that occur (Long et al. 2015, doi 10.1109/CVPR.2015.7298965)."""
    return mean(iou(confusion))


def fiou(confusion: Confusion) -> float:
    """IoU weighted by how frequent each class truly is: sum_i t_i IoU_i / N (Long et al. 2015).

    A class that is not in the truth weighs nothing.
    """
    _, true, _ = _margins(confusion)
    weighted = np.where(true > 0, true * iou(confusion), 0.0)
    return float(_ratio(weighted.sum(), true.sum()))


def balanced(confusion: Confusion) -> float:
    """Balanced accuracy: mean recall over the classes that are in the truth."""
    return mean(recall(confusion))


def binary_accuracy(confusion: Confusion) -> Float64:
    """Accuracy of each class against the rest: (true positives + true negatives) / N, shape (K,)."""
    hits, true, predicted = _margins(confusion)
    total = confusion.sum(dtype=np.int64)
    return _ratio(total - true - predicted + 2 * hits, np.full_like(hits, total))


def mean(values: npt.ArrayLike) -> float:
    """Mean of the values that are defined; NaN if none is."""
    array = np.asarray(values, dtype=np.float64)
    kept = array[~np.isnan(array)]
    return float(kept.sum() / kept.size) if kept.size else float("nan")


def defined(values: npt.ArrayLike) -> int:
    """How many values `mean` takes in."""
    return int(np.count_nonzero(~np.isnan(np.asarray(values, dtype=np.float64))))


def _margins(confusion: Confusion) -> tuple[Confusion, Confusion, Confusion]:
    """Hits N_ii, true voxels t_i and predicted voxels P_i, shape (K,) each."""
    return confusion.diagonal(), confusion.sum(axis=1, dtype=np.int64), confusion.sum(axis=0, dtype=np.int64)


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Float64:
    """`part / whole` in float64; NaN where `whole` is zero."""
    a, b = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    out: Float64 = np.divide(a, b, out=np.full(b.shape, np.nan), where=b != 0)
    return out
