"""What a network has to beat: a threshold, and a random forest that saw one labelled slice."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_multiotsu, threshold_otsu
from sklearn.ensemble import RandomForestClassifier

from segbench.errors import InputError
from segbench.volume import Float32, UInt8

SCALES = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations of the Gaussians in voxels."""
CUT = 3.0
"""A Gaussian ends so many of its standard deviations away."""
REACH = sum(round(CUT * (b**2 - a**2) ** 0.5) for a, b in pairwise((0.0, *SCALES))) + 2
"""Voxels that a feature looks away, along each axis; a second derivative adds two."""

TREES, LEAF, DEPTH = 60, 8, 14
MOST = 1 << 15
"""Labelled voxels that a forest learns from at most, drawn from its slice: more cost minutes and change little."""

BLOCK = 1 << 15
"""Voxels that one thread classifies at once; one block's features stay in a core's cache."""


@dataclass(frozen=True, eq=False)
class LabelledSlice:
    """All that a forest is shown of a truth: one slice of it, or several.

    Attributes:
        image: The volume (Z, Y, X) that the slice is part of: its features look at the slices around.
        z: Which slice; of several slices a tuple.
        labels: Its classes, shape (Y, X), integers in [0, 255]; of several slices (N, Y, X).
    """

    image: npt.NDArray[np.generic]
    z: int | tuple[int, ...]
    labels: npt.NDArray[np.generic]

    def __post_init__(self) -> None:
        which = self.z if isinstance(self.z, tuple) else (self.z,)
        inside = self.image.ndim == 3 and bool(which) and all(0 <= z < len(self.image) for z in which)
        shape = self.image.shape[1:] if isinstance(self.z, int) else (len(which), *self.image.shape[1:])
        if not inside or self.labels.shape != shape:
            raise InputError(
                f"slice {self.z} with labels {self.labels.shape} is no slice of a volume {self.image.shape}"
            )
        if self.labels.dtype.kind not in "biu" or self.labels.min() < 0 or self.labels.max() > 255:
            raise InputError("the labels of a slice are integers from 0 to 255")


def middle_slice(image: npt.NDArray[np.generic], truth: npt.NDArray[np.generic]) -> LabelledSlice:
    """The middle slice of a labelled volume (Z, Y, X)."""
    z = len(image) // 2
    return LabelledSlice(image, z, np.array(truth[z]))


def otsu(image: npt.NDArray[np.generic], classes: int = 2) -> UInt8:
    """Classes by the thresholds of Otsu (1979) over the whole volume, one fewer than classes; class 0 is the darkest.

    A constant image is class 0 throughout; one of fewer grey values than classes has as many classes as values.

    Raises:
        InputError: A grey value is not finite.
    """
    grey = _finite(image)
    if classes == 2:
        labels: UInt8 = (grey > threshold_otsu(grey, nbins=4096)).astype(np.uint8)
        return labels
    values = np.unique(grey)
    # the search looks at every choice of bins: with 256 and three classes that is nothing
    thresholds = values[:-1] if len(values) <= classes else threshold_multiotsu(grey, classes, nbins=256)
    found: UInt8 = np.searchsorted(thresholds, grey, side="left").astype(np.uint8)
    return found


def forest(
    image: npt.NDArray[np.generic],
    training: LabelledSlice,
    seed: int = 0,
    threads: int | None = None,
    *,
    stack: bool = False,
) -> tuple[UInt8, Float32]:
    """A random forest on multi-scale features, trained on one labelled slice or several.

    Every image is z-scored by itself, so the slice may be of another one. Where the slice holds one class,
    that class is predicted throughout; in a constant image the slice's most frequent class is. The result
    does not depend on `threads`. Needs about 150 bytes a voxel.

    Args:
        image: Grey values (Z, Y, X) to segment; Z = 1 is a 2-D image.
        training: The labelled slice, of this image or of another one.
        seed: Of the forest.
        threads: At most this many; all cores by default.
        stack: The slices are images of their own: none of their features looks at another slice.

    Returns:
        Classes, uint8, and the probability of class 1, float32; shape (Z, Y, X) each.

    Raises:
        InputError: A grey value is not finite.
    """
    classes, target = np.unique(training.labels, return_inverse=True)
    labels, probability = np.empty(image.shape, np.uint8), np.empty(image.shape, np.float32)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        if training.image is image:
            table = features(image, pool, stack)
            shown = table[:, training.z]
        else:
            shown = _shown(training, pool, stack)
            table = features(image, pool, stack)
        model = RandomForestClassifier(
            TREES, min_samples_leaf=LEAF, max_depth=DEPTH, random_state=seed, n_jobs=threads or -1
        )
        seen = shown.reshape(len(shown), -1).T
        chosen = np.random.default_rng(seed).permutation(len(seen))[:MOST]
        model.fit(seen[chosen], target.ravel()[chosen])
        # A float sum depends on its order, so threads share out voxels: the trees add up in one order.
        shares = [tree.tree_.value[:, 0, :].astype(np.float32) for tree in model.estimators_]
        flat_table = table.reshape(len(table), -1)
        flat_labels, flat_probability = labels.reshape(-1), probability.reshape(-1)

        def classify(start: int) -> None:
            block = slice(start, start + BLOCK)
            rows = np.ascontiguousarray(flat_table[:, block].T)
            votes = np.zeros((len(rows), len(classes)), dtype=np.float32)
            for tree, share in zip(model.estimators_, shares, strict=True):
                votes += share[tree.tree_.apply(rows)]
            flat_labels[block] = classes[votes.argmax(axis=1)]
            flat_probability[block] = votes[:, classes == 1].sum(axis=1) / TREES

        for _ in pool.map(classify, range(0, labels.size, BLOCK)):
            pass
    return labels, np.clip(probability, 0, 1, out=probability)


