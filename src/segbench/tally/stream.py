"""A volume of any depth through the compiled pass, slab by slab."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from segbench.errors import InputError
from segbench.metrics import slabs
from segbench.metrics.uncertainty import HIGHEST, MEASURES, highest
from segbench.tally import kernel, planes
from segbench.tally.statistics import Tally
from segbench.volume import Float32, LazyArray, UInt8

REACH = 2  # planes on either side that decide whether a voxel is in the band
PARTS = {
    "boundary band": kernel.BAND,
    "NLL and Brier": kernel.LIKELIHOOD,
    "calibration": kernel.CALIBRATION,
    "ROC of the probability": kernel.RANKING,
    **{f"errors by {name}": kernel.ERRORS << m for m, name in enumerate(MEASURES)},
    "means of the measures": kernel.MEANS,
    "patches": kernel.PATCHES,
}
"""What a tally is made of, each of which can be left out to see what it costs."""
ALL = sum(PARTS.values())


@dataclass(frozen=True, eq=False)
class Maps:
    """What a model says of a volume, each (Z, Y, X) and float32 or turned into it; read lazily.

    Attributes:
        probability: Of class 1, in [0, 1]; or of each of K classes, (K, Z, Y, X).
        entropy: In nats, at most ln K.
        mutual_information: In nats, at most ln K.
        spread: In [0, 1].
        deviation: In [0, 0.5].
    """

    probability: LazyArray
    entropy: LazyArray
    mutual_information: LazyArray
    spread: LazyArray
    deviation: LazyArray

    @property
    def classes(self) -> int:
        """K; 0 where the probability of class 1 says all."""
        return int(self.probability.shape[0]) if len(self.probability.shape) == 4 else 0


def tally(
    maps: Maps,
    reference: LazyArray,
    threshold: float = 0.5,
    part: slice | None = None,
    threads: int = 1,
    parts: int = ALL,
    *,
    labels: LazyArray | None = None,
    stack: bool = False,
) -> Tally:
    """Sums over a volume, or over some of its planes; those of parts that cover it once add up to the whole.

    A patch needs its whole slice, and a slice's mean, so parts are planes and memory is that of a slab of them.

    Args:
        maps: What a model says.
        reference: True phases (Z, Y, X), integers from 0; read lazily, two planes beyond each slab.
        threshold: Class 1 is called above it; an error is a voxel that is not called what it is. Of probabilities of K
            classes `labels` say what is called.
        part: Planes to sum over, with a step of 1; all by default. The band sees the planes beside them.
        threads: That take a slab each; the result does not depend on it.
        parts: What is summed, bits of `PARTS`.
        labels: Called classes (Z, Y, X), integers from 0; with the probabilities of K classes alone.
        stack: The slices are images of their own: no slice's boundaries reach into its neighbours.

    Raises:
        InputError: Shapes differ or are not (Z, Y, X), a value is NaN or out of range, or a label is no class.
    """
    _check(maps, reference, labels)
    shape = tuple(reference.shape)
    of = partial(_of_slab, maps, labels, reference, stack, threshold, parts)
    total = planes.empty(maps.classes).tally
    if threads == 1:
        for slab in _slabs(shape, part):
            total += of(slab)
        return total
    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(of, _slabs(shape, part)):
            total += found
    return total


def _check(maps: Maps, reference: LazyArray, labels: LazyArray | None) -> None:
    shape = tuple(reference.shape)
    named = {f.name: getattr(maps, f.name) for f in fields(maps)} | ({} if labels is None else {"labels": labels})
    for name, values in named.items():
        found = tuple(values.shape)[1 if name == "probability" and maps.classes else 0 :]
        if found != shape or len(shape) != 3:
            raise InputError(f"{name} {tuple(values.shape)} and reference {shape}: not one shape (Z, Y, X)")
    if (labels is None) == bool(maps.classes):
        raise InputError("labels go with the probabilities of K classes (K, Z, Y, X), and those with labels")


def _slabs(shape: tuple[int, ...], part: slice | None) -> Iterator[slice]:
    """Whole planes, as many as `slabs.SLAB` voxels hold, at least one."""
    start, stop, _ = (part or slice(None)).indices(shape[0])
    if not shape[1] * shape[2]:
        return
    step = max(1, slabs.SLAB // (shape[1] * shape[2]))
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


def _of_slab(
    maps: Maps, labels: LazyArray | None, reference: LazyArray, stack: bool, threshold: float, parts: int, slab: slice
) -> Tally:
    above = min(REACH, slab.start)
    classes = maps.classes or 2
    phases = _phases(reference[slab.start - above : slab.stop + REACH], classes, "reference")
    called = None if labels is None else _phases(labels[slab], classes, "labels")
    probability = maps.probability[:, slab] if maps.classes else maps.probability[slab][None]
    measures = tuple(_float32(getattr(maps, name)[slab]) for name in MEASURES)
    sums = planes.empty(maps.classes)
    wrong = planes.add(sums, _float32(probability), measures, called, phases, above, stack, threshold, parts)
    if wrong is not None:
        top = highest(wrong, classes) if wrong in HIGHEST else 1.0
        where = f"in planes {slab.start} to {slab.stop - 1}"
        raise InputError(f"{wrong} is in [0, {top:.4g}]; found one outside, or NaN, {where}")
    return sums.tally


def _float32(values: LazyArray) -> Float32:
    return np.ascontiguousarray(values, dtype=np.float32)


def _phases(labels: LazyArray, classes: int, name: str) -> UInt8:
    block = np.asarray(labels)
    if block.dtype.kind not in "biu":
        raise InputError(f"{name}: phases are integers, not {block.dtype}")
    if block.dtype != np.bool_ and (block.min() < 0 or block.max() >= classes):
        said = "0 and 1" if classes == 2 else f"0 to {classes - 1}"
        raise InputError(f"{name}: phases are {said}, found {block.min()} to {block.max()}")
    return np.ascontiguousarray(block, dtype=np.uint8)
