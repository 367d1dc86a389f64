"""Per-voxel uncertainty from T samples of a probability.

Entropies in nats. The predictive entropy H(mean p) is the whole uncertainty; the mutual information
H(mean p) - mean H(p) is the part on which the samples disagree (Gal 2016, Houlsby et al. 2011). The spread is
percentile 70 minus percentile 30 of the samples (Martinez et al., Sandia), linear between order statistics. The
deviation is their population standard deviation.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError

Float32 = npt.NDArray[np.float32]

MEASURES = ("entropy", "mutual_information", "spread", "deviation")
"""Measures of uncertainty, as rows name them."""
HIGHEST = {"entropy": math.log(2), "mutual_information": math.log(2), "spread": 1.0, "deviation": 0.5}
"""What each can be at most, of two classes; `highest` has it of more."""
ROUNDING = 1e-6
"""Share by which float32 may carry it further."""

CHUNK = 1 << 14
"""Voxels worked on at once, so that the samples of a chunk stay in a core's cache."""

LOW, HIGH = 0.3, 0.7
TINY = np.float32(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What T samples say of each voxel; all float32.

    Attributes:
        mean: Mean probability, shape (...) of class 1, or (K, ...) of every class.
        entropy: Predictive entropy in nats, shape (...), in [0, ln K].
        mutual: Mutual information in nats, shape (...), in [0, entropy].
        spread: Percentile 70 - percentile 30, shape (...), in [0, 1]; of K classes that of the likeliest.
        deviation: Population standard deviation, shape (...), in [0, 0.5]; of K classes that of the likeliest.
    """

    mean: Float32
    entropy: Float32
    mutual: Float32
    spread: Float32
    deviation: Float32


def binary(samples: Float32) -> Uncertainty:
    """Uncertainty of a yes-or-no segmentation.

    Args:
        samples: Probability of class 1, shape (T, ...) with T >= 1, float32 in [0, 1]. NaN stays NaN.
    """
    if samples.ndim < 1 or not len(samples):
        raise InputError(f"uncertainty needs at least one sample, got shape {samples.shape}")
    flat = np.asarray(samples, dtype=np.float32).reshape(len(samples), -1)
    mean, entropy, mutual, spread, deviation = (np.empty(flat.shape[1], dtype=np.float32) for _ in range(5))
    for chunk in _chunks(flat.shape[1]):
        block = np.array(flat[:, chunk])  # a copy: it will be sorted
        mean[chunk] = _mean(block)
        entropy[chunk] = binary_entropy(mean[chunk])
        mutual[chunk] = entropy[chunk] - _mean(binary_entropy(block))
        deviation[chunk] = _deviation(block, mean[chunk])
        spread[chunk] = _spread(block)
    np.clip(mutual, 0, entropy, out=mutual)
    return Uncertainty(*(a.reshape(samples.shape[1:]) for a in (mean, entropy, mutual, spread, deviation)))


def categorical(samples: Float32, mean: Float32 | None = None) -> Uncertainty:
    """Uncertainty of a segmentation into K classes; for K = 2 the same as `binary`.

    Args:
        samples: Probability of each class, shape (T, K, ...) with T >= 1, float32 in [0, 1], adding up to 1
            over K.
        mean: What is said in the end, shape (K, ...), where that is not the mean of the samples: the softmax of mean
            logits, as MatPhase has it. Mutual information is 0 where it is surer than they are.
    """
    if samples.ndim < 2 or not samples.shape[0] or not samples.shape[1]:
        raise InputError(f"uncertainty needs samples of shape (T, K, ...), got {samples.shape}")
    t, k = samples.shape[:2]
    flat = np.asarray(samples, dtype=np.float32).reshape(t, k, -1)
    said = np.empty(flat.shape[1:], dtype=np.float32)
    if mean is not None:
        said[:] = np.asarray(mean, dtype=np.float32).reshape(k, -1)
    entropy, mutual, spread, deviation = (np.empty(flat.shape[2], dtype=np.float32) for _ in range(4))
    for chunk in _chunks(flat.shape[2]):
        block = flat[:, :, chunk]
        if mean is None:
            said[:, chunk] = _mean(block)
        entropy[chunk] = _surprise(said[:, chunk]).sum(axis=0)
        mutual[chunk] = entropy[chunk] - _mean(_surprise(block).sum(axis=1))
        called = said[:, chunk].argmax(axis=0)[None, None]
        own = np.take_along_axis(block, called, axis=1)[:, 0]  # a copy: it will be sorted
        deviation[chunk] = _deviation(own, _mean(own))
        spread[chunk] = _spread(own)
    np.clip(mutual, 0, entropy, out=mutual)
    rest = samples.shape[2:]
    return Uncertainty(said.reshape(k, *rest), *(a.reshape(rest) for a in (entropy, mutual, spread, deviation)))


def highest(name: str, classes: int = 2) -> float:
    """What a measure can be at most: entropies ln K, of K classes."""
    return math.log(classes) if name in ("entropy", "mutual_information") else HIGHEST[name]


def relative(measure: Float32, name: str, classes: int = 2) -> Float32:
    """A measure as a share of the most that it can be: histograms are fine at both ends of [0, 1]."""
    share: Float32 = measure * np.float32(1 / highest(name, classes))
    return np.minimum(share, np.float32(1))


def _chunks(voxels: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, voxels, CHUNK))


def _mean(samples: Float32) -> Float32:
    """Mean over the first axis: float32 over T <= some hundred samples, whose order is fixed."""
    total: Float32 = samples.sum(axis=0, dtype=np.float32)
    return total / np.float32(len(samples))


def _deviation(samples: Float32, mean: Float32) -> Float32:
    """Population standard deviation along the first axis, about a mean that is known: nothing cancels."""
    return np.sqrt(_mean(np.square(samples - mean)))


def _surprise(p: Float32) -> Float32:
    """-p ln p, and 0 at p = 0."""
    out = np.maximum(p, TINY)
    np.log(out, out=out)
    out *= -p
    return out


def binary_entropy(p: Float32) -> Float32:
    """Entropy in nats: H(p) = -p ln p - (1 - p) ln (1 - p)."""
    return _surprise(p) + _surprise(np.float32(1) - p)


def _spread(samples: Float32) -> Float32:
    """Percentile 70 minus percentile 30 along the first axis; sorts `samples` in place.

    A sorting network over the first axis: each comparison is one pass over whole rows, several times
    faster than sorting T numbers a voxel.
    """
    for low, high in network(len(samples)):
        least = np.minimum(samples[low], samples[high])
        np.maximum(samples[low], samples[high], out=samples[high])
        samples[low] = least
    return _percentile(samples, HIGH) - _percentile(samples, LOW)


def _percentile(ordered: Float32, share: float) -> Float32:
    position = share * (len(ordered) - 1)
    below = min(int(position), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    low: Float32 = ordered[below]
    high: Float32 = ordered[above]
    return low + (high - low) * np.float32(position - below)


@cache
def network(length: int) -> tuple[tuple[int, int], ...]:
    """Batcher's merge exchange for any length (Knuth, TAOCP 3, 5.2.2M): pairs to compare and swap."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max((length - 1).bit_length() - 1, 0)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(length - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    return tuple(pairs)
