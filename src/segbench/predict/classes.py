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

from segbench.predict.aggregate import (
    C2, C3, C4, C5, C6, C7, C9, DEEPEST, HALF, LN2_HIGH, LN2_LOW, LOG2E, ONE, TWO, Int64, deviate, exchange, order,
)  # fmt: skip
from segbench.volume import Float32, UInt8

WIDTH = 128  # voxels at once: the samples of three classes fit the first cache at T = 16, or nearly
MOST = np.float32(1e30)  # of a logit: sums and differences of such are finite
ROOT_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
TINY = np.float32(np.finfo(np.float32).tiny)
ZERO = np.float32(0)

Bool = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Maps:
    """What `several` writes, plane by plane.

    Attributes:
        labels: The called class, uint8 (Z, Y, X).
        values: float32 (5, Z, Y, X): probability, entropy, mutual information, spread, deviation.
        probabilities: Of each class, float32 (K, Z, Y, X).
        active: Voxels of each class in each sample alone, int64 (Z, K, T).
        samples: Labels of the first samples, uint8 (N, Z, Y, X).
    """

    labels: UInt8
    values: Float32
    probabilities: Float32
    active: Int64
    samples: UInt8


def empty(shape: tuple[int, ...], keep: int) -> Maps:
    """Room for what logits of that shape (T, K, Z, Y, X) say, the first `keep` samples' labels among it."""
    samples, classes, *rest = shape
    return Maps(
        np.empty(rest, np.uint8),
        np.empty((5, *rest), np.float32),
        np.empty((classes, *rest), np.float32),
        np.zeros((rest[0], classes, samples), np.int64),
        np.empty((keep, *rest), np.uint8),
    )


