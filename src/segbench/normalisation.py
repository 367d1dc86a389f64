"""How grey values become what a network expects, as its card says.

A normalisation does not see the scale: the same scan as 8 or 16 bit, shifted, scaled, or as floats around a million
comes out alike, as far as its grey levels tell the same. All arithmetic is float64; the result is float32.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.io import sampled
from segbench.recipe import Strict
from segbench.volume import Float32, LazyArray, Volume

PART = 2**18  # values at once that are held as float64 and stay in a cache
CACHED = 2**15  # the same, in a cache of one core alone
LOOKED_AT = 9  # slices that are searched for a constant exterior
LEAST_EXTERIOR = 0.01  # share of those slices: as much as sets the percentiles that are in use
VOID = -1.0  # what an exterior becomes: about the mean of the darker phase; docs/normalisation.md compares others

Block = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]


class Normalisation(Strict):
    """z-score or range of a whole volume, optionally of values clipped to percentiles first.

    Attributes:
        mode: "z-score": mean 0 and standard deviation 1. "range": the clipped values, lowest to highest, lie from -1 to
            1 (as MatPhase's networks take them).
        clip_percentiles: Values outside these percentiles are set to them: hot pixels and metal do not set the scale.
        exterior: Leave out a constant exterior (see `constant_exterior`): it sets neither percentiles nor scale, and
            its voxels become void, -1: one standard deviation below the mean or the end of the range, so that a bright
            filling is not taken for material. Their label is what the network says of such void; nobody sets it.
    """

    mode: Literal["z-score", "range"] = "z-score"
    clip_percentiles: tuple[float, float] | None = None
    exterior: bool = False


@dataclass(frozen=True)
class Scaling:
    """A fitted normalisation: clip to [low, high], subtract `offset`, divide by `scale`; grey values throughout.

    Attributes:
        low: Of the clipping.
        high: Of the clipping.
        offset: Mean of the clipped values, or the middle of their range.
        scale: Their standard deviation, or half their range; negative where dark and bright are exchanged.
        exterior: Voxels of exactly this value are no part of the scan and become `VOID`.
    """

    low: float
    high: float
    offset: float
    scale: float
    exterior: float | None = None

    def __call__(self, block: Block) -> Float32:
        """Normalised copy of a block of any shape, of the volume's own type: as float32 a contrast may be lost."""
        found = np.empty(block.shape, dtype=np.float32)
        parts = max(1, min(len(block), block.size // CACHED))
        for values, into in zip(np.array_split(block, parts), np.array_split(found, parts), strict=True):
            self._part(values, into)
        return found

    def _part(self, block: Block, into: Float32) -> None:
        values = block.astype(np.float64)
        np.clip(values, self.low, self.high, out=values)
        values -= self.offset
        values /= self.scale
        if self.exterior is not None:
            values[block == self.exterior] = VOID
        into[...] = values


@dataclass(frozen=True)
class Normalised:
    """A lazy array that is normalised as it is read."""

    data: LazyArray
    scaling: Scaling

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the data."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Always float32."""
        return np.dtype(np.float32)

    def __getitem__(self, key: Any, /) -> Float32:  # noqa: ANN401
        return self.scaling(np.asarray(self.data[key]))


def fit(normalisation: Normalisation, volume: Volume, *, invert: bool = False, sample: Block | None = None) -> Scaling:
    """Fits to a volume that `io.check_image` accepts.

    Percentiles, mean and deviation are those of one voxel in n along every axis, at most about 2**24 of them: of all
    voxels up to 256 x 256 x 256, and beyond within a few ten thousandths of the deviation.

    Args:
        normalisation: What a card asks for.
        volume: Grey values of any type.
        invert: The scan's contrast is inverted: the normalised image is negated.
        sample: What `io.check_image` returned, so that the volume is not read again.

    Raises:
        InputError: The volume is constant, or is so once it is clipped and its exterior is left out; or its numbers are
            so small or large that float64 does not hold their squares.
    """
    exterior = constant_exterior(volume) if normalisation.exterior else None
    if sample is None:
        step = sampled(volume)
        sample = np.asarray(volume.data[::step, ::step, ::step])
    if exterior is not None:
        sample = sample[sample != exterior]
    if sample.dtype.kind == "b":
        sample = sample.astype(np.uint8)  # booleans have no percentiles
    low, high = -np.inf, np.inf
    if normalisation.clip_percentiles is not None and sample.size:
        # a value of the sample, not one between two: a slice and its repetition have the same percentiles
        cut = np.percentile(sample, normalisation.clip_percentiles, method="inverted_cdf")
        low, high = (float(v) for v in cut)
    seen = _Moments()
    for part in np.array_split(sample.ravel(), max(1, sample.size // PART)):
        seen.add(np.clip(part.astype(np.float64), low, high))
    if not seen.low < seen.high:
        raise InputError(f"{volume.source}: the image is constant: there is nothing to segment")
    scale = math.sqrt(seen.squares / seen.count)
    if not 0 < scale < math.inf:
        raise InputError(
            f"{volume.source}: grey values from {seen.low:g} to {seen.high:g} are too small or too large to compute "
            "with: give them in another unit"
        )
    offset = seen.mean
    if normalisation.mode == "range":
        low, high = seen.low, seen.high
        offset, scale = (low + high) / 2, (high - low) / 2
    return Scaling(low, high, offset, -scale if invert else scale, exterior)


def constant_exterior(volume: Volume) -> float | None:
    """The grey value that fills the outside of a round field of view or of a specimen's mask, or None.

    Up to nine slices, evenly spaced, are looked at. There is such a value if small squares in all four corners of all
    of them hold nothing else, and if it covers more than 1 % of them, but not all. What has that value within the
    specimen counts as exterior too.
    """
    depth, height, width = volume.shape
    edge_y, edge_x = (min(length, max(3, length // 32)) for length in (height, width))
    value: Any = None
    covered = 0
    heights = sorted({round(z) for z in np.linspace(0, depth - 1, min(depth, LOOKED_AT))})
    for z in heights:
        plane = np.asarray(volume.data[z])
        value = plane[0, 0] if value is None else value
        same = plane == value
        if not all(same[ys, xs].all() for ys in _ends(edge_y) for xs in _ends(edge_x)):
            return None
        covered += int(np.count_nonzero(same))
    share = covered / (len(heights) * height * width)
    return float(value) if LEAST_EXTERIOR < share < 1 else None


class _Moments:
    """Mean and sum of squared deviations, merged block by block: no pivot, so nothing cancels at any offset."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, values: Float64) -> None:
        if not values.size:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        mean = float(values.mean())
        with np.errstate(over="ignore"):  # told by an infinite scale
            squares = float(np.square(values - mean).sum())
        total = self.count + values.size
        apart = mean - self.mean
        self.squares += squares + apart * apart * self.count * values.size / total
        self.mean += apart * values.size / total
        self.count = total


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)
