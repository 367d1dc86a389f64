"""The networks of a model that stay compiled: what a few seeds and shapes in turn would else compile over and over."""

from collections import OrderedDict
from collections.abc import Callable

from segbench.engines import Bound, Engine
from segbench.predict import passes, sample_masks
from segbench.tiling import Shape
from segbench.zoo.card import Card

Key = tuple[int, int]
"""Samples and seed, or (0, 0) where nothing is dropped."""


def network(card: Card, samples: int, seed: int) -> Key:
    """What tells the networks of one request from those of another: without dropout a seed changes nothing."""
    return (samples, seed) if card.dropout and samples else (0, 0)


class Bounds:
    """Remembers the networks that were used last; one thread uses them.

    An entry is the networks of a seed for one shape of tile. Sixteen thin samples of the zoo's V-Net at tiles of 112^3
    take a good second to compile and about 0.4 GiB, at 144^3 about 1 GiB; what an engine keeps grows with each shape
    it meets, and so a shape counts as much as a seed does.

    Args:
        card: Of the model.
        engine: That is asked for networks.
        limit: How many are remembered.
        used: Told of each use, whether they were there.
    """

    def __init__(self, card: Card, engine: Engine, limit: int, used: Callable[[bool], None]) -> None:
        self._card, self._engine, self._limit, self._used = card, engine, limit, used
        self._kept: OrderedDict[tuple[Key, Shape], Bound] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, samples: int, seed: int, tile: Shape) -> Bound:
        """The networks for tiles that read this shape (Z, Y, X)."""
        key = network(self._card, samples, seed), tile
        self._used(key in self._kept)
        if key not in self._kept:
            while len(self._kept) >= self._limit:  # first, so that one more is never there
                self._kept.popitem(last=False)
            masks = sample_masks(self._card, *key[0])
            assert len(masks) == passes(self._card, samples)
            self._kept[key] = self._engine.fresh(masks)
        self._kept.move_to_end(key)
        return self._kept[key]

    def clear(self) -> None:
        """Forgets them all: an engine failed, and what it made is not to be trusted."""
        self._kept.clear()
