"""What a model says of one tile: from the logits of T samples to labels and maps of uncertainty."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segbench.metrics.uncertainty import binary_entropy
from segbench.predict.aggregate import aggregate
from segbench.volume import Float32, UInt8
from segbench.zoo.card import Card


@dataclass(frozen=True, eq=False)
class Said:
    """Of the voxels of one core.

    Attributes:
        labels: Class of each voxel, uint8 (Z, Y, X).
        probability: Mean probability of class 1, float32 (Z, Y, X).
        entropy: Predictive entropy in nats, float32 (Z, Y, X).
        mutual: Mutual information in nats, float32 (Z, Y, X).
        spread: Percentile 70 - percentile 30 of the samples, float32 (Z, Y, X).
        deviation: Population standard deviation of the samples' probabilities, float32 (Z, Y, X).
        active: Voxels of class 1 in each sample alone, int64 (T,).
        samples: Labels of the first samples, uint8 (N, Z, Y, X), as many as were asked for.
    """

    labels: UInt8
    probability: Float32
    entropy: Float32
    mutual: Float32
    spread: Float32
    deviation: Float32
    active: npt.NDArray[np.int64]
    samples: UInt8


def said(logits: Float32, card: Card, keep: int = 0, threads: int = 1) -> Said:
    """What logits (T, Z, Y, X) say; the labels of the first `keep` samples are kept."""
    shape = logits.shape[1:]
    labels, samples = np.empty(shape, np.uint8), np.empty((keep, *shape), np.uint8)
    probability, entropy, mutual, spread, deviation = (np.empty(shape, np.float32) for _ in range(5))
    active = np.zeros((shape[0], len(logits)), np.int64)
    scale, shift = (1.0, 0.0) if card.calibration is None else (card.calibration.scale, card.calibration.shift)
    logits = np.ascontiguousarray(logits)

    def plane(z: int) -> None:
        found = aggregate(logits, z, scale, shift, card.threshold, samples[:, z])
        mean, expected, spread[z], deviation[z], active[z] = found
        probability[z], labels[z] = mean, mean > card.threshold
        entropy[z] = binary_entropy(mean) if len(logits) > 1 else expected  # one pass agrees with itself, exactly
        np.clip(entropy[z] - expected, 0, entropy[z], out=mutual[z])

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(plane, range(shape[0])):
            pass
    return Said(labels, probability, entropy, mutual, spread, deviation, active.sum(axis=0), samples)


def calibrated(logits: Float32, card: Card) -> Float32:
    """Logits as the card calibrates them."""
    if card.calibration is None:
        return logits
    return logits * np.float32(card.calibration.scale) + np.float32(card.calibration.shift)


def sigmoid(logits: Float32) -> Float32:
    """1 / (1 + exp(-x)) without overflow, float32."""
    return np.asarray(0.5 * (np.tanh(0.5 * logits) + 1), dtype=np.float32)
