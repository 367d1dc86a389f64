"""Whether bright is the particulate phase of a scan, as models expect, or dark is.

Particles bulge: along their surface the brighter side is the convex one. So on steep places of the smoothed image the
level lines curve towards the dark, whatever the shares of the phases, except at the cusps where particles touch; these
are few and sharp, which is why only the sign of the curvature counts. In an inverted image all signs change.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from segbench.normalisation import constant_exterior
from segbench.volume import Volume

Verdict = Literal["normal", "inverted", "unsure"]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

HEIGHTS = 9  # places along Z that are looked at
REACH = 2  # slices on each side of them that are averaged against noise, with weights of a Gaussian of width 1
PIXELS = 2**20  # that are looked at, of all places together
SIGMAS = (1.7, 2.4)  # voxels; wider ones lose small particles, narrower ones see noise
PATCH = 16  # edge of the patches whose scatter says how sure the score is
SMALLEST = 2 * PATCH

# Chosen on simulated domains alone: docs/normalisation.md has the table.
LEAST_SCORE = 0.02
LEAST_ERRORS = 2.5


@dataclass(frozen=True)
class Polarity:
    """Which phase is the convex one.

    Attributes:
        score: From -1, everything that bulges is dark, to 1, everything that bulges is bright; NaN if too small to say.
        error: Its standard error, from its scatter over the image.
        verdict: What follows: "unsure" where the score is below 0.02 or 2.5 standard errors.
    """

    score: float
    error: float
    verdict: Verdict

    def warning(self, source: str) -> str | None:
        """One line for a scan that is taken as it is, or None if nothing speaks against that."""
        if self.verdict != "inverted":
            return None
        return (
            f"{source}: the contrast looks inverted, its particles are dark (polarity {self.score:.2f} +- "
            f"{self.error:.2f}, expected above 0), but the model takes bright for material: look at the image, and "
            "predict with invert=True (--invert) if this is so"
        )


@dataclass(frozen=True, eq=False)
class Seen:
    """What a volume is judged by, once it was read.

    Attributes:
        planes: Slices averaged along Z (place, Y, X).
        outside: Where they hold the constant exterior.
    """

    planes: Float64
    outside: Bool


def polarity(volume: Volume) -> Polarity:
    """Looks at up to nine places along Z, in the middle of the plane, however large the volume is.

    Only curvature within slices counts, so a single slice is judged like a volume, and a slice and its repetition
    alike. A constant exterior (`normalisation.constant_exterior`) is left out with all that it reaches into.
    """
    return judged(seen(volume))


def judged(seen: Seen) -> Polarity:
    """What follows from what was seen; reads nothing, so that it can be found out beside other work."""
    planes, outside = seen.planes, seen.outside
    if min(planes.shape[1:]) < SMALLEST or outside.all():
        return Polarity(np.nan, np.nan, "unsure")
    low, high = np.percentile(planes[~outside], [1, 99])
    if not low < high:
        return Polarity(np.nan, np.nan, "unsure")
    # hot pixels are steeper than all surfaces together; the scale is taken out for numbers far from 1
    planes = (np.clip(planes, low, high) - low) / (high - low)
    signed, weight = (sum(parts) for parts in zip(*(_columns(planes, outside, s) for s in SIGMAS), strict=True))
    return _judge(np.asarray(signed), np.asarray(weight))


def _judge(signed: Float64, weight: Float64) -> Polarity:
    """Ratio of two sums over patches, and its error from the patches' deviations from that ratio."""
    total = float(weight.sum())
    if total <= 0:
        return Polarity(np.nan, np.nan, "unsure")
    score = float(signed.sum()) / total
    used = int(np.count_nonzero(weight))
    deviation = signed - score * weight
    error = float(np.sqrt(np.square(deviation).sum() * used / max(1, used - 1))) / total
    sure = used > 1 and abs(score) >= LEAST_SCORE and abs(score) >= LEAST_ERRORS * error
    return Polarity(score, error, "unsure" if not sure else "normal" if score > 0 else "inverted")


def seen(volume: Volume) -> Seen:
    """Reads what the polarity of a volume is judged by."""
    exterior = constant_exterior(volume)
    depth, height, width = volume.shape
    places = sorted({round(z) for z in np.linspace(0, depth - 1, HEIGHTS + 2)[1:-1]})
    edge = int((PIXELS / len(places)) ** 0.5)
    middle = tuple(slice(max(0, (n - edge) // 2), max(0, (n - edge) // 2) + edge) for n in (height, width))
    planes, outside = [], []
    for z in places:
        first, last = max(0, z - REACH), min(depth, z + REACH + 1)
        slab = np.asarray(volume.data[(slice(first, last), *middle)])
        weights = np.exp(-0.5 * np.square(np.arange(first, last) - z))
        planes.append(np.tensordot(weights / weights.sum(), slab.astype(np.float64), axes=1))
        outside.append(_outside((slab == exterior).any(axis=0)))
    return Seen(np.stack(planes), np.stack(outside))


def _outside(same: Bool) -> Bool:
    """Connected regions with room for a square of 5 by 5: a lone voxel of the exterior's value is the specimen's."""
    region, _ = ndimage.label(same, np.ones((3, 3), np.int8))
    wide = np.unique(region[ndimage.binary_opening(same, np.ones((5, 5), np.bool_))])
    return np.isin(region, wide[wide > 0])


def _columns(planes: Float64, outside: Bool, sigma: float) -> tuple[Float64, Float64]:
    """Signed and unsigned weight of each column of patches: what lies above each other is no second observation."""
    g = ndimage.gaussian_filter(planes, (0, sigma, sigma), mode="nearest", truncate=3)
    c = g[:, 1:-1, 1:-1]
    gy, gx = (g[:, 2:, 1:-1] - g[:, :-2, 1:-1]) / 2, (g[:, 1:-1, 2:] - g[:, 1:-1, :-2]) / 2
    yy, xx = g[:, 2:, 1:-1] + g[:, :-2, 1:-1] - 2 * c, g[:, 1:-1, 2:] + g[:, 1:-1, :-2] - 2 * c
    xy = (g[:, 2:, 2:] + g[:, :-2, :-2] - g[:, 2:, :-2] - g[:, :-2, 2:]) / 4
    weight = gy * gy + gx * gx
    if outside.any():
        reach = 2 * (int(3 * sigma + 0.5) + 1) + 1  # of the Gaussian and the differences
        weight[ndimage.maximum_filter(outside, (1, reach, reach))[:, 1:-1, 1:-1]] = 0
    # div(grad g / |grad g|) without its denominator: negative where a level line curves towards the dark
    signed = -weight * np.sign(yy * gx * gx + xx * gy * gy - 2 * xy * gx * gy)
    return _patches(signed.sum(axis=0)), _patches(weight.sum(axis=0))


def _patches(plane: Float64) -> Float64:
    rows, columns = (np.arange(0, length, PATCH) for length in plane.shape)
    return np.asarray(np.add.reduceat(np.add.reduceat(plane, rows, axis=0), columns, axis=1))
