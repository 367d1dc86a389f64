"""What the compiled pass over K classes does to a few voxels: loops that the compiler makes vector instructions of.

Arrays are (n,) or (K, n) and stay in the first cache; `predict.aggregate` says why exponential and logarithm are
written out. What is chosen from is read before it is chosen, so that no loop has a branch.
"""

import numba
import numpy as np
import numpy.typing as npt

from segbench.predict.aggregate import (
    C2,
    C3,
    C4,
    C5,
    C6,
    C7,
    C9,
    DEEPEST,
    HALF,
    LN2_HIGH,
    LN2_LOW,
    LOG2E,
    ONE,
    TWO,
)
from segbench.volume import Float32

MOST = np.float32(1e30)  # of a logit: sums and differences of such are finite
ROOT_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
TINY = np.float32(np.finfo(np.float32).tiny)
ZERO = np.float32(0)

Int32 = npt.NDArray[np.int32]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def scaled(row: Float32, scale: np.float32, x: Float32, mean: Float32) -> None:
    """Calibrated logits of a class into `x`, and added up; infinite ones become large, NaN stays NaN."""
    for i in range(len(row)):
        value = row[i] * scale
        value = MOST if value > MOST else value
        x[i] = -MOST if value < -MOST else value
        mean[i] += x[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def beyond(entropy: Float32, expected: Float32, n: int, mutual: Float32) -> None:
    """What the entropy exceeds the samples' own by, from 0 to the entropy; NaN stays NaN."""
    for i in range(n):
        more = entropy[i] - expected[i]
        more = ZERO if more < ZERO else more
        mutual[i] = entropy[i] if more > entropy[i] else more


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def added(p: Float32, total: Float32, called: Int32, number: np.int32, n: int) -> int:
    """Adds a sample's probabilities of the class `number` up; how many voxels it calls so."""
    found = np.int32(0)
    for i in range(n):
        total[i] += p[i]
        found += np.int32(called[i] == number)
    return int(found)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
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
