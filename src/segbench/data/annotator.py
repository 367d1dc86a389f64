"""A human-like label: a careful hand where attention lasts, a wrong threshold where it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, label
from skimage.filters import threshold_otsu

from segbench.data.fields import smooth_noise
from segbench.errors import InputError

Float32Array = NDArray[np.float32]
LabelArray = NDArray[np.uint8]

STEPS = 14
"""Bisection steps for the strength of the annotator's mistakes."""


@dataclass(frozen=True)
class Annotator:
    """Habits of the person (or of the person's script) who labelled the image."""

    accuracy: float  # wanted agreement with the truth
    level: float = 0.4  # boundary convention: the blurred occupancy that still counts as active
    smoothing: float = 1.0  # of the outline, voxels
    fills_below: int = 30  # voxels: smaller pores are missed
    bias: float = 0.5  # of the careless threshold, in standard deviations of the image
    slice_drift: float = 0.3  # of the careless threshold along z
    wander: float = 0.5  # share of the careless error that ignores the image

    def __post_init__(self) -> None:
        if not (0.5 < self.accuracy < 1 and 0.05 <= self.level <= 0.95):
            raise InputError(f"annotator out of range: accuracy {self.accuracy}, level {self.level}")


def annotate(image: Float32Array, truth: LabelArray, habits: Annotator, rng: np.random.Generator) -> LabelArray:
    """Human-like label (Z, Y, X) whose agreement with the truth is the annotator's accuracy, by bisection."""
    scores = _Scores(image, truth, habits, rng)
    low, high = -1.0, 2.0
    best, best_miss = truth, 1.0
    for _ in range(STEPS):
        strength = 0.5 * (low + high)
        drawn = scores.label(strength)
        agreement = float(np.mean(drawn == truth))
        if abs(agreement - habits.accuracy) < best_miss:
            best, best_miss = drawn, abs(agreement - habits.accuracy)
        if best_miss < 0.0015:
            break
        low, high = (strength, high) if agreement > habits.accuracy else (low, strength)
    return best


class _Scores:
    """The annotator's opinions as signed fields; positive means active."""

    def __init__(self, image: Float32Array, truth: LabelArray, habits: Annotator, rng: np.random.Generator) -> None:
        self.truth, self.habits = truth, habits
        solid = truth.astype(np.float32)
        filled = np.maximum(solid, missed_pores(truth, habits.fills_below))
        self.sharp = solid - np.float32(0.5)
        self.careful = gaussian_filter(filled, habits.smoothing) - np.float32(habits.level)
        seen = gaussian_filter(image, max(0.8, habits.smoothing))
        grey = (seen - np.float32(threshold_otsu(seen))) / np.float32(seen.std())
        along = gaussian_filter1d(rng.standard_normal(len(truth)), 5.0, mode="reflect")
        along = (along / along.std()).astype(np.float32)[:, None, None]
        majority = 1.0 if solid.mean() > 0.5 else -1.0
        # both careless opinions lean away from the majority, so that a strong enough mistake reaches any accuracy
        self.careless = grey - np.float32(majority * habits.bias) + np.float32(habits.slice_drift) * along
        self.guess = smooth_noise(rng, truth.shape, 7.0) - np.float32(majority * 0.35)
        self.inattention = smooth_noise(rng, truth.shape, 10.0)

    def label(self, strength: float) -> LabelArray:
        """Label at a strength of the mistakes: -1 the truth, 0 careful, 1 careless threshold, 2 hardly looks."""
        if strength <= 0:
            return _positive(-strength * self.sharp + (1 + strength) * self.careful)
        lapse = np.clip(np.float32(0.8) * self.inattention + np.float32(4 * min(strength, 1.0) - 2), 0, 1)
        share = np.float32(min(0.95, self.habits.wander * min(strength, 1.0) + 0.95 * max(0.0, strength - 1)))
        careless = (1 - share) * self.careless + share * self.guess
        return _positive((1 - lapse) * 2 * self.careful + lapse * careless)


def _positive(score: Float32Array) -> LabelArray:
    return np.asarray(score > 0, dtype=np.uint8)


def missed_pores(truth: LabelArray, fills_below: int) -> LabelArray:
    """Mask of the pores with fewer voxels than `fills_below`."""
    pores, count = label(truth == 0)
    if count == 0:
        return np.zeros_like(truth)
    small = np.bincount(pores.ravel()) < fills_below
    small[0] = False
    return np.asarray(small[pores], dtype=np.uint8)
