"""A volume in, labels and per-voxel uncertainty out: tile by tile, with T coherent samples.

The masks of sample t are the same in every tile, so sample t is one network over the whole volume.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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

    def finish(tile: Tile, logits: Float32) -> None:
        for z in range(logits.shape[1]):  # plane by plane: the samples of one stay in a core's cache
            said, (planes, *rest) = binary(sigmoid(calibrated(logits[:, z], card))), tile.core
            at = (planes.start + z, *rest)
            probability[at], labels[at] = said.mean, said.mean > card.threshold
            entropy[at], mutual[at], spread[at] = said.entropy, said.mutual, said.spread

    # reading the next tile and finishing the last one go on while the engine works on this one
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as finishing:
        images = _ahead(reading, lambda tile: scaled(volume, tile, scaling), grid)
        last: Future[None] | None = None
        for done, (tile, image) in enumerate(zip(grid, images, strict=True), start=1):
            logits = run(image, tile.inner)[:, 0]
            if last is not None:
                last.result()
            last = finishing.submit(finish, tile, logits)
            if progress is not None:
                progress(done, len(grid))
        if last is not None:
            last.result()
    drawn_samples = samples if card.dropout else 1
    said_of_it = () if warning is None else (warning,)
    return Prediction(labels, probability, entropy, mutual, spread, seed, drawn_samples, said_of_it, invert)


def _ahead(pool: ThreadPoolExecutor, read: Callable[[Tile], Float32], tiles: Iterable[Tile]) -> Iterator[Float32]:
    """What `read` gives for each tile, the next one being read in `pool` while this one is used."""
    upcoming: Future[Float32] | None = None
    for tile in tiles:
        now, upcoming = upcoming, pool.submit(read, tile)
        if now is not None:
            yield now.result()
    if upcoming is not None:
        yield upcoming.result()


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
