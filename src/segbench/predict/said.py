"""What a model says of one tile: from the logits of T samples to labels and maps of uncertainty."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segbench.cascade import Refined
from segbench.predict.aggregate import aggregate, binary
from segbench.predict.classes import empty, several
from segbench.volume import Float32, UInt8
from segbench.zoo.card import Card


@dataclass(frozen=True, eq=False)
class Said:
    """Of the voxels of one core.

    Attributes:
        labels: Class of each voxel, uint8 (Z, Y, X).
        probability: Of class 1 where there are two classes, else of the called one, float32 (Z, Y, X).
        entropy: Predictive entropy in nats, float32 (Z, Y, X).
        mutual: Mutual information in nats, float32 (Z, Y, X).
        spread: Percentile 70 - percentile 30 of the samples' probabilities of that class, float32 (Z, Y, X).
        deviation: Their population standard deviation, float32 (Z, Y, X).
        active: Voxels of class 1 in each sample alone, int64 (T,); of each class, (K, T), of more than two.
        samples: Labels of the first samples, uint8 (N, Z, Y, X), as many as were asked for.
        probabilities: Of each class, float32 (K, Z, Y, X); None where there are two.
        doubted: Where a second network decided, bool (Z, Y, X); None where there is none.
    """

    labels: UInt8
    probability: Float32
    entropy: Float32
    mutual: Float32
    spread: Float32
    deviation: Float32
    active: npt.NDArray[np.int64]
    samples: UInt8
    probabilities: Float32 | None = None
    doubted: npt.NDArray[np.bool_] | None = None


def said(logits: Float32, card: Card, keep: int = 0, threads: int = 1, refined: Refined | None = None) -> Said:
    """What logits [T, C, Z, Y, X] say; C is 1 for a sigmoid.

    Args:
        logits: Of a core.
        card: Of the model.
        keep: So many samples' own labels are kept.
        threads: That work side by side.
        refined: What the model's second network says; nothing of a model without one.
    """
    if card.activation == "softmax":
        return _softmax(np.ascontiguousarray(logits), card, keep, threads, refined)
    return _sigmoid(np.ascontiguousarray(logits[:, 0]), card, keep, threads)


def _sigmoid(logits: Float32, card: Card, keep: int, threads: int) -> Said:
    """Of logits (T, Z, Y, X) of class 1."""
    maps = binary(logits.shape, keep)
    scale, shift = (1.0, 0.0) if card.calibration is None else (card.calibration.scale, card.calibration.shift)
    _side_by_side(lambda z: aggregate(logits, z, scale, shift, card.threshold, maps), logits.shape[1], threads)
    probability, entropy, mutual, spread, deviation = maps.values
    active = maps.active.sum(axis=0)
    return Said(maps.labels, probability, entropy, mutual, spread, deviation, active, maps.samples)


def _softmax(logits: Float32, card: Card, keep: int, threads: int, refined: Refined | None) -> Said:
    """Of logits (T, K, Z, Y, X); a slice is dealt out by rows, so that all threads work on it and none falls behind."""
    depth, parts = logits.shape[2], min(-(-threads // logits.shape[2]), logits.shape[3])
    maps, scale = empty(logits.shape, keep, parts), 1.0 if card.calibration is None else card.calibration.scale
    local, doubted = np.empty((0, 0, 0, 0), np.float32), np.empty((0, 0, 0), np.bool_)
    if refined is not None:
        local, doubted = np.ascontiguousarray(refined.probability), np.ascontiguousarray(refined.doubted)

    def part(number: int) -> None:
        z, rows = divmod(number, parts)
        several(logits, z, rows, scale, card.mean == "logits", local, doubted, maps)

    _side_by_side(part, depth * parts, threads)
    active, two = maps.active.sum(axis=(0, 1)), len(card.classes) == 2
    probability, entropy, mutual, spread, deviation = maps.values
    return Said(
        maps.labels,
        probability,
        entropy,
        mutual,
        spread,
        deviation,
        active[1] if two else active,
        maps.samples,
        None if two else maps.probabilities,
        None if refined is None else doubted,
    )


def _side_by_side(work: Callable[[int], None], count: int, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(count)):
            pass


def calibrated(logits: Float32, card: Card) -> Float32:
    """Logits as the card calibrates them."""
    if card.calibration is None:
        return logits
    return logits * np.float32(card.calibration.scale) + np.float32(card.calibration.shift)


def probabilities(logits: Float32, card: Card) -> Float32:
    """What each sample says by itself: probabilities of class 1 [T, 1, ...], or of each of several [T, K, ...]."""
    own = calibrated(logits, card)
    if card.activation == "sigmoid":
        return sigmoid(own)
    powers = np.exp(own - own.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def sigmoid(logits: Float32) -> Float32:
    """1 / (1 + exp(-x)) without overflow, float32."""
    return np.asarray(0.5 * (np.tanh(0.5 * logits) + 1), dtype=np.float32)
