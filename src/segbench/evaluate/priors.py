"""The least that a user could do: one class throughout, dice, and the likeliest class of each grey level."""

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.metrics.counts import Int64
from segbench.volume import UInt8

LEVELS = 256
"""Grey levels that are told apart."""


def majority(labels: UInt8, shape: tuple[int, ...]) -> UInt8:
    """The most frequent class of some labels (of two alike the lower one), throughout `shape`."""
    return np.full(shape, np.bincount(labels.ravel()).argmax(), dtype=np.uint8)


def uniform(classes: int, shape: tuple[int, ...], seed: int = 0) -> UInt8:
    """Every class with the same probability, drawn voxel by voxel."""
    return np.random.default_rng(seed).integers(0, classes, shape, dtype=np.uint8)


def expected_uniform(confusion: Int64) -> Int64:
    """K times what `uniform` has to expect where the truth is that of a confusion matrix (K, K): N_ij = t_i / K.

    The factor keeps counts whole and changes no score of `metrics.overlap`. Scores of this matrix are ratios of
    expectations; those of a drawing differ by the order of 1 / sqrt(voxels).
    """
    true = confusion.sum(axis=1, dtype=np.int64)
    return np.repeat(true[:, None], len(true), axis=1)


def darkest_first(known: npt.NDArray[np.generic], labels: UInt8, classes: int) -> UInt8:
    """The classes by their mean grey value, which is all that a threshold has to be told; those without voxels last.

    Args:
        known: Grey values whose classes are known.
        labels: Their classes, same shape.
        classes: How many there are.
    """
    voxels = np.bincount(labels.ravel(), minlength=classes)
    total = np.bincount(labels.ravel(), weights=known.ravel().astype(np.float64), minlength=classes)
    mean = np.where(voxels > 0, total / np.maximum(voxels, 1), np.inf)
    order: UInt8 = np.argsort(mean, kind="stable").astype(np.uint8)
    return order


def bayes(image: npt.NDArray[np.generic], known: npt.NDArray[np.generic], labels: UInt8) -> UInt8:
    """The likeliest class of each grey level: what is best without looking at a voxel's neighbours.

    The range of the labelled part's grey values is divided into `LEVELS` levels; what lies outside belongs to the first
    or last one. A level that the labelled part lacks has the class of the nearest one that it has.

    Args:
        image: Grey values to segment, any shape.
        known: Grey values whose classes are known, on the same scale.
        labels: Their classes, same shape as `known`.

    Raises:
        InputError: A grey value is not finite.
    """
    for part in (image, known):
        if not np.isfinite(part).all():
            raise InputError("the image holds NaN or infinite grey values; mask or replace them first")
    low, high = float(known.min()), float(known.max())
    counts = np.bincount(
        _levels(known, low, high).ravel() * LEVELS + labels.ravel(), minlength=LEVELS * LEVELS
    ).reshape(LEVELS, LEVELS)  # level, class
    there = np.flatnonzero(counts.sum(axis=1))
    nearest = there[np.abs(np.arange(LEVELS)[:, None] - there).argmin(axis=1)]
    table = counts[nearest].argmax(axis=1).astype(np.uint8)
    found: UInt8 = table[_levels(image, low, high)]
    return found


def _levels(grey: npt.NDArray[np.generic], low: float, high: float) -> npt.NDArray[np.int64]:
    share = (grey.astype(np.float32) - low) / ((high - low) or 1.0)
    return np.clip((share * LEVELS).astype(np.int64), 0, LEVELS - 1)
