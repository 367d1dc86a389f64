"""What the compiled pass adds to, and what it means."""

from dataclasses import dataclass

import numpy as np

from segbench.metrics import ranking
from segbench.metrics.counts import Int64
from segbench.metrics.patches import Patches
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import BINS, Float64, Reliability
from segbench.metrics.uncertainty import HIGHEST, MEASURES, ROUNDING
from segbench.tally import kernel
from segbench.tally.statistics import Region, Tally
from segbench.volume import Float32, UInt8

M = len(MEASURES)
SCALES = np.array([1 / HIGHEST[name] for name in MEASURES], np.float32)
TOPS = np.array([HIGHEST[name] * (1 + ROUNDING) for name in MEASURES], np.float32)


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
        count = self.count.reshape(kernel.LANES, 2, 2, 2, BINS).sum(axis=0)
        total = self.total.reshape(kernel.LANES, 2, 2, 2, BINS).sum(axis=0)
        ranked, errors = self.ranked.reshape(2, 2, -1), self.errors.reshape(M, 2, 2, -1)

        def region(r: int) -> Region:
            reliability = Reliability(float(self.scores[0, r]), float(self.scores[1, r]), count[r], total[r])
            found = tuple(Histogram(errors[m, r, 1], errors[m, r, 0]) for m in range(M))
            return Region(reliability, Histogram(ranked[r, 1], ranked[r, 0]), found, self.scores[2:, r])

        return Tally(region(1), region(0), tuple(Patches(counts) for counts in self.patches))


def empty() -> Sums:
    """Nothing summed."""
    cells = kernel.LANES * kernel.CELLS
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
        Name of an array in which a value is NaN or outside of what it can be; None if all is well.
    """
    wrong = kernel.planes(
        probability, measures, reference, above, np.float32(threshold), SCALES, TOPS, parts,
        sums.count, sums.total, sums.ranked, sums.errors, sums.scores, sums.patches,
    )  # fmt: skip
    return None if wrong == 0 else ("probability", *MEASURES)[wrong - kernel.WRONG]
