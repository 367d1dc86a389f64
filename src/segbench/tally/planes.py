"""What the compiled pass adds to, and what it means."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from segbench.metrics import ranking
from segbench.metrics.counts import Int64
from segbench.metrics.multiclass import Multiclass
from segbench.metrics.patches import Patches
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import BINS, Float64, Judged, Reliability
from segbench.metrics.uncertainty import MEASURES, ROUNDING, highest
from segbench.tally import kernel
from segbench.tally.statistics import Region, Tally
from segbench.volume import Float32, UInt8

M = len(MEASURES)


@dataclass(frozen=True, eq=False)
class Sums:
    """What `planes` adds to; the first axis is the region where there is one, interior and band.

    Attributes:
        classes: K; 0 where the probability of class 1 says all.
        count: Voxels by their cell, as the kernel places them.
        total: Sums of probabilities, likewise.
    """

    classes: int
    count: Int64
    total: Float64
    ranked: Int64
    errors: Int64
    scores: Float64
    patches: Int64

    @property
    def tally(self) -> Tally:
        """The same by its meaning."""
        ranked, errors = self.ranked.reshape(2, 2, -1), self.errors.reshape(M, 2, 2, -1)
        judged = self._two() if not self.classes else self._many()

        def region(r: int) -> Region:
            found = tuple(Histogram(errors[m, r, 1], errors[m, r, 0]) for m in range(M))
            return Region(judged[r], Histogram(ranked[r, 1], ranked[r, 0]), found, self.scores[2:, r])

        return Tally(region(1), region(0), tuple(Patches(counts) for counts in self.patches))

    def _two(self) -> tuple[Judged, Judged]:
        shape = (kernel.LANES, 2, 2, 2, BINS)
        count, total = (each.reshape(shape).sum(axis=0) for each in (self.count, self.total))
        nll, brier = self.scores[:2].tolist()
        return Reliability(nll[0], brier[0], count[0], total[0]), Reliability(nll[1], brier[1], count[1], total[1])

    def _many(self) -> tuple[Judged, Judged]:
        k, behind = self.classes, _cells(self.classes)[0]
        count, total = (each[:behind].reshape(2, k, k, BINS) for each in (self.count, self.total))
        present, sums = (each[behind:].reshape(2, k, 2, BINS) for each in (self.count, self.total))
        nll, brier = self.scores[:2].tolist()
        interior, band = (
            Multiclass(
                nll=nll[r], brier=brier[r], called=count[r], confidence=total[r], present=present[r],
                probability=sums[r],
            )
            for r in range(2)
        )  # fmt: skip
        return interior, band


def empty(classes: int = 0) -> Sums:
    """Nothing summed of K classes; 0 where the probability of class 1 says all."""
    cells = sum(_cells(classes)) if classes else kernel.LANES * kernel.CELLS
    return Sums(
        classes=classes,
        count=np.zeros(cells, np.int64),
        total=np.zeros(cells, np.float64),
        ranked=np.zeros(4 * ranking.BINS, np.int64),
        errors=np.zeros((M, 4 * ranking.BINS), np.int64),
        scores=np.zeros((2 + M, 2), np.float64),
        patches=np.zeros((M, 2, 2), np.int64),
    )


def _cells(classes: int) -> tuple[int, int]:
    """Of the called class, and of every class, as `kernel` has them one behind the other."""
    return 2 * classes * classes * BINS, 2 * classes * 2 * BINS


@cache
def _limits(classes: int) -> tuple[Float32, Float32]:
    """What the measures are multiplied with to reach from 0 to 1, and the most that they may be."""
    tops = [highest(name, classes or 2) for name in MEASURES]
    return np.array([1 / top for top in tops], np.float32), np.array([top * (1 + ROUNDING) for top in tops], np.float32)


def add(
    sums: Sums, probability: Float32, measures: tuple[Float32, ...], called: UInt8 | None, reference: UInt8, above: int,
    alone: bool, threshold: float, parts: int,
) -> str | None:  # fmt: skip
    """Adds some planes to `sums`.

    Args:
        sums: Changed.
        probability: Of class 1 (1, Z, Y, X), or of each of K classes (K, Z, Y, X), contiguous.
        measures: `MEASURES`, (Z, Y, X) each and contiguous.
        called: Classes that are called, (Z, Y, X), contiguous; None where the threshold calls them.
        reference: Phases of these planes and of their neighbours (Z + up to 4, Y, X), contiguous.
        above: How many of its planes come before the first of these.
        alone: Whether each plane is an image of its own, whose boundaries its neighbours do not move.
        threshold: Class 1 is called above it.
        parts: Which of the sums, as bits.

    Returns:
        Name of an array in which a value is NaN or outside of what it can be; None if all is well.
    """
    scales, tops = _limits(sums.classes)
    labels = np.empty((0, 0, 0), np.uint8) if called is None else called
    wrong = kernel.planes(
        probability, measures, labels, reference, above, alone, np.float32(threshold), scales, tops, parts,
        sums.count, sums.total, sums.ranked, sums.errors, sums.scores, sums.patches,
    )  # fmt: skip
    return None if wrong == 0 else ("probability", *MEASURES)[wrong - kernel.WRONG]
