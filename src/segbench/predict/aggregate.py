"""From the logits of T samples to mean, expected entropy, spread and deviation: one pass over memory, compiled.

The same figures as `metrics.uncertainty.binary`, which is what they mean and what the tests compare them with. There
each step is a pass over all samples; here a few hundred voxels stay in the first cache from logits to results, no lock
is held, and no memory is asked for, so that it runs beside an engine that uses every core.

Every loop over voxels is free of branches and calls, so that the compiler makes vector instructions of it. That is why
exponential and logarithm are written out, from their series: with a = |x| and e = exp(-a),

    p = 1 / (1 + e) or e / (1 + e),    H(p) = log(1 + e) + a e / (1 + e)
"""

from functools import cache

import numba
import numpy as np
import numpy.typing as npt

from segbench.metrics.uncertainty import HIGH, LOW, network
from segbench.volume import Float32

WIDTH = 256  # voxels at once: the samples of so many, four bytes each, fit the first cache at T = 16
LOG2E = np.float32(1 / np.log(2))
LN2_HIGH = np.float32(0.693359375)  # few bits: its products with small integers are exact
LN2_LOW = np.float32(np.log(2) - 0.693359375)
DEEPEST = np.float32(87)  # exp(-87) is about the smallest normal float32
ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)
C2, C3, C4, C5, C6, C7, C9, C11, C13, C15 = (np.float32(1 / n) for n in (2, 3, 4, 5, 6, 7, 9, 11, 13, 15))

Int64 = npt.NDArray[np.int64]


def aggregate(
    logits: Float32, z: int, scale: float, shift: float, threshold: float, keep: npt.NDArray[np.uint8]
) -> tuple[Float32, Float32, Float32, Float32, Int64]:
    """Aggregates T samples of `scale * logit + shift` of a plane.

    Args:
        logits: (T, Z, Y, X), contiguous.
        z: Of the plane.
        scale: Of the calibration.
        shift: Of the calibration.
        threshold: A sample calls a voxel class 1 above it.
        keep: (N, Y, X), N <= T: the labels of the first N samples are written into it.

    Returns:
        Mean probability of class 1, mean entropy of the samples in nats, percentile 70 - percentile 30, population
        standard deviation, each (Y, X); how many voxels each sample calls class 1 (T,).
    """
    mean, expected, spread, deviation = (np.empty(logits.shape[2:], np.float32) for _ in range(4))
    active = np.zeros(len(logits), np.int64)
    calibration = np.array([scale, shift, threshold], np.float32)
    _plane(logits, z, calibration, *order(len(logits)), mean, expected, spread, deviation, active, keep)
    return mean, expected, spread, deviation, active


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
    z: int,
    calibration: Float32,
    pairs: Int64,
    ranks: Int64,
    weights: Float32,
    mean: Float32,
    expected: Float32,
    spread: Float32,
    deviation: Float32,
    active: Int64,
    keep: npt.NDArray[np.uint8],
) -> None:
    """All of a plane, row by row, `WIDTH` voxels at a time."""
    count, _, height, width = logits.shape
    share = ONE / np.float32(count)
    p = np.empty((count, WIDTH), np.float32)
    entropy, total, power = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32), np.empty(WIDTH, np.int32)
    for y in range(height):
        for first in range(0, width, WIDTH):
            n = min(WIDTH, width - first)
            total[:n] = 0
            entropy[:n] = 0
            for t in range(count):
                _sample(logits[t, z, y, first : first + n], calibration, p[t], entropy, total, power)
                found = 0
                for i in range(n):
                    found += p[t, i] > calibration[2]
                active[t] += found
            for t in range(len(keep)):
                for i in range(n):
                    keep[t, y, first + i] = p[t, i] > calibration[2]
            for i in range(n):
                mean[y, first + i] = (
                    total[i] * share
                )  # never above 1: sums of T are at most T, and T * share rounds to 1
                expected[y, first + i] = entropy[i] * share
            deviate(p, mean[y, first : first + n], share, deviation[y, first : first + n])
            apart(p, pairs, ranks, weights, spread[y, first : first + n])


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _sample(
    logits: Float32, calibration: Float32, p: Float32, entropy: Float32, total: Float32, power: npt.NDArray[np.int32]
) -> None:
    """Probabilities of one sample into `p`; they and their entropies are added up."""
    n = len(logits)
    scale, shift = calibration[0], calibration[1]
    for i in range(n):  # exp(-a) = 2^-k exp(-r) with |r| below ln 2 / 2
        a = min(abs(logits[i] * scale + shift), DEEPEST)
        k = np.int32(a * LOG2E + HALF)
        r = (np.float32(k) * LN2_HIGH - a) + np.float32(k) * LN2_LOW
        e = ONE + r * C6 * (ONE + r * C7)
        e = ONE + r * C4 * (ONE + r * C5 * e)
        p[i] = ONE + r * (ONE + r * C2 * (ONE + r * C3 * e))
        power[i] = (np.int32(127) - k) << np.int32(23)
    scaling = power.view(np.float32)
    for i in range(n):
        x = logits[i] * scale + shift
        a = min(abs(x), DEEPEST)
        e = p[i] * scaling[i]
        more = e / ((ONE + e) * (TWO + e))  # one division for both
        small = more * (TWO + e)
        s = more * (ONE + e)  # log(1 + e) = 2 artanh(s), s = e / (2 + e)
        q = s * s
        series = (((C15 * q + C13) * q + C11) * q + C9) * q + C7
        series = ((series * q + C5) * q + C3) * q + ONE
        found = small if x < 0 else ONE - small
        p[i] = x if np.isnan(x) else found
        total[i] += p[i]
        entropy[i] += TWO * s * series + a * small


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def deviate(p: Float32, mean: Float32, share: np.float32, deviation: Float32) -> None:
    """Population standard deviation of the samples about their mean, which is known: nothing cancels."""
    n = len(mean)
    for i in range(n):
        deviation[i] = 0
    for t in range(len(p)):
        row = p[t]
        for i in range(n):
            apart = row[i] - mean[i]
            deviation[i] += apart * apart
    for i in range(n):
        deviation[i] = np.sqrt(deviation[i] * share)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def apart(p: Float32, pairs: Int64, ranks: Int64, weights: Float32, spread: Float32) -> None:
    """Percentile 70 - percentile 30 of the samples, which are sorted in place; see `order`."""
    n = len(spread)
    for pair in range(len(pairs)):
        _exchange(p[pairs[pair, 0]], p[pairs[pair, 1]], n)
    for i in range(n):
        low = p[ranks[0], i] + (p[ranks[1], i] - p[ranks[0], i]) * weights[0]
        high = p[ranks[2], i] + (p[ranks[3], i] - p[ranks[2], i]) * weights[1]
        spread[i] = high - low


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _exchange(one: Float32, other: Float32, n: int) -> None:
    """The smaller values into `one`."""
    for i in range(n):
        a, b = one[i], other[i]
        one[i] = a if a < b else b
        other[i] = b if a < b else a
