"""All sums over some planes of a volume, compiled, line by line.

Loops that do the same to every voxel are apart from those that count into a place that the voxel decides: the compiler
makes vector instructions of the former, and the latter do nothing else. The figures are those of `metrics`, which is
what the tests compare them with.

All compiled code is in this one file: Numba's cache is renewed where the file of a function changed, and knows nothing
of what it calls elsewhere.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from segbench.metrics import ranking
from segbench.metrics.patches import ACCURATE, EDGE
from segbench.metrics.reliability import BINS, TINY, Float64
from segbench.metrics.uncertainty import MEASURES
from segbench.volume import Float32, UInt8

Int64 = npt.NDArray[np.int64]
UInt32 = npt.NDArray[np.uint32]
LANES = 4  # copies of a small table, used in turn: a processor waits for a number that it has only just written
CELLS = 8 * BINS  # [region, called, present, bin], of two classes
PRODUCT = 32  # probabilities of at least TINY whose product float64 still holds
ONE, HALF = np.float32(1), np.float32(0.5)
DROPPED, LOWEST = np.int32(ranking.DROPPED), np.int32(ranking.LOWEST)
INNERMOST, LAST = np.int32(ranking.HALF - 1), np.int32(ranking.BINS - 1)
RANKS = np.uint32(ranking.BINS)
EDGES = 2  # voxels beyond either end of a line that is looked around in
WRONG = 1  # what `planes` says of a probability that is none; the measures come after it
M = len(MEASURES)
BAND, LIKELIHOOD, CALIBRATION, RANKING, MEANS, PATCHES, ERRORS = (1 << n for n in range(7))  # ERRORS << m for each


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def planes(
    probability: Float32, measures: Any, called: UInt8, reference: UInt8, above: int, alone: bool,  # noqa: ANN401
    threshold: np.float32, scales: Float32, tops: Float32, parts: int, count: Int64, total: Float64, ranked: Int64,
    errors: Int64, scores: Float64, patches: Int64,
) -> Any:  # noqa: ANN401 - int  # fmt: skip
    """Adds to the arrays of `planes.Sums`; see `planes.add`.

    `scales` are what the measures are multiplied with to reach from 0 to 1, `tops` the most that they may be. Returns
    0, or `WRONG` and more for the first array in which a value is out of range.
    """
    classes, depth, height, width = probability.shape
    down, across = -(-height // EDGE), -(-width // EDGE)
    box = np.empty((5, width + 2 * EDGES), np.uint8)
    band, wrong = np.zeros(width, np.uint8), np.empty(width, np.uint8)
    near, cell = np.empty(width, np.float32), np.empty(width, np.uint32)
    sums, missed = np.empty((M, down, across), np.float64), np.empty((down, across), np.int32)
    for z in range(depth):
        sums[:] = 0
        missed[:] = 0
        for y in range(height):
            truth, row = reference[above + z, y], y // EDGE
            for k in range(classes):
                if not _within(probability[k, z, y], ONE):
                    return WRONG
            if parts & BAND:
                first, last = (above + z, above + z) if alone else (0, len(reference) - 1)
                _band(reference, above + z, y, first, last, box, band)
            if classes > 1:
                _many(probability, z, y, called[z, y], truth, band, wrong, parts, count, total, scores)
            else:
                _two(
                    probability[0, z, y], truth, band, threshold, wrong, near, cell, parts, count, total, ranked, scores
                )
            if parts & PATCHES:
                _patch_marks(wrong, missed[row])
            for m in range(M):
                if not _within(measures[m][z, y], tops[m]):
                    return WRONG + 1 + m
                _measure(
                    measures[m][z, y], scales[m], wrong, band, near, cell,
                    parts & (ERRORS << m), parts & MEANS, parts & PATCHES, errors[m], scores[2 + m], sums[m, row],
                )  # fmt: skip
        for m in range(M):
            if parts & PATCHES:
                _judge_patches(sums[m], missed, height, width, patches[m])
    return 0


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _two(
    p: Float32, truth: UInt8, band: UInt8, threshold: np.float32, wrong: UInt8, near: Float32, cell: UInt32, parts: int,
    count: Int64, total: Float64, ranked: Int64, scores: Float64,
) -> None:  # fmt: skip
    """What of the probability of class 1 is asked for."""
    _judge(p, truth, threshold, wrong)
    if parts & LIKELIHOOD:
        _likelihood(p, truth, band, scores[0], scores[1])
    if parts & CALIBRATION:
        _calibrate(p, truth, band, threshold, cell, count, total)
    if parts & RANKING:
        _rank(p, ONE, truth, band, near, cell, ranked)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _many(
    probability: Float32, z: int, y: int, called: UInt8, truth: UInt8, band: UInt8, wrong: UInt8, parts: int,
    count: Int64, total: Float64, scores: Float64,
) -> None:  # fmt: skip
    """What of the probabilities of K classes is asked for."""
    for x in range(len(called)):
        wrong[x] = called[x] != truth[x]
    if parts & LIKELIHOOD:
        _likelihood_of_classes(probability, z, y, truth, band, scores[0], scores[1])
    if parts & CALIBRATION:
        _calibrate_classes(probability, z, y, called, truth, band, count, total)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _measure(
    line: Float32, scale: np.float32, wrong: UInt8, band: UInt8, near: Float32, cell: UInt32, ranked: int, added: int,
    patched: int, errors: Int64, score: Float64, patch: Float64,
) -> None:  # fmt: skip
    """What of a measure of uncertainty is asked for."""
    if ranked:
        _rank(line, scale, wrong, band, near, cell, errors)
    if added:
        _add_up(line, band, score)
    if patched:
        _patch(line, patch)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _judge_patches(sums: Float64, missed: npt.NDArray[np.int32], height: int, width: int, patches: Int64) -> None:
    """Counts the patches of a plane as [accurate, uncertain]."""
    mean = sums.sum() / (height * width)
    down, across = sums.shape
    for row in range(down):
        tall = min(EDGE, height - EDGE * row)
        accurate = uncertain = both = 0
        for n in range(across):
            voxels = tall * min(EDGE, width - EDGE * n)
            good = (voxels - missed[row, n]) >= ACCURATE * voxels
            unsure = sums[row, n] >= mean * voxels
            accurate += good
            uncertain += unsure
            both += good & unsure
        patches[1, 1] += both
        patches[1, 0] += accurate - both
        patches[0, 1] += uncertain - both
        patches[0, 0] += across - accurate - uncertain + both


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _band(reference: UInt8, z: int, y: int, first: int, last: int, box: UInt8, band: UInt8) -> None:
    """Marks the voxels of line (z, y) whose distance to another phase is at most 2, from centre to centre.

    Those are the box of 3 x 3 x 3 around a voxel (its corners are sqrt 3 away) and the six voxels 2 away along an axis.
    Beyond planes `first` to `last`, lines and columns there is nothing, which is the same as the outermost ones
    repeated: a line that is repeated lies nearer than the one that it stands for. So a single slice has no neighbours
    along Z. Phases are the same where the bits that any of them has are those that all have. `box` is scratch.
    """
    _, height, width = reference.shape
    own, some, every, far_some, far_every = box[0], box[1], box[2], box[3], box[4]
    line = reference[z, y]
    for x in range(width):
        own[x + 2] = some[x + 2] = every[x + 2] = far_some[x + 2] = far_every[x + 2] = line[x]
    own[0] = own[1] = line[0]
    own[width + 2] = own[width + 3] = line[width - 1]
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            _gather(reference[_inside(z + dz, first, last), _inside(y + dy, 0, height - 1)], some, every)
    for step in (-2, 2):
        _gather(reference[_inside(z + step, first, last), y], far_some, far_every)
        _gather(reference[z, _inside(y + step, 0, height - 1)], far_some, far_every)
    some[1], every[1] = some[2], every[2]
    some[width + 2], every[width + 2] = some[width + 1], every[width + 1]
    for x in range(width):
        any_has = some[x + 1] | some[x + 2] | some[x + 3] | far_some[x + 2] | own[x] | own[x + 4]
        all_have = every[x + 1] & every[x + 2] & every[x + 3] & far_every[x + 2] & own[x] & own[x + 4]
        band[x] = any_has != all_have


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _gather(line: UInt8, some: UInt8, every: UInt8) -> None:
    """The bits that any voxel's phase has so far, and those that all have."""
    for x in range(len(line)):
        some[x + 2] |= line[x]
        every[x + 2] &= line[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _inside(index: int, first: int, last: int) -> int:
    return min(max(index, first), last)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _within(line: Float32, top: np.float32) -> bool:
    """Whether every value lies in [0, top]; NaN does not."""
    found = 0
    for x in range(len(line)):
        found += (line[x] >= 0) & (line[x] <= top)
    return found == len(line)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _judge(p: Float32, truth: UInt8, threshold: np.float32, wrong: UInt8) -> None:
    """Marks the voxels whose label is not the reference's."""
    for x in range(len(p)):
        wrong[x] = np.uint8(p[x] > threshold) ^ truth[x]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _likelihood(p: Float32, truth: UInt8, band: UInt8, nll: Float64, brier: Float64) -> None:
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


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _likelihood_of_classes(
    probability: Float32, z: int, y: int, truth: UInt8, band: UInt8, nll: Float64, brier: Float64
) -> None:
    """The same of K classes, over which (p - y)^2 is added up."""
    classes, _, _, width = probability.shape
    for first in range(0, width, PRODUCT):
        inside = outside = 1.0
        for x in range(first, min(first + PRODUCT, width)):
            true = min(max(np.float64(probability[truth[x], z, y, x]), TINY), 1 - TINY)
            inside *= true if band[x] else 1.0
            outside *= 1.0 if band[x] else true
        nll[0] -= np.log(outside)
        nll[1] -= np.log(inside)
    for k in range(classes):
        p = probability[k, z, y]
        inside = total = 0.0
        for x in range(width):
            apart = np.float64(p[x]) - (truth[x] == k)
            total += apart * apart
            inside += apart * apart * band[x]
        brier[0] += total - inside
        brier[1] += inside


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _calibrate(
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
def _calibrate_classes(
    probability: Float32, z: int, y: int, called: UInt8, truth: UInt8, band: UInt8, count: Int64, total: Float64
) -> None:
    """Counts voxels in [region, called, present, bin], and behind those in [region, class, whether it is, bin]."""
    classes = len(probability)
    for x in range(len(truth)):
        p = probability[called[x], z, y, x]
        cell = ((band[x] * classes + called[x]) * classes + truth[x]) * BINS + min(int(np.float64(p) * BINS), BINS - 1)
        count[cell] += 1
        total[cell] += p
    behind = 2 * classes * classes
    for k in range(classes):
        for x in range(len(truth)):
            p = probability[k, z, y, x]
            kind = behind + (band[x] * classes + k) * 2 + (truth[x] == k)
            cell = kind * BINS + min(int(np.float64(p) * BINS), BINS - 1)
            count[cell] += 1
            total[cell] += p


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _rank(
    line: Float32, scale: np.float32, mark: UInt8, band: UInt8, near: Float32, cell: UInt32, count: Int64
) -> None:
    """Counts voxels in their cell [region, mark, bin], the bins of `metrics.ranking`."""
    for x in range(len(line)):
        value = min(line[x] * scale, ONE)
        near[x] = ONE - value if value > HALF else value
    bits = near.view(np.int32)
    for x in range(len(line)):
        inner = min(max((bits[x] >> DROPPED) - LOWEST, np.int32(0)), INNERMOST)
        place = LAST - inner if line[x] * scale > HALF else inner
        cell[x] = np.uint32(place) + RANKS * np.uint32(2 * band[x] + mark[x])
    for x in range(len(line)):
        count[cell[x]] += 1


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _add_up(line: Float32, band: UInt8, total: Float64) -> None:
    """Adds the values of interior and band."""
    inside = outside = 0.0
    for x in range(len(line)):
        value = np.float64(line[x])
        inside += value if band[x] else 0.0
        outside += 0.0 if band[x] else value
    total[0] += outside
    total[1] += inside


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _patch(line: Float32, total: Float64) -> None:
    """Adds the values of each three voxels, and of those that are left over, to their patch."""
    full = len(line) // EDGE
    for n in range(full):
        total[n] += np.float64(line[EDGE * n]) + np.float64(line[EDGE * n + 1]) + np.float64(line[EDGE * n + 2])
    for x in range(EDGE * full, len(line)):
        total[full] += line[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _patch_marks(mark: UInt8, total: npt.NDArray[np.int32]) -> None:
    """The same of marks."""
    full = len(mark) // EDGE
    for n in range(full):
        total[n] += np.int32(mark[EDGE * n]) + np.int32(mark[EDGE * n + 1]) + np.int32(mark[EDGE * n + 2])
    for x in range(EDGE * full, len(mark)):
        total[full] += mark[x]
