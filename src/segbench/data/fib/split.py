"""Training, validation and test images of a volume: as published, and without near-duplicates."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from segbench.data.fib.volume import Fib
from segbench.volume import Float32, UInt8

SplitName = Literal["clean", "paper"]
SPLITS: tuple[SplitName, ...] = ("clean", "paper")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Images with their labels.

    Attributes:
        image: Grey values [N, Y, X], not normalised.
        label: Cleaned labels [N, Y, X].
        truth: True phases, moved as the image was [N, Y, X].
        origin: Slice that each comes from.
        copy: Rows removed from the top before it was resized; 0 is the slice itself.
    """

    image: Float32
    label: UInt8
    truth: UInt8
    origin: tuple[int, ...]
    copy: tuple[int, ...]


@dataclass(frozen=True)
class Split:
    """What is trained, chosen and tested on."""

    train: Pairs
    validation: Pairs
    test: Pairs


def split(volume: Fib, name: SplitName = "clean") -> Split:
    """Splits the slices of a volume.

    Args:
        volume: Of the first domain.
        name: "clean": by depth, with slices left out between the parts. "paper": 1330 copies, 50 test pairs, 40 of
            them of originals that are not trained on.
    """

    def part(first: int, last: int) -> Pairs:
        at = slice(first, last)
        numbers = tuple(range(first, last))
        return Pairs(volume.image[at], volume.label[at], volume.truth[at], numbers, (0,) * len(numbers))

    assert name in SPLITS
    assert np.array_equal(volume.image.shape, volume.label.shape)
    return Split(part(0, 85), part(93, 103), part(111, 133))