def several(logits: Float32, z: int, scale: float, by_logits: bool, local: Float32, doubted: Bool, maps: Maps) -> None:
    """Writes what T samples of `scale * logit` say of a plane; a shift would change no softmax.

    The likeliest class is called, the first of those that are as likely; spread and deviation are of its probability
    in the samples. Probability is that of class 1 where there are two. Where a second network's probabilities decide,
    the entropy is theirs, and the mutual information the samples', but no more than it.

    Args:
        logits: (T, K, Z, Y, X), contiguous.
        z: Of the plane.
        scale: Of the calibration.
        by_logits: The softmax of the mean of the logits decides, not the mean of the samples' softmax.
        local: The second network's probabilities (K, Z, Y, X), contiguous; empty where there is none.
        doubted: Where they decide (Z, Y, X), contiguous; empty likewise.
        maps: What is written into.
    """
    found = (maps.labels, maps.values, maps.probabilities, maps.active, maps.samples)
    _plane(logits, z, np.float32(scale), by_logits, *order(len(logits)), local, doubted, *found)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _plane(
    logits: Float32,
    z: int,
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
    """All of a plane, row by row, `WIDTH` voxels at a time."""
    count, classes, _, height, width = logits.shape
    share = ONE / np.float32(count)
    p, own = np.empty((count, classes, WIDTH), np.float32), np.empty((count, WIDTH), np.float32)
    x, total = np.empty((classes, WIDTH), np.float32), np.empty((classes, WIDTH), np.float32)
    mean, said = np.empty((classes, WIDTH), np.float32), np.empty((classes, WIDTH), np.float32)
    entropy, expected, mutual = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    called, scratch = np.empty(WIDTH, np.int32), np.empty((4, WIDTH), np.float32)
    for y in range(height):
        for first in range(0, width, WIDTH):
            n = min(WIDTH, width - first)
            last = first + n
            mean[:] = 0
            total[:] = 0
            expected[:] = 0
            for t in range(count):
                for k in range(classes):
                    _scaled(logits[t, k, z, y, first:last], scale, x[k], mean[k])
                _softmax(x, n, p[t], entropy, called, scratch)
                for i in range(n):
                    expected[i] += entropy[i]
                for k in range(classes):
                    active[z, k, t] += _add(p[t, k], total[k], called, k, n)
                if t < len(samples):
                    for i in range(n):
                        samples[t, z, y, first + i] = called[i]
            for i in range(n):
                expected[i] *= share
            for k in range(classes):
                for i in range(n):
                    mean[k, i] *= share
                    total[k, i] *= share  # never above 1: sums of T are at most T, and T * share rounds to 1
                    said[k, i] = total[k, i]
            if by_logits:
                _softmax(mean, n, said, entropy, called, scratch)
            elif count > 1:
                _entropy(said, n, entropy, scratch)  # one pass agrees with itself, exactly
            _mutual(entropy, expected, n, mutual)
            if len(doubted):
                _second(local[:, z, y, first:last], doubted[z, y, first:last], said, entropy, mutual, scratch)
            _called(said, n, called, scratch[0])
            for k in range(classes):
                for i in range(n):
                    probabilities[k, z, y, first + i] = said[k, i]
            for i in range(n):
                labels[z, y, first + i] = called[i]
                values[0, z, y, first + i] = said[1, i] if classes == 2 else scratch[0, i]
                values[1, z, y, first + i] = entropy[i]
                values[2, z, y, first + i] = mutual[i]
            _own(p, total, called, n, own, scratch[0])
            deviate(own, scratch[0, :n], share, values[4, z, y, first:last])
            for pair in range(len(pairs)):
                exchange(own[pairs[pair, 0]], own[pairs[pair, 1]], n)
            for i in range(n):
                low = own[ranks[0], i] + (own[ranks[1], i] - own[ranks[0], i]) * weights[0]
                high = own[ranks[2], i] + (own[ranks[3], i] - own[ranks[2], i]) * weights[1]
                values[3, z, y, first + i] = high - low


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _scaled(row: Float32, scale: np.float32, x: Float32, mean: Float32) -> None:
    """Calibrated logits of a class into `x`, and added up; infinite ones become large, NaN stays NaN."""
    for i in range(len(row)):
        value = row[i] * scale
        value = MOST if value > MOST else value
        x[i] = -MOST if value < -MOST else value
        mean[i] += x[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _softmax(x: Float32, n: int, p: Float32, entropy: Float32, called: Int32, scratch: Float32) -> None:
    """Probabilities (K, n) of logits (K, n), their entropy, and which class is likeliest."""
    top, total, weighted, power = scratch[0], scratch[1], scratch[2], scratch[3].view(np.int32)
    _called(x, n, called, top)
    for i in range(n):
        total[i] = 0
        weighted[i] = 0
    for k in range(len(x)):
        row, out = x[k], p[k]
        for i in range(n):  # exp(-a) = 2^-j exp(-r) with |r| below ln 2 / 2
            d = top[i] - row[i]
            a = d if d < DEEPEST else DEEPEST
            j = np.int32(a * LOG2E + HALF)
            r = (np.float32(j) * LN2_HIGH - a) + np.float32(j) * LN2_LOW
            e = ONE + r * C6 * (ONE + r * C7)
            e = ONE + r * C4 * (ONE + r * C5 * e)
            out[i] = ONE + r * (ONE + r * C2 * (ONE + r * C3 * e))
            power[i] = (np.int32(127) - j) << np.int32(23)
        scaling = scratch[3]
        for i in range(n):
            d = top[i] - row[i]
            e = out[i] * scaling[i] + (d - d)  # NaN stays NaN
            out[i] = e
            total[i] += e
            weighted[i] += e * (d if d < DEEPEST else DEEPEST)
    _logarithm(total, n, entropy, scratch[3])
    for i in range(n):
        total[i] = ONE / total[i]
        entropy[i] += weighted[i] * total[i]
    for k in range(len(x)):
        for i in range(n):
            p[k, i] *= total[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _logarithm(values: Float32, n: int, out: Float32, mantissa: Float32) -> None:
    """Natural logarithm of normal numbers: 2^j m with m from sqrt(1/2) to sqrt(2), log m = 2 artanh((m - 1) / (m + 1))."""
    bits, part = values.view(np.int32), mantissa.view(np.int32)
    for i in range(n):
        j = (bits[i] - ROOT_HALF) >> np.int32(23)
        part[i] = bits[i] - (j << np.int32(23))
        out[i] = np.float32(j)
    for i in range(n):
        s = (mantissa[i] - ONE) / (mantissa[i] + ONE)
        q = s * s
        series = ((C9 * q + C7) * q + C5) * q + C3
        out[i] = out[i] * LN2_HIGH + (out[i] * LN2_LOW + TWO * s * (ONE + q * series))


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _entropy(p: Float32, n: int, entropy: Float32, scratch: Float32) -> None:
    """Of probabilities (K, n)."""
    bounded, logarithm = scratch[0], scratch[1]
    for i in range(n):
        entropy[i] = 0
    for k in range(len(p)):
        row = p[k]
        for i in range(n):
            bounded[i] = row[i] if row[i] > TINY else TINY
        _logarithm(bounded, n, logarithm, scratch[2])
        for i in range(n):
            entropy[i] -= row[i] * logarithm[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _mutual(entropy: Float32, expected: Float32, n: int, mutual: Float32) -> None:
    """What the entropy exceeds the samples' own by, from 0 to the entropy; NaN stays NaN."""
    for i in range(n):
        more = entropy[i] - expected[i]
        more = ZERO if more < ZERO else more
        mutual[i] = entropy[i] if more > entropy[i] else more


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _second(local: Float32, doubted: Bool, said: Float32, entropy: Float32, mutual: Float32, scratch: Float32) -> None:
    """Puts a second network's probabilities (K, n) where it decides (n,)."""
    n, any_doubted = len(doubted), False
    for i in range(n):
        any_doubted |= doubted[i]
    if not any_doubted:
        return
    for k in range(len(said)):
        for i in range(n):
            said[k, i] = local[k, i] if doubted[i] else said[k, i]
    _entropy(said, n, scratch[3], scratch)
    for i in range(n):
        entropy[i] = scratch[3, i] if doubted[i] else entropy[i]
        mutual[i] = entropy[i] if mutual[i] > entropy[i] else mutual[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _called(of: Float32, n: int, called: Int32, top: Float32) -> None:
    """The first class with the largest value (K, n), and that value."""
    for i in range(n):
        called[i] = 0
        top[i] = of[0, i]
    for k in range(1, len(of)):
        for i in range(n):
            more = of[k, i] > top[i]
            called[i] = k if more else called[i]
            top[i] = of[k, i] if more else top[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _add(p: Float32, total: Float32, called: Int32, k: int, n: int) -> int:
    """Adds a sample's probabilities of class `k` up; how many voxels it calls so."""
    found = 0
    for i in range(n):
        total[i] += p[i]
        found += called[i] == k
    return found


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _own(p: Float32, total: Float32, called: Int32, n: int, own: Float32, mean: Float32) -> None:
    """The samples' probabilities (T, n) of the called class, and their mean (n,)."""
    for k in range(len(total)):
        for i in range(n):
            mean[i] = total[k, i] if called[i] == k else mean[i]
    for t in range(len(p)):
        row = own[t]
        for k in range(len(total)):
            each = p[t, k]
            for i in range(n):
                row[i] = each[i] if called[i] == k else row[i]
