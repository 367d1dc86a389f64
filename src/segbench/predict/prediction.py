"""What a model says of a volume in memory, put together tile by tile."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.foreign import Foreign
from segbench.predict.said import Said
from segbench.tiling import Shape, Tile
from segbench.volume import Float32, UInt8
from segbench.zoo.card import Card

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of a volume.

    Attributes:
        labels: Class of each voxel, uint8 (Z, Y, X).
        probability: Of class 1 where there are two classes, else of the called one, float32 (Z, Y, X).
        entropy: Predictive entropy in nats, float32 (Z, Y, X); at most ln K.
        mutual: Mutual information in nats, float32 (Z, Y, X).
        spread: Percentile 70 - percentile 30 of the samples' probabilities of that class, float32 (Z, Y, X).
        deviation: Their population standard deviation, float32 (Z, Y, X).
        seed: Of the masks.
        samples: How many there were; 0 for the deterministic twin, 1 for a model without dropout.
        warnings: What speaks against trusting it, a sentence each.
        inverted: Whether it is of the image's negative.
        shares: Share of class 1 in each sample alone, T numbers, one for a single pass; of more than two classes the
            share of each, K times T numbers.
        foreign: How unlike the training scans it is; None where the model has no fit of that.
        probabilities: Of each class, float32 (K, Z, Y, X); None where there are two.
        doubted: Where a second network decided, bool (Z, Y, X); None for a model without one.
        kept: Labels of the first samples, uint8 (N, Z, Y, X), as many as were asked for.
    """

    labels: UInt8
    probability: Float32
    entropy: Float32
    mutual: Float32
    spread: Float32
    deviation: Float32
    seed: int
    samples: int
    warnings: tuple[str, ...] = ()
    inverted: bool = False
    shares: tuple[Any, ...] = ()
    foreign: Foreign | None = None
    probabilities: Float32 | None = None
    doubted: Bool | None = None
    kept: UInt8 | None = None


@dataclass(frozen=True)
class Asked:
    """How volumes are predicted.

    Attributes:
        card: Of the model.
        samples: Monte-Carlo samples T; 0 for the deterministic twin.
        seed: Of their masks.
        invert: Their material is dark.
        keep: So many samples' own labels are kept, at most `passes`.
        threads: That finish a tile side by side.
    """

    card: Card
    samples: int
    seed: int
    invert: bool = False
    keep: int = 0
    threads: int = 1

    @property
    def passes(self) -> int:
        """How many networks there are: T, or one."""
        return passes(self.card, self.samples)


def passes(card: Card, samples: int) -> int:
    """How many networks a model computes for so many samples: one without dropout."""
    return samples if card.dropout and samples else 1


class Maps:
    """Room for what is said of a volume.

    Args:
        shape: Of the volume (Z, Y, X).
        asked: How it is predicted.
    """

    def __init__(self, shape: Shape, asked: Asked) -> None:
        self._asked, classes = asked, len(asked.card.classes)
        several = classes > 2
        self._labels = np.empty(shape, np.uint8)
        self._values = [np.empty(shape, np.float32) for _ in range(5)]
        self._active = np.zeros((classes, asked.passes) if several else asked.passes, np.int64)
        self._kept = np.empty((asked.keep, *shape), np.uint8)
        self._probabilities = np.empty((classes, *shape), np.float32) if several else None
        self._doubted = None if asked.card.cascade is None else np.empty(shape, np.bool_)

    def write(self, tile: Tile, found: Said) -> None:
        """Puts what is said of a tile in its place."""
        at = tile.core
        self._labels[at] = found.labels
        of_tile = (found.probability, found.entropy, found.mutual, found.spread, found.deviation)
        for values, part in zip(self._values, of_tile, strict=True):
            values[at] = part
        self._kept[(slice(None), *at)] = found.samples
        if self._probabilities is not None:
            self._probabilities[(slice(None), *at)] = found.probabilities
        if self._doubted is not None:
            self._doubted[at] = found.doubted
        np.add(self._active, found.active, out=self._active)

    def prediction(self, warnings: tuple[str, ...], foreign: Foreign | None) -> Prediction:
        """All of it, after the last tile."""
        asked, shares = self._asked, (self._active / self._labels.size).tolist()
        probability, entropy, mutual, spread, deviation = self._values
        return Prediction(
            self._labels,
            probability,
            entropy,
            mutual,
            spread,
            deviation,
            seed=asked.seed,
            samples=asked.samples if asked.card.dropout else 1,
            warnings=warnings,
            inverted=asked.invert,
            shares=tuple(map(tuple, shares)) if self._active.ndim == 2 else tuple(shares),
            foreign=foreign,
            probabilities=self._probabilities,
            doubted=self._doubted,
            kept=self._kept if asked.keep else None,
        )
