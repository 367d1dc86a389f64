"""The samples of a model over the tiles of a volume: masks, grid, and a pipeline that reads, computes and finishes."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from segbench.cascade import Cascade, Refined
from segbench.engines import Bound
from segbench.errors import InputError
from segbench.masks import SAMPLES, masks, ones
from segbench.normalisation import Normalised, Scaling
from segbench.predict.margin import grown, refined
from segbench.tiling import Grid, Tile, read
from segbench.volume import Float32, Volume
from segbench.zoo.card import Card

Step = TypeVar("Step")


def sample_masks(card: Card, samples: int, seed: int) -> Float32:
    """Masks [T, channels] of samples 0 to T - 1; T = 0 and a model without dropout have one pass of all ones.

    Raises:
        InputError: Samples out of range.
    """
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


def stream(
    volume: Volume,
    run: Bound,
    scaling: Scaling,
    wanted: Iterable[Tile],
    finish: Callable[[Tile, Float32, Refined | None], None],
    progress: Callable[[Tile], None] | None = None,
    look: Callable[[Tile, Float32], None] | None = None,
    cascade: Cascade | None = None,
) -> None:
    """Computes tiles; reading the next one and finishing the last one go on while the engine works on this one.

    Args:
        volume: Grey values (Z, Y, X).
        run: The bound engine.
        scaling: How the grey values are normalised.
        wanted: Tiles, in any order.
        finish: Takes a tile, the logits [T, C, Z, Y, X] of its core and what the second network makes of them, in one
            thread beside, in order.
        progress: Called with a tile once it is finished.
        look: Takes a tile and the normalised image [1, 1, Z, Y, X] that it read, in the same thread before `finish`.
        cascade: The model's second network, if it has one; runs in that thread as well.

    Raises:
        InputError: The halo is narrower than what the second network sees around a pixel.
    """
    margin = 0 if cascade is None else cascade.margin

    def finished(tile: Tile, image: Float32, logits: Float32) -> None:
        if look is not None:
            look(tile, image)
        second = None
        if cascade is not None:
            logits, second = refined(cascade, tile, image, logits, volume.shape)
        finish(tile, logits, second)
        if progress is not None:
            progress(tile)

    def computed(tile: Tile, image: Float32) -> Float32:
        return run(image, grown(tile, margin, volume.shape))

    overlapped(wanted, lambda tile: scaled(volume, tile, scaling), computed, finished)


def overlapped(
    wanted: Iterable[Step],
    read: Callable[[Step], Float32 | None],
    compute: Callable[[Step, Float32], Float32],
    finish: Callable[[Step, Float32, Float32], None],
) -> None:
    """Three stages of steps: `read` of the next one and `finish` of the last one go on while `compute` has this one.

    Args:
        wanted: Steps, in any order.
        read: In one thread beside; a step that it gives None for ends there.
        compute: In this thread, of what was read.
        finish: In another thread, of a step, what was read and what was computed.
    """
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as finishing:
        last: Future[None] | None = None
        for step, had in _ahead(reading, read, wanted):
            if had is None:
                continue
            made = compute(step, had)
            if last is not None:
                last.result()
            last = finishing.submit(finish, step, had, made)
        if last is not None:
            last.result()


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[Step], Float32 | None], wanted: Iterable[Step]
) -> Iterator[tuple[Step, Float32 | None]]:
    """Steps with what `read` gives for each, the next one being read in `pool` while this one is used."""
    upcoming: tuple[Step, Future[Float32 | None]] | None = None
    for step in wanted:
        now, upcoming = upcoming, (step, pool.submit(read, step))
        if now is not None:
            yield now[0], now[1].result()
    if upcoming is not None:
        yield upcoming[0], upcoming[1].result()


def scaled(volume: Volume, tile: Tile, scaling: Scaling) -> Float32:
    """The normalised image [1, 1, Z, Y, X] that a tile reads."""
    return read(Normalised(volume.data, scaling), tile)[None, None]
