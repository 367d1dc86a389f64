"""The mean of the samples' logits of a first network over a stack of slices: F in the MatPhase paper."""

import numpy as np

from segbench.cascade import Refined
from segbench.engines import Engine
from segbench.normalisation import fit
from segbench.predict.sampling import sample_masks, stream, tiles
from segbench.tiling import Tile
from segbench.volume import Float32, Volume
from segbench.zoo.card import Card


def mean_logits(volume: Volume, card: Card, engine: Engine, samples: int, seed: int = 0) -> Float32:
    """F of every pixel [K, Z, Y, X], under the masks that a prediction has.

    Args:
        volume: Grey values (Z, Y, X).
        card: Of the model that `engine` runs; a softmax model.
        engine: A started engine.
        samples: T.
        seed: Of the masks.
    """
    found = np.empty((len(card.classes), *volume.shape), dtype=np.float32)

    def finish(tile: Tile, logits: Float32, _: Refined | None) -> None:
        found[(slice(None), *tile.core)] = logits.mean(axis=0, dtype=np.float64)

    scaling = fit(card.input.normalisation, volume)
    stream(volume, engine.bind(sample_masks(card, samples, seed)), scaling, tiles(card, volume.shape), finish)
    return found
