"""How grey values become what a network expects, as its card says."""

from dataclasses import dataclass

import numpy as np

from segbench.errors import InputError
from segbench.recipe import Strict
from segbench.volume import Float32, LazyArray

SLAB_VOXELS = 2**24


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


def fit(normalisation: Normalisation, data: LazyArray, source: str = "array") -> Scaling:
    """Fits to a volume (Z, Y, X), slab by slab.

    Raises:
        InputError: The volume holds NaN or infinite values, or is constant.
    """
    depth, height, width = data.shape
    step = max(1, SLAB_VOXELS // (height * width))
    slabs = [slice(z, z + step) for z in range(0, depth, step)]
    low, high = -np.inf, np.inf
    for slab in slabs:
        bad = int(np.count_nonzero(~np.isfinite(np.asarray(data[slab]))))
        if bad:
            raise InputError(
                f"{source}: {bad} voxels from slice {slab.start} on are NaN or infinite; replace them before segmenting"
            )
    if normalisation.clip_percentiles is not None:
        # one voxel in n along every axis: at most 2**24 values decide the percentiles
        stride = max(1, int(np.ceil((depth * height * width / SLAB_VOXELS) ** (1 / 3))))
        sample = np.asarray(data[::stride, ::stride, ::stride], dtype=np.float32)
        low, high = (float(v) for v in np.percentile(sample, normalisation.clip_percentiles))
    total, first, second = 0, 0.0, 0.0
    pivot = float(np.asarray(data[0], dtype=np.float64).mean())  # near the mean, so that squares do not cancel
    for slab in slabs:
        values = np.clip(np.asarray(data[slab], dtype=np.float64), low, high) - pivot
        total += values.size
        first += float(values.sum())
        second += float(np.square(values).sum())
    mean = first / total
    variance = second / total - mean * mean
    if variance <= 1e-12 * max(1.0, second / total):
        raise InputError(f"{source}: the image is constant: there is nothing to segment")
    return Scaling(low, high, mean + pivot, float(np.sqrt(variance)))
