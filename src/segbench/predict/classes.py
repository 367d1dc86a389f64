"""From the logits of T samples of K classes to labels and maps: one pass over memory, compiled.

The same figures as `metrics.uncertainty.categorical`, which is what they mean and what the tests compare them with; and
built like `predict.aggregate`, for the same reasons. With x the logits of a voxel, m the largest, d = m - x and s the
sum of exp(-d) over the classes:

    p = exp(-d) / s,    H(p) = log s + (sum of exp(-d) d) / s
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from segbench.predict.aggregate import order
from segbench.predict.loops import (
    ONE,
    Int32,
    Int64,
    added,
    apart,
    beyond,
    deviate,
    entropies,
    likeliest,
    picked,
    scaled,
    softmax,
)
from segbench.volume import Float32, UInt8

BUILT_FROM = "8706e0bdc42d"
"""Start of the sha256 of `loops.py`; see `predict.aggregate.BUILT_FROM`."""
WIDTH = 128  # voxels at once: the samples of three classes fit the first cache at T = 16, or nearly

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Maps:
    """What `several` writes, plane by plane.

    Attributes:
        labels: The called class, uint8 (Z, Y, X).
        values: float32 (5, Z, Y, X): probability, entropy, mutual information, spread, deviation.
        probabilities: Of each class, float32 (K, Z, Y, X).
        active: Voxels of each class in each sample alone, int64 (Z, parts, K, T).
        samples: Labels of the first samples, uint8 (N, Z, Y, X).
    """

    labels: UInt8
    values: Float32
    probabilities: Float32
    active: Int64
    samples: UInt8


def empty(shape: tuple[int, ...], keep: int, parts: int = 1) -> Maps:
    """Room for what logits of that shape (T, K, Z, Y, X) say, the first `keep` samples' labels among it.

    Args:
        shape: Of the logits.
        keep: So many samples' labels.
        parts: Of each plane, which are counted apart.
    """
    samples, classes, *rest = shape
    return Maps(
        np.empty(rest, np.uint8),
        np.empty((5, *rest), np.float32),
        np.empty((classes, *rest), np.float32),
        np.zeros((rest[0], parts, classes, samples), np.int64),
        np.empty((keep, *rest), np.uint8),
    )


def several(
    logits: Float32, z: int, part: int, scale: float, by_logits: bool, local: Float32, doubted: Bool, maps: Maps
) -> None:
    """Writes what T samples of `scale * logit` say of a part of a plane; a shift would change no softmax.

    The likeliest class is called, the first of those that are as likely; spread and deviation are of its probability
    in the samples. Probability is that of class 1 where there are two. Where a second network's probabilities decide,
    the entropy is theirs, and the mutual information the samples', but no more than it.

    Args:
        logits: (T, K, Z, Y, X), contiguous.
        z: Of the plane.
        part: Which of its parts, rows that lie together: of as many as `maps` counts apart.
        scale: Of the calibration.
        by_logits: The softmax of the mean of the logits decides, not the mean of the samples' softmax.
        local: The second network's probabilities (K, Z, Y, X), contiguous; empty where there is none.
        doubted: Where they decide (Z, Y, X), contiguous; empty likewise.
        maps: What is written into.
    """
    found = (maps.labels, maps.values, maps.probabilities, maps.active[z, part], maps.samples)
    parts, height = maps.active.shape[1], logits.shape[3]
    rows = (part * height // parts, (part + 1) * height // parts)
    _plane(logits, z, rows, np.float32(scale), by_logits, *order(len(logits)), local, doubted, *found)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _plane(
    logits: Float32,
    z: int,
    rows: tuple[int, int],
    scale: np.float32,
    by_logits: bool,
    pairs: Int64,
    ranks: Int64,
    weights: Float32,
    local: Float32,
    doubted: Bool,
    labels: UInt8,
    values: Float32,
    probabilities: Float32,
    active: Int64,
    samples: UInt8,
) -> None:
    """Rows of a plane from the first to the last, `WIDTH` voxels at a time."""
    count, classes, _, _, width = logits.shape
    share = ONE / np.float32(count)
    p, own = np.empty((count, classes, WIDTH), np.float32), np.empty((count, WIDTH), np.float32)
    mean, total = np.empty((classes, WIDTH), np.float32), np.empty((classes, WIDTH), np.float32)
    said, scratch = np.empty((classes, WIDTH), np.float32), np.empty((4, WIDTH), np.float32)
    entropy, expected, mutual = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    called = np.empty(WIDTH, np.int32)
    for y in range(rows[0], rows[1]):
        for first in range(0, width, WIDTH):
            n = min(WIDTH, width - first)
            at = (z, y, first)
            _samples(logits, at, n, scale, p, mean, total, expected, called, active, samples, said, scratch)
            said[:] = total
            if by_logits:
                softmax(mean, n, said, entropy, called, scratch)
            elif count > 1:
                entropies(said, n, entropy, scratch)
            else:
                entropy[:] = expected  # one pass agrees with itself, exactly
            beyond(entropy, expected, n, mutual)
            if len(doubted):
                _second(local, doubted, at, n, said, entropy, mutual, scratch)
            likeliest(said, n, called, scratch[0])
            probability = said[1] if classes == 2 else scratch[0]
            _written(at, n, called, probability, entropy, mutual, said, labels, values, probabilities)
            picked(total, called, n, scratch[1])
            for t in range(count):
                picked(p[t], called, n, own[t])
            deviate(own, scratch[1, :n], share, values[4, z, y, first : first + n])
            apart(own, pairs, ranks, weights, values[3, z, y, first : first + n])


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _samples(
    logits: Float32,
    at: tuple[int, int, int],
    n: int,
    scale: np.float32,
    p: Float32,
    mean: Float32,
    total: Float32,
    expected: Float32,
    called: Int32,
    active: Int64,
    samples: UInt8,
    x: Float32,
    scratch: Float32,
) -> None:
    """Of `n` voxels: probabilities (T, K, n), their means, those of the logits, and the mean entropy of the samples."""
    z, y, first = at
    count, classes = logits.shape[0], logits.shape[1]
    share, entropy = ONE / np.float32(count), np.empty(WIDTH, np.float32)
    mean[:] = 0
    total[:] = 0
    expected[:] = 0
    for t in range(count):
        for k in range(classes):
            scaled(logits[t, k, z, y, first : first + n], scale, x[k], mean[k])
        softmax(x, n, p[t], entropy, called, scratch)
        for i in range(n):
            expected[i] += entropy[i]
        for k in range(classes):
            active[k, t] += added(p[t, k], total[k], called, np.int32(k), n)
        if t < len(samples):
            for i in range(n):
                samples[t, z, y, first + i] = called[i]
    for i in range(n):
        expected[i] *= share
    for k in range(classes):
        for i in range(n):
            mean[k, i] *= share
            total[k, i] *= share  # never above 1: sums of T are at most T, and T * share rounds to 1


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _second(
    local: Float32,
    doubted: Bool,
    at: tuple[int, int, int],
    n: int,
    said: Float32,
    entropy: Float32,
    mutual: Float32,
    scratch: Float32,
) -> None:
    """Puts a second network's probabilities where it decides; few voxels, so that branches are quicker than none."""
    z, y, first = at
    where = doubted[z, y, first : first + n]
    if not where.any():
        return
    for k in range(len(said)):
        for i in range(n):
            if where[i]:
                said[k, i] = local[k, z, y, first + i]
    entropies(said, n, scratch[3], scratch)
    for i in range(n):
        if where[i]:
            entropy[i] = scratch[3, i]
            mutual[i] = min(mutual[i], entropy[i])


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _written(
    at: tuple[int, int, int],
    n: int,
    called: Int32,
    probability: Float32,
    entropy: Float32,
    mutual: Float32,
    said: Float32,
    labels: UInt8,
    values: Float32,
    probabilities: Float32,
) -> None:
    """Writes what is said of `n` voxels."""
    z, y, first = at
    for i in range(n):
        labels[z, y, first + i] = called[i]
        values[0, z, y, first + i] = probability[i]
        values[1, z, y, first + i] = entropy[i]
        values[2, z, y, first + i] = mutual[i]
    for k in range(len(said)):
        for i in range(n):
            probabilities[k, z, y, first + i] = said[k, i]
