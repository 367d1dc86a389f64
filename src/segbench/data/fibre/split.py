"""Training, validation and test layers of a volume, with layers left out between them."""

from dataclasses import dataclass

import numpy as np

from segbench.data.fibre.volume import SHAPE, Fibre
from segbench.errors import InputError
from segbench.volume import Float32, UInt8

GAP = 26
"""Layers left out between two parts; docs/fibre-composite.md shows how alike layers are by their distance."""
TRAINED, VALIDATED, TESTED = range(230), range(256, 296), range(322, 384)
"""Layers of each part: those to learn and to choose from are to those tested as the study's 1300 to 300."""


@dataclass(frozen=True, eq=False)
class Layers:
    """Neighbouring layers of a volume; views of it, not copies.

    Attributes:
        image: Grey values 0 to 255 (Z, Y, X).
        label: True phases (Z, Y, X).
        first: Index of the first layer in the volume.
        last: Index of the last one, which is among them.
    """

    image: Float32
    label: UInt8
    first: int
    last: int

    def __len__(self) -> int:
        return len(self.image)

    @property
    def middle(self) -> int:
        """Which of these layers lies in their middle, counted from their first."""
        return len(self) // 2


@dataclass(frozen=True)
class Split:
    """What is trained, chosen and tested on."""

    train: Layers
    validation: Layers
    test: Layers


def split(volume: Fibre) -> Split:
    """Splits the layers of a volume by depth.

    Raises:
        InputError: The volume has another number of layers.
    """
    if len(volume.image) != SHAPE[0]:
        raise InputError(f"a volume of {len(volume.image)} layers cannot be split: fibre-composite has {SHAPE[0]}")
    return Split(*(_layers(volume, part) for part in (TRAINED, VALIDATED, TESTED)))


def _layers(volume: Fibre, part: range) -> Layers:
    cut = slice(part.start, part.stop)
    return Layers(volume.image[cut], volume.truth[cut], part[0], part[-1])


def again(truth: UInt8, phase: int, distance: int) -> float:
    """Share of the voxels of a phase that are of it again `distance` layers further; NaN where there are none.

    Far apart it is the share of the phase: what chance gives.
    """
    assert 0 < distance < len(truth)
    there = truth == phase
    first, further = there[:-distance], there[distance:]
    count = int(np.count_nonzero(first))
    return int(np.count_nonzero(first & further)) / count if count else float("nan")