def _shown(training: LabelledSlice, pool: ThreadPoolExecutor, stack: bool) -> Float32:
    """Features (F, ...) of the labelled slices: of a deep volume no more is looked at than these see."""
    which = training.z if isinstance(training.z, tuple) else (training.z,)
    first, last = max(0, min(which) - REACH), max(which) + 1 + REACH
    found = features(training.image, pool, stack, slice(first, last))
    return found[:, training.z - first if isinstance(training.z, int) else [z - first for z in which]]


def features(
    image: npt.NDArray[np.generic], pool: ThreadPoolExecutor, stack: bool = False, part: slice = slice(None)
) -> Float32:
    """What the forest sees of each voxel.

    Args:
        image: Grey values (Z, Y, X).
        pool: What computes them.
        stack: Each slice is z-scored and looked at by itself.
        part: Slices that are looked at, once all of them are z-scored; what lies at its ends, less than `REACH` from
            slices that are there, is not what it is with all of them.

    Returns:
        Float32 of shape (F, Z, Y, X): the z-scored grey value, then at each scale the smoothed grey value,
        the length of its gradient, its Laplacian and the eigenvalues of its Hessian in descending order.
    """
    grey = _finite(image).astype(np.float32)
    for scored in range(len(grey)) if stack else (slice(None),):
        grey[scored] -= grey[scored].mean(dtype=np.float64)
        deviation = float(np.sqrt(np.square(grey[scored], dtype=np.float64).mean()))
        grey[scored] /= np.float32(deviation or 1.0)
    grey = np.ascontiguousarray(grey[part])
    out = np.empty((1 + 6 * len(SCALES), *grey.shape), dtype=np.float32)
    out[0] = grey
    jobs = []
    smooth, before = grey, 0.0
    for n, scale in enumerate(SCALES):
        # A Gaussian of a Gaussian is a Gaussian: each scale goes on from the one before.
        step = float(np.sqrt(scale**2 - before**2))
        width = (0.0, step, step) if stack else step
        smooth = ndimage.gaussian_filter(smooth, width, mode="nearest", truncate=CUT)
        before = scale
        jobs.append(pool.submit(_describe, smooth, out[1 + 6 * n : 7 + 6 * n], stack))
    for job in jobs:
        job.result()
    return out


def _describe(smooth: Float32, out: Float32, stack: bool) -> None:
    """Fills `out` (6, Z, Y, X) with what one scale says; slices of a stack are all as flat as a single one."""
    if stack:
        for z in range(len(smooth)):
            _describe(smooth[z : z + 1], out[:, z : z + 1], False)
        return
    first = [_slope(smooth, axis) for axis in range(3)]
    out[0] = smooth
    out[1] = np.sqrt(first[0] ** 2 + first[1] ** 2 + first[2] ** 2)
    zz, zy, zx = (_slope(first[0], axis) for axis in range(3))
    yy, yx = (_slope(first[1], axis) for axis in (1, 2))
    xx = _slope(first[2], 2)
    out[2] = zz + yy + xx
    out[3:] = _eigenvalues((zz, yy, xx), (zy, zx, yx))


def _slope(field: Float32, axis: int) -> Float32:
    """Central difference along `axis` with a replicated border; 0 along an axis of length 1."""
    out = np.empty_like(field)
    f, o = np.moveaxis(field, axis, 0), np.moveaxis(out, axis, 0)
    if len(f) == 1:
        out[...] = 0
        return out
    np.subtract(f[2:], f[:-2], out=o[1:-1])
    np.subtract(f[1], f[0], out=o[0])
    np.subtract(f[-1], f[-2], out=o[-1])
    out *= np.float32(0.5)
    return out


Three = tuple[Float32, Float32, Float32]


def _eigenvalues(diagonal: Three, beside: Three) -> Three:
    """Eigenvalues, largest first, of symmetric 3x3 matrices in closed form (Smith 1961).

    Args:
        diagonal: Elements 00, 11, 22, any shape.
        beside: Elements 01, 02, 12, same shape.
    """
    (a, b, c), (d, e, f) = diagonal, beside
    middle = (a + b + c) / np.float32(3)
    a, b, c = a - middle, b - middle, c - middle
    radius = np.sqrt((a * a + b * b + c * c + np.float32(2) * (d * d + e * e + f * f)) / np.float32(6))
    safe = np.maximum(radius, np.float32(1e-12))
    a, b, c, d, e, f = (m / safe for m in (a, b, c, d, e, f))
    half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / np.float32(2)
    angle = np.arccos(np.clip(half, -1, 1)) / np.float32(3)
    high = middle + 2 * radius * np.cos(angle)
    low = middle + 2 * radius * np.cos(angle + np.float32(2 * np.pi / 3))
    return high, 3 * middle - high - low, low


def _finite(image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if not np.isfinite(image).all():
        raise InputError("the image holds NaN or infinite grey values; mask or replace them first")
    return image
