"""What is summed over one line of voxels, compiled.

Loops that do the same to every voxel are apart from those that count into a place that the voxel decides: the compiler
makes vector instructions of the former, and the latter do nothing else. The figures are those of `metrics`, which is
what the tests compare them with.
"""

import numba
import numpy as np
import numpy.typing as npt

from segbench.metrics import ranking
from segbench.metrics.patches import EDGE
from segbench.metrics.reliability import BINS, TINY, Float64
from segbench.volume import Float32, UInt8

Int64 = npt.NDArray[np.int64]
UInt32 = npt.NDArray[np.uint32]
LANES = 4  # copies of a small table, used in turn: a processor waits for a number that it has only just written
CELLS = 8 * BINS  # [region, called, present, bin]
PRODUCT = 32  # probabilities of at least TINY whose product float64 still holds
ONE, HALF = np.float32(1), np.float32(0.5)
DROPPED, LOWEST = np.int32(ranking.DROPPED), np.int32(ranking.LOWEST)
INNERMOST, LAST = np.int32(ranking.HALF - 1), np.int32(ranking.BINS - 1)
RANKS = np.uint32(ranking.BINS)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def within(line: Float32) -> bool:
    """Whether every value lies in [0, 1]; NaN does not."""
    found = 0
    for x in range(len(line)):
        found += (line[x] >= 0) & (line[x] <= ONE)
    return found == len(line)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def judge(p: Float32, truth: UInt8, threshold: np.float32, wrong: UInt8) -> None:
    """Marks the voxels whose label is not the reference's."""
    for x in range(len(p)):
        wrong[x] = np.uint8(p[x] > threshold) ^ truth[x]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def likelihood(p: Float32, truth: UInt8, band: UInt8, nll: Float64, brier: Float64) -> None:
    """Adds -ln p(true class), and (p - y)^2, of interior and band.

    The logarithm is taken of products.
    """
    width = len(p)
    for first in range(0, width, PRODUCT):
        inside = outside = 1.0
        for x in range(first, min(first + PRODUCT, width)):
            one = min(max(np.float64(p[x]), TINY), 1 - TINY)
            true = one if truth[x] else 1 - one
            inside *= true if band[x] else 1.0
            outside *= 1.0 if band[x] else true
        nll[0] -= np.log(outside)
        nll[1] -= np.log(inside)
    inside = total = 0.0
    for x in range(width):
        apart = np.float64(p[x]) - truth[x]
        total += apart * apart
        inside += apart * apart * band[x]
    brier[0] += total - inside
    brier[1] += inside


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def calibrate(
    p: Float32, truth: UInt8, band: UInt8, threshold: np.float32, cell: UInt32, count: Int64, total: Float64
) -> None:
    """Counts voxels, and adds up p, in their cell [lane, region, called, present, bin]."""
    for x in range(len(p)):
        place = min(np.int32(np.float64(p[x]) * BINS), np.int32(BINS - 1))
        kind = 4 * np.int32(band[x]) + 2 * np.int32(p[x] > threshold) + np.int32(truth[x])
        cell[x] = np.uint32((np.int32(x) & np.int32(LANES - 1)) * np.int32(CELLS) + kind * np.int32(BINS) + place)
    for x in range(len(p)):
        count[cell[x]] += 1
        total[cell[x]] += p[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def rank(line: Float32, mark: UInt8, band: UInt8, near: Float32, cell: UInt32, count: Int64) -> None:
    """Counts voxels in their cell [region, mark, bin], the bins of `metrics.ranking`."""
    for x in range(len(line)):
        near[x] = ONE - line[x] if line[x] > HALF else line[x]
    bits = near.view(np.int32)
    for x in range(len(line)):
        inner = min(max((bits[x] >> DROPPED) - LOWEST, np.int32(0)), INNERMOST)
        place = LAST - inner if line[x] > HALF else inner
        cell[x] = np.uint32(place) + RANKS * np.uint32(2 * band[x] + mark[x])
    for x in range(len(line)):
        count[cell[x]] += 1


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def add_up(line: Float32, band: UInt8, total: Float64) -> None:
    """Adds the values of interior and band."""
    inside = outside = 0.0
    for x in range(len(line)):
        value = np.float64(line[x])
        inside += value if band[x] else 0.0
        outside += 0.0 if band[x] else value
    total[0] += outside
    total[1] += inside


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def patch(line: Float32, total: Float64) -> None:
    """Adds the values of each three voxels, and of those that are left over, to their patch."""
    full = len(line) // EDGE
    for n in range(full):
        total[n] += np.float64(line[EDGE * n]) + np.float64(line[EDGE * n + 1]) + np.float64(line[EDGE * n + 2])
    for x in range(EDGE * full, len(line)):
        total[full] += line[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def patch_marks(mark: UInt8, total: npt.NDArray[np.int32]) -> None:
    """The same of marks."""
    full = len(mark) // EDGE
    for n in range(full):
        total[n] += np.int32(mark[EDGE * n]) + np.int32(mark[EDGE * n + 1]) + np.int32(mark[EDGE * n + 2])
    for x in range(EDGE * full, len(mark)):
        total[full] += mark[x]
