"""What uncertainty and logits say at the pixels that a first network is wrong about, and at the others.

Two assumptions of the MatPhase study, A1 and A2, are put to numbers. A1: uncertain pixels are
the wrong ones. It fails where many errors are among the least uncertain pixels. A2: wrong pixels have small logits, all
of similar size. Everything is counted over all pixels of the slices together.
"""

import math

import numpy as np
import numpy.typing as npt

from segbench.recipe import Strict
from segbench.volume import Float32, UInt8

SHARES = 50
"""Shares of the pixels, equally spaced, at which the curve of A1 is kept."""
BINS = 60
"""Of the histograms of A2, of equal width between the least and the greatest largest logit."""

Wrong = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]


class Group(Strict):
    """Largest logits of some pixels.

    Attributes:
        pixels: How many.
        mean: Of the largest logits; NaN as None where there are no pixels.
        deviation: Population standard deviation.
        counts: Histogram over the bins of `Findings.edges`.
    """

    pixels: int
    mean: float | None
    deviation: float | None
    counts: tuple[int, ...]


class Findings(Strict):
    """What was found at the pixels of one model.

    Attributes:
        pixels: All of them.
        errors: Wrong ones.
        found: Share of the errors that is among the least uncertain share i / SHARES of the pixels, i = 0 .. SHARES;
            equally uncertain pixels are taken in proportion.
        below_mean: Share of the errors whose uncertainty is below the mean of all pixels.
        smaller: How often a wrong pixel's largest logit is smaller than a right one's (AUROC); 0.5 is chance.
        edges: BINS + 1 edges of the histograms.
        right: Largest logits of right pixels.
        wrong: Of wrong pixels.
    """

    pixels: int
    errors: int
    found: tuple[float, ...]
    below_mean: float | None
    smaller: float | None
    edges: tuple[float, ...]
    right: Group
    wrong: Group

    def certain_errors(self, share: float = 0.5) -> float:
        """Share of the errors among that share of the pixels that is least uncertain; NaN without errors."""
        if not self.errors:
            return math.nan
        return float(np.interp(share, np.linspace(0, 1, len(self.found)), self.found))


def entropy(logits: Float32) -> Float:
    """Entropy of softmax(F) in nats; `logits` is [K, ...], the answer [...]."""
    shifted = logits.astype(np.float64) - logits.max(axis=0)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=0))
    found: Float = -(np.exp(log_p) * log_p).sum(axis=0)
    return found


def findings(logits: Float32, label: UInt8) -> Findings:
    """Compares the mean logits of a model with labels.

    Args:
        logits: F, the mean of the samples' logits [K, Z, Y, X].
        label: What it is compared with (Z, Y, X).
    """
    wrong = (logits.argmax(axis=0) != label).ravel()
    uncertain, largest = entropy(logits).ravel(), logits.max(axis=0).astype(np.float64).ravel()
    low, high = float(largest.min()), float(largest.max())
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    errors = int(wrong.sum())
    below = float((uncertain[wrong] < uncertain.mean()).mean()) if errors else None
    return Findings(
        pixels=wrong.size,
        errors=errors,
        found=tuple(float(v) for v in _found(uncertain, wrong)),
        below_mean=below,
        smaller=_smaller(largest, wrong),
        edges=tuple(float(v) for v in edges),
        right=_group(largest[~wrong], edges),
        wrong=_group(largest[wrong], edges),
    )


def _found(uncertain: Float, wrong: Wrong) -> Float:
    """Cumulated share of the errors from the least uncertain pixel on; ties share their errors evenly."""
    order = np.argsort(uncertain, kind="stable")
    values, first = np.unique(uncertain[order], return_index=True)
    at = np.append(first, wrong.size)
    cumulated = np.append(0, np.cumsum(wrong[order]))[at]
    errors = max(int(cumulated[-1]), 1)
    assert len(at) == len(values) + 1
    return np.asarray(np.interp(np.linspace(0, wrong.size, SHARES + 1), at, cumulated) / errors, dtype=np.float64)


def _smaller(largest: Float, wrong: Wrong) -> float | None:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counted half."""
    positive, negative = int(wrong.sum()), int((~wrong).sum())
    if not positive or not negative:
        return None
    _, inverse, counts = np.unique(-largest, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks = float(middle[inverse][wrong].sum())
    return (ranks - positive * (positive + 1) / 2) / (positive * negative)


def _group(values: Float, edges: Float) -> Group:
    counts = tuple(int(n) for n in np.histogram(values, edges)[0])
    if not values.size:
        return Group(pixels=0, mean=None, deviation=None, counts=counts)
    return Group(pixels=values.size, mean=float(values.mean()), deviation=float(values.std()), counts=counts)
