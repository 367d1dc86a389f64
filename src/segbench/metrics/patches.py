"""Whether uncertain patches are the inaccurate ones: PAvPU of Mukhoti & Gal 2018 as the Sandia study computes it.

A slice (Y, X) is cut into patches of 3 x 3 voxels from its origin on. A patch is *accurate* where at least .78 of its
voxels are right, and *uncertain* where its mean uncertainty is at least the slice's mean. The study leaves out the last
window of an axis; here every voxel is in one patch: those at the end of an axis whose length is no multiple of 3 are
smaller, and count as one patch each.
"""

from dataclasses import dataclass, field

import numpy as np

from segbench.metrics.counts import Int64

EDGE = 3
ACCURATE = 0.78


def _empty() -> Int64:
    return np.zeros((2, 2), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches by what they are; frozen, and added up over slices or cases with `+`.

    Attributes:
        count: [accurate or not, uncertain or not] as 1 or 0, shape (2, 2), int64.
    """

    count: Int64 = field(default_factory=_empty)

    def __add__(self, other: "Patches") -> "Patches":
        return Patches(self.count + other.count)

    @property
    def pavpu(self) -> float:
        """Share of patches that are accurate and certain, or inaccurate and uncertain; NaN without patches."""
        return _ratio(self.count[1, 0] + self.count[0, 1], self.count.sum())

    @property
    def accurate_if_certain(self) -> float:
        """P(accurate | certain); NaN where no patch is certain."""
        return _ratio(self.count[1, 0], self.count[:, 0].sum())

    @property
    def uncertain_if_inaccurate(self) -> float:
        """P(uncertain | inaccurate); NaN where every patch is accurate."""
        return _ratio(self.count[0, 1], self.count[0].sum())


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else float("nan")
