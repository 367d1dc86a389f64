"""All sums over some planes of a volume in one compiled pass, line by line."""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from segbench.metrics import ranking
from segbench.metrics.patches import ACCURATE, EDGE, Patches
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import BINS, Float64, Reliability
from segbench.metrics.uncertainty import MEASURES
from segbench.tally import boundary, lines
from segbench.tally.statistics import Region, Tally
from segbench.volume import Float32, UInt8

Int64 = npt.NDArray[np.int64]
M = len(MEASURES)
BAND, LIKELIHOOD, CALIBRATION, RANKING, MEANS, PATCHES, ERRORS = (1 << n for n in range(7))  # ERRORS << m for each
WRONG = 1  # before the measures: what `planes` says of a probability that is none


@dataclass(frozen=True, eq=False)
class Sums:
    """What `planes` adds to; the first axis is the region where there is one, interior and band."""

    count: Int64
    total: Float64
    ranked: Int64
    errors: Int64
    scores: Float64
    patches: Int64

    @property
    def tally(self) -> Tally:
        """The same by its meaning."""
        count = self.count.reshape(lines.LANES, 2, 2, 2, BINS).sum(axis=0)
        total = self.total.reshape(lines.LANES, 2, 2, 2, BINS).sum(axis=0)
        ranked, errors = self.ranked.reshape(2, 2, -1), self.errors.reshape(M, 2, 2, -1)

        def region(r: int) -> Region:
            reliability = Reliability(float(self.scores[0, r]), float(self.scores[1, r]), count[r], total[r])
            found = tuple(Histogram(errors[m, r, 1], errors[m, r, 0]) for m in range(M))
            return Region(reliability, Histogram(ranked[r, 1], ranked[r, 0]), found, self.scores[2:, r])

        return Tally(region(1), region(0), tuple(Patches(counts) for counts in self.patches))


def empty() -> Sums:
    """Nothing summed."""
    cells = lines.LANES * lines.CELLS
    return Sums(
        count=np.zeros(cells, np.int64),
        total=np.zeros(cells, np.float64),
        ranked=np.zeros(4 * ranking.BINS, np.int64),
        errors=np.zeros((M, 4 * ranking.BINS), np.int64),
        scores=np.zeros((2 + M, 2), np.float64),
        patches=np.zeros((M, 2, 2), np.int64),
    )


def add(
    sums: Sums, probability: Float32, measures: tuple[Float32, ...], reference: UInt8, above: int, threshold: float,
    parts: int,
) -> str | None:  # fmt: skip
    """Adds some planes to `sums`.

    Args:
        sums: Changed.
        probability: Of class 1 (Z, Y, X), contiguous.
        measures: `MEASURES`, each of that shape and contiguous.
        reference: Phases 0 and 1 of these planes and of their neighbours (Z + up to 4, Y, X), contiguous.
        above: How many of its planes come before the first of these.
        threshold: Class 1 is called above it.
        parts: Which of the sums, as bits.

    Returns:
        Name of an array in which a value is outside [0, 1] or NaN; None if all is well.
    """
    wrong = _planes(
        probability, measures, reference, above, np.float32(threshold), parts,
        sums.count, sums.total, sums.ranked, sums.errors, sums.scores, sums.patches,
    )  # fmt: skip
    return None if wrong == 0 else ("probability", *MEASURES)[wrong - WRONG]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _planes(
    probability: Float32,
    measures: Any,  # noqa: ANN401
    reference: UInt8,
    above: int,
    threshold: np.float32,
    parts: int,
    count: Int64,
    total: Float64,
    ranked: Int64,
    errors: Int64,
    scores: Float64,
    patches: Int64,
) -> int:
    depth, height, width = probability.shape
    down, across = -(-height // EDGE), -(-width // EDGE)
    box = np.empty((5, width + 2 * boundary.EDGES), np.uint8)
    band, wrong = np.zeros(width, np.uint8), np.empty(width, np.uint8)
    near, cell = np.empty(width, np.float32), np.empty(width, np.uint32)
    sums, missed = np.empty((M, down, across), np.float64), np.empty((down, across), np.int32)
    for z in range(depth):
        sums[:] = 0
        missed[:] = 0
        for y in range(height):
            p, truth, row = probability[z, y], reference[above + z, y], y // EDGE
            if not lines.within(p):
                return WRONG
            lines.judge(p, truth, threshold, wrong)
            if parts & BAND:
                boundary.band(reference, above + z, y, box, band)
            if parts & LIKELIHOOD:
                lines.likelihood(p, truth, band, scores[0], scores[1])
            if parts & CALIBRATION:
                lines.calibrate(p, truth, band, threshold, cell, count, total)
            if parts & RANKING:
                lines.rank(p, truth, band, near, cell, ranked)
            if parts & PATCHES:
                lines.patch_marks(wrong, missed[row])
            for m in range(M):
                if not lines.within(measures[m][z, y]):
                    return WRONG + 1 + m
                _measure(
                    measures[m][z, y], wrong, band, near, cell,
                    parts & (ERRORS << m), parts & MEANS, parts & PATCHES, errors[m], scores[2 + m], sums[m, row],
                )  # fmt: skip
        for m in range(M):
            if parts & PATCHES:
                _judge_patches(sums[m], missed, height, width, patches[m])
    return 0


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _measure(
    line: Float32,
    wrong: UInt8,
    band: UInt8,
    near: Float32,
    cell: npt.NDArray[np.uint32],
    ranked: int,
    added: int,
    patched: int,
    errors: Int64,
    score: Float64,
    patch: Float64,
) -> None:
    """What of a measure of uncertainty is asked for."""
    if ranked:
        lines.rank(line, wrong, band, near, cell, errors)
    if added:
        lines.add_up(line, band, score)
    if patched:
        lines.patch(line, patch)


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
