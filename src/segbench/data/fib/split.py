"""Training, validation and test images of a volume: as published, and without near-duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from segbench.data.fib.copies import COPIES, Pixels, copied
from segbench.data.fib.labels import clean
from segbench.data.fib.volume import SHAPE, Fib
from segbench.errors import InputError, UnknownNameError
from segbench.volume import Float32, UInt8

SplitName = Literal["clean", "paper"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

GAP = 14
"""Slices left out between the parts of the clean split; docs/battery-fib.md shows how alike slices are by distance."""
TRAINED, VALIDATED, TESTED = range(0, 77), range(91, 98), range(112, 133)
"""Slices of the clean split."""

UNSEEN, SEEN, HELD = 40, 10, 5
"""The paper's test pairs of originals that are not trained on, and of others; originals that validate, ours."""
DRAWN = 8
"""Seed of what the paper drew, which it does not state."""


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

    def __len__(self) -> int:
        return len(self.origin)


@dataclass(frozen=True)
class Split:
    """What is trained, chosen and tested on."""

    train: Pairs
    validation: Pairs
    test: Pairs


Chosen = Sequence[tuple[int, int]]
"""(slice, rows removed) of each image."""


def split(volume: Fib, name: SplitName = "clean") -> Split:
    """Splits the slices of a volume.

    Args:
        volume: Of the first domain, or of any other with as many slices.
        name: "clean": by depth, with slices left out between the parts. "paper": of 1330 copies 50 test pairs, 40 of
            them of originals that are not trained on.

    Raises:
        UnknownNameError: There is no such split.
        InputError: The volume has another number of slices.
    """
    if name not in SPLITS:
        raise UnknownNameError("split", name, SPLITS)
    if len(volume.image) != SHAPE[0]:
        raise InputError(f"a volume of {len(volume.image)} slices cannot be split: battery-fib has {SHAPE[0]}")
    label = clean(volume.label)
    parts = by_depth() if name == "clean" else published()
    train, validation, test = (_pairs(volume, label, part) for part in parts)
    return Split(train, validation, test)


def by_depth() -> tuple[Chosen, Chosen, Chosen]:
    """The clean split: copies are trained on, slices themselves validated and tested on."""
    train = [(z, copy) for z in TRAINED for copy in range(COPIES)]
    return train, [(z, 0) for z in VALIDATED], [(z, 0) for z in TESTED]


def published() -> tuple[Chosen, Chosen, Chosen]:
    """The paper's split, as far as it is stated.

    40 originals are not trained on, and one copy of each is a test pair; their other copies are left out. 10 more test
    pairs are copies of 10 other originals, whose other copies are trained on. The paper validates on nothing; here 5
    originals of the rest do, and none of their copies is trained on. Which ones is drawn once.
    """
    rng = np.random.default_rng(DRAWN)
    order = [int(z) for z in rng.permutation(SHAPE[0])]
    tested, held = order[: UNSEEN + SEEN], order[UNSEEN + SEEN : UNSEEN + SEEN + HELD]
    test = [(z, int(copy)) for z, copy in zip(tested, rng.integers(0, COPIES, len(tested)), strict=True)]
    never = {*order[:UNSEEN], *held}
    pairs = [(z, copy) for z in range(SHAPE[0]) for copy in range(COPIES)]
    train = [pair for pair in pairs if pair[0] not in never and pair not in set(test)]
    return train, [(z, 0) for z in sorted(held)], sorted(test)


def _pairs(volume: Fib, label: UInt8, chosen: Chosen) -> Pairs:
    """The images of `chosen`, each array allocated once."""
    origin, copy = (tuple(part) for part in zip(*chosen, strict=True))
    at, removed = np.array(origin), np.array(copy)

    def images(source: Pixels) -> Pixels:
        made = np.empty((len(chosen), *source.shape[1:]), source.dtype)
        for rows in np.unique(removed):
            which = removed == rows
            made[which] = copied(source[at[which]], int(rows))
        return made

    return Pairs(images(volume.image), images(label), images(volume.truth), origin, copy)


def agreement(labels: UInt8, distance: int) -> float:
    """Share of pixels that have the same label in slices `distance` apart; the mean over all such slices.

    Far apart it is the sum of the squared shares of the classes: what chance gives.
    """
    assert 0 < distance < len(labels)
    return float(np.mean(labels[distance:] == labels[:-distance]))


def middle_trained(train: Pairs) -> Pairs:
    """The slice in the middle of those that are trained on, itself and not a copy, as one pair."""
    themselves = [n for n, copy in enumerate(train.copy) if copy == 0]
    n = themselves[len(themselves) // 2]
    one = slice(n, n + 1)
    return Pairs(train.image[one], train.label[one], train.truth[one], train.origin[one], train.copy[one])
