"""What the compiled passes do to a few voxels: loops that the compiler makes vector instructions of.

Arrays are (n,) or (K, n) and stay in the first cache. No loop has a branch or a call, which is why exponential and
logarithm are written out, from their series, and why what is chosen from is read before it is chosen.

Numba keeps none of them: it keeps the passes that they are compiled into (`predict.aggregate`, `predict.classes`).
"""

import numba
import numpy as np
import numpy.typing as npt

from segbench.volume import Float32

LOG2E = np.float32(1 / np.log(2))
LN2_HIGH = np.float32(0.693359375)  # few bits: its products with small integers are exact
LN2_LOW = np.float32(np.log(2) - 0.693359375)
DEEPEST = np.float32(87)  # exp(-87) is about the smallest normal float32
ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)
C2, C3, C4, C5, C6, C7, C9, C11, C13, C15 = (np.float32(1 / n) for n in (2, 3, 4, 5, 6, 7, 9, 11, 13, 15))
MOST = np.float32(1e30)  # of a logit: sums and differences of such are finite
ROOT_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
TINY = np.float32(np.finfo(np.float32).tiny)
ZERO = np.float32(0)

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def sigmoid(logits: Float32, calibration: Float32, p: Float32, entropy: Float32, total: Float32, power: Int32) -> None:
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


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def scaled(row: Float32, scale: np.float32, x: Float32, mean: Float32) -> None:
    """Calibrated logits of a class into `x`, and added up; infinite ones become large, NaN stays NaN."""
    for i in range(len(row)):
        value = row[i] * scale
        value = MOST if value > MOST else value
        x[i] = -MOST if value < -MOST else value
        mean[i] += x[i]


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def softmax(x: Float32, n: int, p: Float32, entropy: Float32, called: Int32, scratch: Float32) -> None:
    """Probabilities (K, n) of logits (K, n), their entropy, and which class is likeliest."""
    top, total, weighted, power = scratch[0], scratch[1], scratch[2], scratch[3].view(np.int32)
    likeliest(x, n, called, top)
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


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _logarithm(values: Float32, n: int, out: Float32, mantissa: Float32) -> None:
    """Natural logarithm of normal numbers 2^j m, m from sqrt(1/2) to sqrt(2): log m = 2 artanh((m - 1) / (m + 1))."""
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


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def entropies(p: Float32, n: int, entropy: Float32, scratch: Float32) -> None:
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


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def beyond(entropy: Float32, expected: Float32, n: int, mutual: Float32) -> None:
    """What the entropy exceeds the samples' own by, from 0 to the entropy; NaN stays NaN."""
    for i in range(n):
        more = entropy[i] - expected[i]
        more = ZERO if more < ZERO else more
        mutual[i] = entropy[i] if more > entropy[i] else more


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def likeliest(of: Float32, n: int, called: Int32, top: Float32) -> None:
    """The first class with the largest value (K, n), and that value."""
    for i in range(n):
        called[i] = 0
        top[i] = of[0, i]
    for k in range(1, len(of)):
        row, number = of[k], np.int32(k)
        for i in range(n):  # all are read before any is chosen: no branch
            new, old, before = row[i], top[i], called[i]
            top[i] = new if new > old else old
            called[i] = number if new > old else before


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def added(p: Float32, total: Float32, called: Int32, number: np.int32, n: int) -> int:
    """Adds a sample's probabilities of the class `number` up; how many voxels it calls so."""
    found = np.int32(0)
    for i in range(n):
        total[i] += p[i]
        found += np.int32(called[i] == number)
    return int(found)


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def above(p: Float32, threshold: np.float32, n: int) -> int:
    """How many of n probabilities are above a threshold."""
    found = np.int32(0)
    for i in range(n):
        found += np.int32(p[i] > threshold)
    return int(found)


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def picked(of: Float32, called: Int32, n: int, out: Float32) -> None:
    """The value (n,) of the called class, of values (K, n)."""
    first = of[0]
    for i in range(n):
        out[i] = first[i]
    for k in range(1, len(of)):
        row, number = of[k], np.int32(k)
        for i in range(n):
            new, old = row[i], out[i]
            out[i] = new if called[i] == number else old


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def deviate(p: Float32, mean: Float32, share: np.float32, deviation: Float32) -> None:
    """Population standard deviation of samples (T, n) about their mean, which is known: nothing cancels."""
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


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def apart(p: Float32, pairs: Int64, ranks: Int64, weights: Float32, spread: Float32) -> None:
    """Percentile 70 - percentile 30 of the samples, which are sorted in place; see `aggregate.order`."""
    n = len(spread)
    for pair in range(len(pairs)):
        _exchange(p[pairs[pair, 0]], p[pairs[pair, 1]], n)
    for i in range(n):
        low = p[ranks[0], i] + (p[ranks[1], i] - p[ranks[0], i]) * weights[0]
        high = p[ranks[2], i] + (p[ranks[3], i] - p[ranks[2], i]) * weights[1]
        spread[i] = high - low


@numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _exchange(one: Float32, other: Float32, n: int) -> None:
    """The smaller values into `one`."""
    for i in range(n):
        a, b = one[i], other[i]
        one[i] = a if a < b else b
        other[i] = b if a < b else a
