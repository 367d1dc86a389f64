"""From the logits of T samples of two classes to labels and maps: one pass over memory, compiled.

The same figures as `metrics.uncertainty.binary`, which is what they mean and what the tests compare them with. There
each step is a pass over all samples; here a few hundred voxels stay in the first cache from logits to results, no lock
is held, and little memory is asked for, so that it runs beside an engine that uses every core. With a = |x| and
e = exp(-a) of a logit x:

    p = 1 / (1 + e) or e / (1 + e),    H(p) = log(1 + e) + a e / (1 + e)
"""

import math
from dataclasses import dataclass
from functools import cache

import numba
import numpy as np

from segbench.metrics.uncertainty import HIGH, LOW, network
from segbench.predict.loops import ONE, Int64, above, apart, beyond, deviate, entropies, sigmoid
from segbench.volume import Float32, UInt8

BUILT_FROM = "8706e0bdc42d"
"""Start of the sha256 of `loops.py`. Numba keeps the pass compiled until the text of this very file changes, so that it
has to change with theirs; a test holds it."""
WIDTH = 256  # voxels at once: the samples of so many, four bytes each, fit the first cache at T = 16


@dataclass(frozen=True, eq=False)
class Binary:
    """What `aggregate` writes, plane by plane.

    Attributes:
        labels: Whether the mean is above the threshold, uint8 (Z, Y, X).
        values: float32 (5, Z, Y, X): mean probability of class 1, entropy, mutual information, spread, deviation.
        active: Voxels of class 1 in each sample alone, int64 (Z, T).
        samples: Labels of the first samples, uint8 (N, Z, Y, X).
    """

    labels: UInt8
    values: Float32
    active: Int64
    samples: UInt8


def binary(shape: tuple[int, ...], keep: int) -> Binary:
    """Room for what logits of that shape (T, Z, Y, X) say, the first `keep` samples' labels among it."""
    samples, *rest = shape
    return Binary(
        np.empty(rest, np.uint8),
        np.empty((5, *rest), np.float32),
        np.zeros((rest[0], samples), np.int64),
        np.empty((keep, *rest), np.uint8),
    )


def aggregate(logits: Float32, z: int, scale: float, shift: float, threshold: float, maps: Binary) -> None:
    """Writes what T samples of `scale * logit + shift` say of a plane.

    Args:
        logits: (T, Z, Y, X), contiguous.
        z: Of the plane.
        scale: Of the calibration.
        shift: Of the calibration.
        threshold: A sample calls a voxel class 1 above it, and so does the mean.
        maps: What is written into.
    """
    calibration = np.array([scale, shift, threshold], np.float32)
    voxels = math.prod(maps.labels.shape[1:])
    arrays = (logits, maps.labels, maps.values, maps.samples)
    _plane(*(of.reshape(*of.shape[:-2], voxels) for of in arrays), maps.active, z, calibration, *order(len(logits)))


@cache
def order(samples: int) -> tuple[Int64, Int64, Float32]:
    """Pairs of a sorting network [n, 2]; ranks just below and above both percentiles [4]; the weights between [2]."""
    pairs = np.array(network(samples), np.int64).reshape(-1, 2)
    ranks, weights = [], []
    for share in (LOW, HIGH):
        position = share * (samples - 1)
        below = min(int(position), samples - 1)
        ranks += [below, min(below + 1, samples - 1)]
        weights.append(position - below)
    return pairs, np.array(ranks), np.array(weights, np.float32)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _plane(
    logits: Float32,
    labels: UInt8,
    values: Float32,
    samples: UInt8,
    active: Int64,
    z: int,
    calibration: Float32,
    pairs: Int64,
    ranks: Int64,
    weights: Float32,
) -> None:
    """All voxels of a plane, `WIDTH` at a time; the last axes of everything are planes and their voxels."""
    count, _, length = logits.shape
    share, threshold = ONE / np.float32(count), calibration[2]
    p, both = np.empty((count, WIDTH), np.float32), np.empty((2, WIDTH), np.float32)
    expected, scratch = np.empty(WIDTH, np.float32), np.empty((4, WIDTH), np.float32)
    for first in range(0, length, WIDTH):
        n = min(WIDTH, length - first)
        mean, entropy, mutual, spread, deviation = (
            values[0, z, first : first + n],
            values[1, z, first : first + n],
            values[2, z, first : first + n],
            values[3, z, first : first + n],
            values[4, z, first : first + n],
        )
        mean[:] = 0
        expected[:n] = 0
        for t in range(count):
            sigmoid(logits[t, z, first : first + n], calibration, p[t], expected, mean, scratch[0].view(np.int32))
            active[z, t] += above(p[t], threshold, n)
        for t in range(len(samples)):
            for i in range(n):
                samples[t, z, first + i] = p[t, i] > threshold
        for i in range(n):
            mean[i] *= share  # never above 1: sums of T are at most T, and T * share rounds to 1
            expected[i] *= share
            labels[z, first + i] = mean[i] > threshold
            both[0, i] = mean[i]
            both[1, i] = ONE - mean[i]
        if count > 1:
            entropies(both, n, entropy, scratch)
        else:
            entropy[:] = expected[:n]  # one pass agrees with itself, exactly
        beyond(entropy, expected, n, mutual)
        deviate(p, mean, share, deviation)
        apart(p, pairs, ranks, weights, spread)
