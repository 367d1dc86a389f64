"""Scores of the images of a stack: of each image by itself, then averaged, as the MatPhase paper does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segbench.evaluate.estimates import Estimate, of_slices, of_trainings
from segbench.evaluate.sheet import Cell
from segbench.metrics import overlap
from segbench.metrics.counts import Int64
from segbench.rows import Row

OfImage = Callable[[Int64], float]
ENDS = 5
"""How many of the best and of the lowest images are averaged."""
TRAININGS = 3
"""From how many trainings on an interval is over them, and no longer over images."""


@dataclass(frozen=True)
class Ends:
    """Accuracy of the best and of the lowest images in per cent, with sample deviations in percentage points."""

    best: float
    best_deviation: float
    lowest: float
    lowest_deviation: float


def f1_of(number: int) -> OfImage:
    """F1 of a class by its index."""
    return lambda matrix: float(overlap.f1(matrix)[number])


def scores(row: Row, score: OfImage) -> list[float]:
    """A score of every image of a stack, in order; NaN where it is undefined."""
    return [score(np.array(block, dtype=np.int64)) for block in row.blocks]


def averaged(rows: Sequence[Row], score: OfImage) -> Cell:
    """Mean over images, then over trainings, with an interval; NaN where there are no rows.

    Args:
        rows: Of one domain, one for each training.
        score: Of an image.
    """
    each = [scores(row, score) for row in rows]
    if not each:
        return float("nan")
    return over(each)


def over(each: Sequence[Sequence[float]]) -> Estimate:
    """The same of scores in hand: for each training a list with a score for each image."""
    if len(each) >= TRAININGS:
        return of_trainings([overlap.mean(values) for values in each])
    return of_slices([overlap.mean(values) for values in zip(*each, strict=True)])


def differences(new: Sequence[Row], old: Sequence[Row], score: OfImage) -> list[list[float]]:
    """By how much a score is higher, image by image, for each pair of trainings."""
    return [
        [a - b for a, b in zip(scores(one, score), scores(other, score), strict=True)]
        for one, other in zip(new, old, strict=True)
    ]


def ends(row: Row, count: int = ENDS) -> Ends:
    """Accuracy of the `count` best and lowest images; of all where there are fewer."""
    ordered = np.sort([100 * value for value in scores(row, overlap.accuracy)])
    if not ordered.size:
        return Ends(*(float("nan"),) * 4)
    lowest, best = ordered[:count], ordered[-count:]
    spread = [float(part.std(ddof=1)) if part.size > 1 else float("nan") for part in (best, lowest)]
    return Ends(float(best.mean()), spread[0], float(lowest.mean()), spread[1])
