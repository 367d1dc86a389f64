"""Labels from elsewhere: FIB/SEM sections that do not quite lie on the X-ray slices; and their cleaning."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, map_coordinates, uniform_filter

from segbench.data.fib.specimen import CARBON, NICKEL, Specimen, phases
from segbench.data.fields import smooth_noise
from segbench.volume import Float32, UInt8

NEIGHBOURS = 8
"""k of the nearest-neighbour rule, which the paper does not state: the pixels that touch a pixel in its slice."""


@dataclass(frozen=True)
class Labelling:
    """How far the labels are from the truth.

    Attributes:
        shift: Standard deviation of a section's shift along an axis, pixels.
        bend: Of the smooth bending within a section, pixels.
        ragged: Of the boundaries' raggedness, pixels.
        swaps: Share of carbon and nickel pixels that have each other's label.
    """

    shift: float = 0.15
    bend: float = 0.15
    ragged: float = 0.20
    swaps: float = 0.01


def label(specimen: Specimen, rng: np.random.Generator, settings: Labelling) -> UInt8:
    """Labels (Z, Y, X) of the specimen's slices, not cleaned."""
    shape = depth, height, width = specimen.nickel.shape
    at = np.empty((2, *shape), dtype=np.float32)
    for axis, length in enumerate((height, width)):
        walk = gaussian_filter1d(rng.standard_normal(depth), 1.0, mode="reflect")
        bend = settings.bend * smooth_noise(rng, shape, (2.0, 25.0, 25.0))
        grid = np.arange(length, dtype=np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        at[axis] = grid + bend + (settings.shift * walk / walk.std()).astype(np.float32)[:, None, None]
    nickel, pore = (
        _moved(field, at) + settings.ragged * smooth_noise(rng, shape, 0.9)
        for field in (specimen.nickel, specimen.pore)
    )
    found = phases(nickel, pore)
    swapped = (rng.random(shape, dtype=np.float32) < settings.swaps) & (found >= CARBON)
    found[swapped] = CARBON + NICKEL - found[swapped]
    return found


def _moved(field: Float32, at: Float32) -> Float32:
    """A field (Z, Y, X) at places (2, Z, Y, X) in its slices, between pixels linear."""
    found = np.empty_like(field)
    for z, plane in enumerate(field):
        found[z] = map_coordinates(plane, at[:, z], order=1, mode="nearest")
    return found


def clean(labels: UInt8) -> UInt8:
    """The paper's cleaning of labels (Z, Y, X), slice by slice: carbon among nickel is nickel, and the reverse.

    A carbon pixel is nickel where most of its `NEIGHBOURS` are, and a nickel pixel carbon likewise; pores stay, and
    nothing becomes one. All pixels are looked at as they were. Past the edges of a slice its edge goes on.
    """
    counts = [_around(labels == phase) for phase in (CARBON, NICKEL)]
    found = labels.copy()
    found[(labels == CARBON) & (counts[1] > NEIGHBOURS // 2)] = NICKEL
    found[(labels == NICKEL) & (counts[0] > NEIGHBOURS // 2)] = CARBON
    return found


def _around(there: npt.NDArray[np.bool_]) -> UInt8:
    """How many of a pixel's eight neighbours are there (Z, Y, X)."""
    mean = uniform_filter(there.astype(np.float32), (0, 3, 3), mode="nearest")
    return np.asarray(np.rint(9 * mean) - there, dtype=np.uint8)
