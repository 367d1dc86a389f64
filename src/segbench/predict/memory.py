"""A volume in memory in, arrays out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.cascade import Cascade, Refined
from segbench.engines import Engine
from segbench.errors import InputError
from segbench.foreign import Foreign, Look
from segbench.io import as_volume, check_image, open_volume
from segbench.normalisation import fit
from segbench.predict.said import said
from segbench.predict.sampling import sample_masks, stream, tiles
from segbench.predict.watch import Watch
from segbench.tiling import Tile
from segbench.volume import Float32, UInt8, Volume
from segbench.zoo.card import Card

Progress = Callable[[int, int], None]


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
    doubted: npt.NDArray[np.bool_] | None = None


def predict(
    volume: Volume,
    card: Card,
    engine: Engine,
    samples: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    invert: bool = False,
    look: Look | None = None,
    cascade: Cascade | None = None,
) -> Prediction:
    """Segments a volume.

    Args:
        volume: Grey values (Z, Y, X); a single slice is a volume of depth 1, replicated along Z.
        card: Of the model that `engine` runs.
        engine: A started engine.
        samples: Monte-Carlo samples T; 0 for the deterministic twin, in which nothing is dropped.
        seed: Of their masks.
        progress: Called with (tiles done, tiles).
        invert: Its material is dark: the normalised image is negated.
        look: Says how foreign the volume is (`foreign.look_of`); changes no other number.
        cascade: The model's second network (`cascade.cascade_of`), if its card has one.

    Raises:
        InputError: Samples out of range, an image that is constant or not finite, or a cascade that is missing.
    """
    if (card.cascade is None) != (cascade is None):
        raise InputError(
            f"model {card.name!r}: a card with [cascade] is predicted with its second network, others without"
        )
    drawn = sample_masks(card, samples, seed)
    sample = check_image(volume)
    scaling = fit(card.input.normalisation, volume, invert=invert, sample=sample)
    labels = np.empty(volume.shape, dtype=np.uint8)
    probability, entropy, mutual, spread, deviation = (np.empty(volume.shape, dtype=np.float32) for _ in range(5))
    several = len(card.classes) > 2
    active = np.zeros((len(card.classes), len(drawn)) if several else len(drawn), dtype=np.int64)
    probabilities = np.empty((len(card.classes), *volume.shape), dtype=np.float32) if several else None
    doubted = np.empty(volume.shape, dtype=np.bool_) if cascade is not None else None
    grid = tiles(card, volume.shape)
    done = 0

    def finish(tile: Tile, logits: Float32, refined: Refined | None) -> None:
        found, at = said(logits, card, threads=engine.threads, refined=refined), tile.core
        probability[at], labels[at] = found.probability, found.labels
        entropy[at], mutual[at], spread[at] = found.entropy, found.mutual, found.spread
        deviation[at] = found.deviation
        if probabilities is not None:
            probabilities[(slice(None), *at)] = found.probabilities
        if doubted is not None:
            doubted[at] = found.doubted
        np.add(active, found.active, out=active)

    def count(_: Tile) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(grid))

    watch = Watch(look, volume, scaling, grid, upright=not invert)
    stream(volume, engine.bind(drawn), scaling, grid, finish, count, watch.tile, cascade)
    polarity, foreign = watch.found()
    spoken = (
        None if polarity is None else polarity.warning(volume.source),
        None if foreign is None else foreign.warning(volume.source, card.name),
    )
    warnings = tuple(text for text in spoken if text is not None)
    drawn_samples = samples if card.dropout else 1
    shares = (active / labels.size).tolist()
    shares = tuple(map(tuple, shares)) if several else tuple(shares)
    maps = (labels, probability, entropy, mutual, spread, deviation)
    return Prediction(*maps, seed, drawn_samples, warnings, invert, shares, foreign, probabilities, doubted)


@dataclass(frozen=True)
class Predictor:
    """A model ready to predict; `segbench.load` makes one."""

    card: Card
    engine: Engine
    look: Look | None = None
    cascade: Cascade | None = None

    def predict(
        self,
        image: Volume | npt.NDArray[np.generic] | str | Path,
        samples: int = 16,
        seed: int = 0,
        progress: Progress | None = None,
        *,
        invert: bool = False,
    ) -> Prediction:
        """Segments a volume, what lies at a path, or an array that `as_volume` takes; see `predict`."""
        if isinstance(image, str | Path):
            image = open_volume(image)
        volume = as_volume(image)
        return predict(
            volume, self.card, self.engine, samples, seed, progress, invert=invert, look=self.look, cascade=self.cascade
        )
