"""How grey values become what a network expects, as its card says."""

import math
from dataclasses import dataclass

import numpy as np

from segbench.errors import InputError
from segbench.io import blocks
from segbench.recipe import Strict
from segbench.volume import Float32, Volume

SAMPLED = 2**24


class Normalisation(Strict):
    """z-score of a whole volume, optionally of values clipped to percentiles first.

    Attributes:
        clip_percentiles: Values outside these percentiles are set to them: hot pixels and metal do not set the scale.
    """

    clip_percentiles: tuple[float, float] | None = None


@dataclass(frozen=True)
class Scaling:
    """A fitted normalisation: clip to [low, high], subtract `offset`, divide by `scale`; grey values throughout."""

    low: float
    high: float
    offset: float
    scale: float

    def __call__(self, block: Float32) -> Float32:
        """Normalised copy of a block of any shape."""
        clipped = np.clip(block, self.low, self.high)
        clipped -= np.float32(self.offset)
        clipped /= np.float32(self.scale)
        return np.asarray(clipped, dtype=np.float32)


def fit(normalisation: Normalisation, volume: Volume) -> Scaling:
    """Fits to a volume that `io.check_image` accepts, block by block.

    Raises:
        InputError: The volume is constant, or is so once it is clipped.
    """
    low, high = -np.inf, np.inf
    if normalisation.clip_percentiles is not None:
        # one voxel in n along every axis: at most about `SAMPLED` values decide the percentiles
        stride = max(1, int(np.ceil((math.prod(volume.shape) / SAMPLED) ** (1 / 3))))
        sample = np.asarray(volume.data[::stride, ::stride, ::stride], dtype=np.float32)
        # a value of the sample, not one between two: a slice and its repetition have the same percentiles
        cut = np.percentile(sample, normalisation.clip_percentiles, method="inverted_cdf")
        low, high = (float(v) for v in cut)
    total, first, second = 0, 0.0, 0.0
    pivot = float(np.asarray(volume.data[0], dtype=np.float64).mean())  # near the mean, so that squares do not cancel
    for part in blocks(volume):
        values = np.clip(np.asarray(volume.data[part], dtype=np.float64), low, high) - pivot
        total += values.size
        first += float(values.sum())
        second += float(np.square(values).sum())
    mean = first / total
    variance = second / total - mean * mean
    if variance <= 1e-12 * max(1.0, second / total):
        raise InputError(f"{volume.source}: the image is constant: there is nothing to segment")
    return Scaling(low, high, mean + pivot, float(np.sqrt(variance)))
