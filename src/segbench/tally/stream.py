"""A volume of any depth through the compiled pass, slab by slab."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from segbench.errors import InputError
from segbench.metrics import slabs
from segbench.metrics.uncertainty import HIGHEST, MEASURES
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
        probability: Of class 1, in [0, 1].
        entropy: In nats, at most ln 2.
        mutual_information: In nats, at most ln 2.
        spread: In [0, 1].
        deviation: In [0, 0.5].
    """

    probability: LazyArray
    entropy: LazyArray
    mutual_information: LazyArray
    spread: LazyArray
    deviation: LazyArray


def tally(
    maps: Maps,
    reference: LazyArray,
    threshold: float = 0.5,
    part: slice | None = None,
    threads: int = 1,
    parts: int = ALL,
) -> Tally:
    """Sums over a volume, or over some of its planes; those of parts that cover it once add up to the whole.

    A patch needs its whole slice, and a slice's mean, so parts are planes and memory is that of a slab of them.

    Args:
        maps: What a model says.
        reference: True phases 0 and 1 (Z, Y, X); read lazily, two planes beyond each slab.
        threshold: Class 1 is called above it; an error is a voxel that is not called what it is.
        part: Planes to sum over, with a step of 1; all by default. The band sees the planes beside them.
        threads: That take a slab each; the result does not depend on it.
        parts: What is summed, bits of `PARTS`.

    Raises:
        InputError: Shapes differ or are not (Z, Y, X), a value is NaN or out of range, or a label is neither 0 nor 1.
    """
    shape = tuple(reference.shape)
    named = {f.name: getattr(maps, f.name) for f in fields(maps)}
    for name, values in named.items():
        if tuple(values.shape) != shape or len(shape) != 3:
            raise InputError(f"{name} {tuple(values.shape)} and reference {shape}: not one shape (Z, Y, X)")
    of = partial(_of_slab, maps, reference, threshold, parts)
    total = Tally()
    if threads == 1:
        for slab in _slabs(shape, part):
            total += of(slab)
        return total
    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(of, _slabs(shape, part)):
            total += found
    return total


def _slabs(shape: tuple[int, ...], part: slice | None) -> Iterator[slice]:
    """Whole planes, as many as `slabs.SLAB` voxels hold, at least one."""
    start, stop, _ = (part or slice(None)).indices(shape[0])
    if not shape[1] * shape[2]:
        return
    step = max(1, slabs.SLAB // (shape[1] * shape[2]))
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


def _of_slab(maps: Maps, reference: LazyArray, threshold: float, parts: int, slab: slice) -> Tally:
    above = min(REACH, slab.start)
    phases = _phases(reference[slab.start - above : slab.stop + REACH])
    probability, *measures = (_float32(getattr(maps, f.name)[slab]) for f in fields(maps))
    sums = planes.empty()
    wrong = planes.add(sums, probability, tuple(measures), phases, above, threshold, parts)
    if wrong is not None:
        top = HIGHEST.get(wrong, 1.0)
        where = f"in planes {slab.start} to {slab.stop - 1}"
        raise InputError(f"{wrong} is in [0, {top:.4g}]; found one outside, or NaN, {where}")
    return sums.tally


def _float32(values: LazyArray) -> Float32:
    return np.ascontiguousarray(values, dtype=np.float32)


def _phases(labels: LazyArray) -> UInt8:
    block = np.asarray(labels)
    if block.dtype.kind not in "biu":
        raise InputError(f"reference: phases are integers, not {block.dtype}")
    if block.dtype != np.bool_ and (block.min() < 0 or block.max() > 1):
        raise InputError(f"reference: phases are 0 and 1, found {block.min()} to {block.max()}")
    return np.ascontiguousarray(block, dtype=np.uint8)
