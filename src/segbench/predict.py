"""A volume in, labels and per-voxel uncertainty out: tile by tile, with T coherent samples.

The masks of sample t are the same in every tile, so sample t is one network over the whole volume.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segbench.engines import Engine
from segbench.errors import InputError
from segbench.io import check_image, open_volume
from segbench.masks import SAMPLES, masks, ones
from segbench.metrics.uncertainty import binary
from segbench.normalisation import Normalised, Scaling, fit
from segbench.polarity import polarity
from segbench.tiling import Grid, Tile, read
from segbench.volume import Float32, UInt8, Volume
from segbench.zoo.card import Card

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of a volume.

    Attributes:
        labels: Class of each voxel, uint8 (Z, Y, X).
        probability: Mean probability of class 1, float32 (Z, Y, X).
        entropy: Predictive entropy in nats, float32 (Z, Y, X).
        mutual: Mutual information in nats, float32 (Z, Y, X).
        spread: Percentile 70 - percentile 30 of the samples, float32 (Z, Y, X).
        seed: Of the masks.
        samples: How many there were; 0 for the deterministic twin, 1 for a model without dropout.
        warnings: What speaks against trusting it, a sentence each.
        inverted: Whether it is of the image's negative.
    """

    labels: UInt8
    probability: Float32
    entropy: Float32
    mutual: Float32
    spread: Float32
    seed: int
    samples: int
    warnings: tuple[str, ...] = ()
    inverted: bool = False


def predict(
    volume: Volume,
    card: Card,
    engine: Engine,
    samples: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    invert: bool = False,
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

    Raises:
        InputError: Samples out of range, or an image that is constant or not finite.
    """
    if card.activation != "sigmoid":
        raise InputError(f"model {card.name!r}: only two-class models are predicted so far")
    drawn = sample_masks(card, samples, seed)
    check_image(volume)
    scaling = fit(card.input.normalisation, volume, invert=invert)
    warning = None if invert else polarity(volume).warning(volume.source)
    labels = np.empty(volume.shape, dtype=np.uint8)
    probability, entropy, mutual, spread = (np.empty(volume.shape, dtype=np.float32) for _ in range(4))
    grid, run = tiles(card, volume.shape), engine.bind(drawn)
    for done, tile in enumerate(grid, start=1):
        image = scaled(volume, tile, scaling)
        logits = run(image)[(slice(None), 0, *tile.inner)]
        said = binary(sigmoid(calibrated(logits, card)))
        probability[tile.core] = said.mean
        labels[tile.core] = said.mean > card.threshold
        entropy[tile.core], mutual[tile.core], spread[tile.core] = said.entropy, said.mutual, said.spread
        if progress is not None:
            progress(done, len(grid))
    drawn_samples = samples if card.dropout else 1
    said_of_it = () if warning is None else (warning,)
    return Prediction(labels, probability, entropy, mutual, spread, seed, drawn_samples, said_of_it, invert)


@dataclass(frozen=True)
class Predictor:
    """A model ready to predict; `segbench.load` makes one."""

    card: Card
    engine: Engine

    def predict(
        self,
        image: Volume | npt.NDArray[np.generic] | str | Path,
        samples: int = 16,
        seed: int = 0,
        progress: Progress | None = None,
        *,
        invert: bool = False,
    ) -> Prediction:
        """Segments a volume, an array (Z, Y, X) or (Y, X), or what lies at a path; see `predict`."""
        if isinstance(image, str | Path):
            image = open_volume(image)
        elif not isinstance(image, Volume):
            image = Volume(image[None] if image.ndim == 2 else image)
        return predict(image, self.card, self.engine, samples, seed, progress, invert=invert)


def sample_masks(card: Card, samples: int, seed: int) -> Float32:
    """Masks [T, channels] of samples 0 to T - 1; T = 0 and a model without dropout have one pass of all ones."""
    if not 0 <= samples <= SAMPLES:
        raise InputError(f"samples is {samples}; it must be at least 0 (no dropout) and at most {SAMPLES}")
    if not card.dropout or samples == 0:
        return ones(card.dropout)
    return masks(card.dropout, seed, range(samples))


def tiles(card: Card, shape: tuple[int, int, int]) -> Grid:
    """The grid of a card over a volume: an axis shorter than the core gets shorter tiles, if the model lets it."""
    need, halo = card.input, card.input.halo
    if shape[0] == 1 and need.border == "replicate":
        # replicated along Z a slice stays constant in every layer, so slices beside it would change nothing
        halo = (0, halo[1], halo[2])
    return Grid(shape, need.core, halo, need.multiple, need.fixed_tile)


def scaled(volume: Volume, tile: Tile, scaling: Scaling) -> Float32:
    """The normalised image [1, 1, Z, Y, X] that a tile reads."""
    return read(Normalised(volume.data, scaling), tile)[None, None]


def calibrated(logits: Float32, card: Card) -> Float32:
    """Logits as the card calibrates them."""
    if card.calibration is None:
        return logits
    return logits * np.float32(card.calibration.scale) + np.float32(card.calibration.shift)


def sigmoid(logits: Float32) -> Float32:
    """1 / (1 + exp(-x)) without overflow, float32."""
    return np.asarray(0.5 * (np.tanh(0.5 * logits) + 1), dtype=np.float32)
