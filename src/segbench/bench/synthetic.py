"""A synthetic labelled scan of any depth that takes no memory: some planes, again and again."""

from dataclasses import fields

import numpy as np
import numpy.typing as npt

from segbench.data.fields import smooth_noise
from segbench.metrics.uncertainty import binary
from segbench.tally import Maps
from segbench.volume import UInt8

SAMPLES = 16
GRAIN = 12.0  # voxels over which phases, and what the samples disagree on, change
STRIPS = 8
STEEP, DOUBT = 9.0, 1.5  # of the logits: how fast they rise from a boundary, and how far the samples differ


class Repeated:
    """Planes (Z, Y, X) over and over along Z, up to a depth; a lazy array that is sliced along Z alone."""

    def __init__(self, planes: npt.NDArray[np.generic], depth: int) -> None:
        self._planes = planes
        self.shape = (depth, *planes.shape[1:])
        self.dtype = planes.dtype

    def __getitem__(self, part: slice) -> npt.NDArray[np.generic]:
        start, stop, _ = part.indices(self.shape[0])
        first = start % len(self._planes)
        if first + stop - start <= len(self._planes):
            return self._planes[first : first + stop - start]  # no copy: reading is not what is timed
        return np.take(self._planes, np.arange(start, stop), axis=0, mode="wrap")


def repeated(maps: Maps, reference: UInt8, depth: int) -> tuple[Maps, Repeated]:
    """The same planes down to `depth`."""
    deep = (Repeated(getattr(maps, field.name), depth) for field in fields(maps))
    return Maps(*deep), Repeated(reference, depth)


def labelled(shape: tuple[int, int, int], seed: int) -> tuple[Maps, UInt8]:
    """What 16 samples say of a scan of blobs, and its phases.

    Most voxels are sure, those near a boundary are not, and the boundary is a little off: about as a model is.

    Args:
        shape: (Z, Y, X).
        seed: Of the fields.
    """
    rng = np.random.default_rng(seed)
    strip = (shape[0], -(-shape[1] // STRIPS), shape[2])  # all samples of a strip at once, and no more, are in memory
    phase = smooth_noise(rng, strip, GRAIN)
    samples = np.empty((SAMPLES, *strip), np.float32)
    off = phase + np.float32(0.1) * smooth_noise(rng, strip, GRAIN / 3)
    for sample in samples:
        logit = np.float32(STEEP) * off + np.float32(DOUBT) * smooth_noise(rng, strip, GRAIN / 2)
        np.divide(1, 1 + np.exp(-logit), out=sample)
    said = binary(samples)
    more = ((0, 0), (0, shape[1] - strip[1]), (0, 0))  # mirrored, so that no seam shows
    maps = (np.minimum(said.mean, 1), said.entropy, said.mutual, said.spread, said.deviation)
    phases: UInt8 = np.pad((phase > 0).astype(np.uint8), more, mode="symmetric")
    return Maps(*(np.pad(m, more, mode="symmetric") for m in maps)), phases
