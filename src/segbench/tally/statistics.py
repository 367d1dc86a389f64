"""Sufficient statistics of a labelled volume: int64 counts and float64 sums, added up over slabs, tiles and cases."""

from dataclasses import dataclass, field

import numpy as np

from segbench.metrics.patches import Patches
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import Float64, Judged, Reliability
from segbench.metrics.uncertainty import MEASURES


def _histograms() -> tuple[Histogram, ...]:
    return tuple(Histogram() for _ in MEASURES)


def _patches() -> tuple[Patches, ...]:
    return tuple(Patches() for _ in MEASURES)


def _sums() -> Float64:
    return np.zeros(len(MEASURES), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Region:
    """Of the voxels of one region; frozen, added up with `+`.

    Attributes:
        reliability: Calibration, NLL and Brier score, and the confusion matrix.
        ranking: The probability of class 1 in and out of that class; empty of more than two classes.
        errors: Each of `MEASURES`, as a share of the most that it can be, where the label is wrong (`positive`) and
            right (`negative`).
        sums: Sum of each measure, shape (len(MEASURES),).
    """

    reliability: Judged = field(default_factory=Reliability)
    ranking: Histogram = field(default_factory=Histogram)
    errors: tuple[Histogram, ...] = field(default_factory=_histograms)
    sums: Float64 = field(default_factory=_sums)

    def __add__(self, other: "Region") -> "Region":
        return Region(
            self.reliability + other.reliability,
            self.ranking + other.ranking,
            tuple(a + b for a, b in zip(self.errors, other.errors, strict=True)),
            self.sums + other.sums,
        )

    @property
    def means(self) -> Float64:
        """Mean of each measure, shape (len(MEASURES),); NaN without voxels."""
        voxels = self.reliability.voxels
        return self.sums / voxels if voxels else np.full(len(MEASURES), np.nan)


@dataclass(frozen=True, eq=False)
class Tally:
    """Of a volume, or of some planes of one; frozen, added up with `+`.

    Attributes:
        band: Voxels within 2 voxels of a phase boundary of the reference: a voxel of another phase lies at most that
            far away, from centre to centre.
        interior: All others.
        patches: Of each of `MEASURES`.
    """

    band: Region = field(default_factory=Region)
    interior: Region = field(default_factory=Region)
    patches: tuple[Patches, ...] = field(default_factory=_patches)

    def __add__(self, other: "Tally") -> "Tally":
        patches = tuple(a + b for a, b in zip(self.patches, other.patches, strict=True))
        return Tally(self.band + other.band, self.interior + other.interior, patches)

    @property
    def whole(self) -> Region:
        """Band and interior together."""
        return self.band + self.interior
