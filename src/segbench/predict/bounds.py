"""What a card's conformal fit says of one prediction: the interval of the share of class 1, and two masks.

The outer mask, what may be class 1, and the inner one, what surely is, have the labels between them. Both are
thresholds on the mean probability, so they need not be stored.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segbench.metrics.conformal import interval
from segbench.volume import Float32
from segbench.zoo.findings import ConformalCard

Bool = npt.NDArray[np.bool_]
SURE, POSSIBLE = "sure", "possible"


def share_interval(fitted: ConformalCard | None, shares: Sequence[float]) -> tuple[float, float]:
    """The interval of the share of class 1, within [0, 1]; NaN where nothing was fitted for so few samples.

    Args:
        fitted: Of the card.
        shares: Of class 1 in each sample alone.
    """
    if fitted is None or len(shares) < fitted.samples:
        return math.nan, math.nan
    return interval(shares, fitted.widen, fitted.floor)


def possible(fitted: ConformalCard, probability: Float32) -> Bool:
    """The outer mask: what may be class 1, same shape."""
    return np.asarray(probability >= np.float32(fitted.possible))


def sure(fitted: ConformalCard, probability: Float32) -> Bool:
    """The inner mask: what surely is class 1, same shape."""
    return np.asarray(probability > np.float32(fitted.sure))


def masked(fitted: ConformalCard | None, probability: Float32) -> dict[str, int]:
    """Voxels of both masks by name; nothing where nothing was fitted."""
    if fitted is None:
        return {}
    masks = {SURE: sure(fitted, probability), POSSIBLE: possible(fitted, probability)}
    return {name: int(np.count_nonzero(mask)) for name, mask in masks.items()}


def assumption(fitted: ConformalCard, shape: tuple[int, int, int]) -> str:
    """What the interval takes for granted of a volume of this shape (Z, Y, X), in a sentence."""
    like = f"the scan is like {fitted.on}"
    voxels, block = math.prod(shape), fitted.edge**3
    if voxels > block:
        return f"keeps its level if {like}, and if a whole scan's share is no further off than a block's"
    if voxels < block:
        return f"keeps its level if {like}; this one is smaller than such a block, so its share may be further off"
    return f"keeps its level if {like}"
