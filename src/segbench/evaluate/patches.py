"""Where a person learns most from looking: squares of slices that are wrong, wrong and sure, or right and unsure."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from segbench.recipe import Strict

EDGE = 32
"""Voxels of a square; a plane that is smaller is one square."""
EACH = 3
"""Squares that are kept of a volume by each rule."""

SURE = 0.5
"""Of two classes: the larger probability is above 0.89 where the uncertainty is below."""

Rule = Literal["wrong", "sure", "unsure"]
RULES: dict[Rule, str] = {
    "wrong": "the largest share of wrong voxels",
    "sure": "the largest share of voxels that are wrong with an uncertainty below 0.5",
    "unsure": "the largest share of voxels that are right with an uncertainty above 0.5",
}
Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.floating]


class Patch(Strict):
    """A square of one slice.

    Attributes:
        rule: By which it was chosen.
        z: Its slice.
        y: Its first row.
        x: Its first column.
        score: What the rule ranks by, in [0, 1].
        error: Share of its voxels that are wrong.
        uncertainty: Mean over its voxels, in [0, 1].
    """

    rule: Rule
    z: int
    y: int
    x: int
    score: float
    error: float
    uncertainty: float


def worst(error: Bool, uncertainty: Float, edge: int = EDGE, each: int = EACH) -> list[Patch]:
    """The squares that rank highest by each rule, highest first; none whose score is 0.

    Squares lie side by side. Of those above each other within `edge` slices the highest is taken, so that no two
    show the same place.

    Args:
        error: Whether the prediction differs from the reference, (Z, Y, X).
        uncertainty: In [0, 1], same shape.
        edge: Of a square in voxels.
        each: How many by each rule.
    """
    pairs = list(zip(error, uncertainty, strict=True))
    wrong, unsure = (np.stack([_mean(pair[n], edge) for pair in pairs]) for n in (0, 1))
    scores: dict[Rule, Float] = {
        "wrong": wrong,
        "sure": np.stack([_mean(e & (u < SURE), edge) for e, u in pairs]),
        "unsure": np.stack([_mean(~e & (u > SURE), edge) for e, u in pairs]),
    }
    found = []
    for rule, score in scores.items():
        for z, i, j in _peaks(score, edge, each):
            found.append(
                Patch(
                    rule=rule,
                    z=z,
                    y=i * edge,
                    x=j * edge,
                    score=float(score[z, i, j]),
                    error=float(wrong[z, i, j]),
                    uncertainty=float(unsure[z, i, j]),
                )
            )
    return found


def _peaks(score: Float, slab: int, each: int) -> list[tuple[int, int, int]]:
    """Places (z, row, column) of the highest scores above 0, one at most for each column and slab of slices."""
    places = []
    for start in range(0, len(score), slab):
        part = score[start : start + slab]
        best = part.argmax(axis=0)
        places += [(start + int(z), i, j) for (i, j), z in np.ndenumerate(best)]
    places = [place for place in places if score[place] > 0]
    return sorted(places, key=lambda place: -float(score[place]))[:each]


def _mean(plane: npt.NDArray[np.generic], edge: int) -> Float:
    """Means over whole squares; what is left over at the far borders is in none."""
    height, width = plane.shape
    rows, columns = min(edge, height), min(edge, width)
    ny, nx = height // rows, width // columns
    squares = plane[: ny * rows, : nx * columns].reshape(ny, rows, nx, columns)
    means: Float = squares.mean(axis=(1, 3), dtype=np.float64)
    return means
