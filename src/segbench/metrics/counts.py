"""The confusion matrix, from which every overlap score follows."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.metrics.slabs import slabs
from segbench.volume import LazyArray

Int64 = npt.NDArray[np.int64]


def confusion(truth: LazyArray, predicted: LazyArray, classes: int) -> Int64:
    """Voxels of each true class that were predicted as each class.

    Memory is constant: both are read slab by slab. Counts are int64 throughout, so volumes add up exactly:
    the matrix of several tiles or cases is the sum of theirs. An axis along which both arrays repeat one
    slice without storing it (stride 0, as `numpy.broadcast_to` makes) is counted once and multiplied.

    Args:
        truth: True classes, integers in [0, classes), any shape; read lazily.
        predicted: Predicted classes, same shape.
        classes: K, the number of classes.

    Returns:
        Shape (K, K): element (i, j) counts voxels of true class i predicted as j.

    Raises:
        InputError: The shapes differ, or a value is no class.
    """
    if classes < 1:
        raise InputError(f"a confusion matrix needs at least one class, not {classes}")
    if tuple(truth.shape) != tuple(predicted.shape):
        raise InputError(f"labels of unequal shape: truth {truth.shape}, predicted {predicted.shape}")
    shape = tuple(int(length) for length in truth.shape)
    repeated = _repeated(truth, predicted)
    total = np.zeros(classes * classes, dtype=np.int64)
    for slab in slabs(tuple(1 if again else length for length, again in zip(shape, repeated, strict=True))):
        i = _classes_of(truth, slab, classes, "truth")
        j = _classes_of(predicted, slab, classes, "predicted")
        total += np.bincount(i * classes + j, minlength=total.size)
    times = math.prod(length for length, again in zip(shape, repeated, strict=True) if again)
    return total.reshape(classes, classes) * times


def from_margins(hits: npt.ArrayLike, missed: npt.ArrayLike, false: npt.ArrayLike) -> Int64:
    """A confusion matrix with the given counts per class, as published reports print them.

    For more than two classes many matrices have the same counts; every score in `overlap` is the same for all
    of them.

    Args:
        hits: True positives per class, shape (K,).
        missed: False negatives per class, shape (K,).
        false: False positives per class, shape (K,).

    Raises:
        InputError: No confusion matrix has these counts.
    """
    hit, row, column = (np.array(a, dtype=np.int64) for a in (hits, missed, false))
    both, rest = row + column, int(row.sum())
    if min(hit.min(), row.min(), column.min()) < 0 or rest != int(column.sum()) or int(both.max()) > rest:
        wanted = f"hits {hit.tolist()}, missed {row.tolist()} and false {column.tolist()}"
        raise InputError(f"no confusion matrix has {wanted}")
    matrix: Int64 = np.diag(hit).copy()
    # The class with most errors left is served first, at most until another class takes part in every error
    # that is left: so `both <= rest` holds for each after every step, which is just what a solution needs.
    while rest:
        order = np.argsort(-both, kind="stable")
        pairs = ((a, b) for j in order[1:] for a, b in ((order[0], j), (j, order[0])) if row[a] and column[b])
        i, j = next(pairs)
        others = np.delete(both, [i, j])
        moved = min(int(row[i]), int(column[j]), rest - int(others.max(initial=0)))
        matrix[i, j] += moved
        row[i] -= moved
        column[j] -= moved
        both, rest = row + column, rest - moved
    return matrix


def _repeated(truth: LazyArray, predicted: LazyArray) -> tuple[bool, ...]:
    """Per axis, whether both arrays hold one slice that is only pretended to be many."""
    if not (isinstance(truth, np.ndarray) and isinstance(predicted, np.ndarray)) or 0 in truth.shape:
        return (False,) * len(truth.shape)
    strides = zip(truth.shape, truth.strides, predicted.strides, strict=True)
    return tuple(length > 1 and a == 0 and b == 0 for length, a, b in strides)


def _classes_of(labels: LazyArray, slab: tuple[slice, ...], classes: int, name: str) -> npt.NDArray[np.intp]:
    block: npt.NDArray[Any] = np.asarray(labels[slab])
    if block.dtype.kind not in "biu":
        raise InputError(f"{name}: classes are integers, not {block.dtype}")
    low, high = int(block.min()), int(block.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise InputError(f"{name}: label {wrong} is none of the {classes} classes 0 to {classes - 1}")
    return block.ravel().astype(np.intp)
