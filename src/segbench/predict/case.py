"""Volumes in memory, several in one pipeline: while one is computed the next is read and the last one finished."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter

from segbench.cascade import Cascade
from segbench.engines import Bound
from segbench.errors import InputError, SegbenchError
from segbench.foreign import Look
from segbench.io import check_image
from segbench.normalisation import Scaling, fit
from segbench.predict.margin import grown, refined
from segbench.predict.prediction import Asked, Maps, Prediction
from segbench.predict.said import said
from segbench.predict.sampling import overlapped, scaled, tiles
from segbench.predict.watch import Watch
from segbench.tiling import Tile
from segbench.volume import Float32, Volume


@dataclass(eq=False)
class Times:
    """Seconds that went into a volume, stage by stage; the stages of several volumes overlap."""

    reading: float = 0.0
    computing: float = 0.0
    finishing: float = 0.0

    def __iadd__(self, other: "Times") -> "Times":
        self.reading += other.reading
        self.computing += other.computing
        self.finishing += other.finishing
        return self


@dataclass(frozen=True, eq=False)
class _Prepared:
    scaling: Scaling
    watch: Watch
    maps: Maps


class Case:
    """A volume that is being predicted: prepared, then tile after tile.

    Args:
        volume: Grey values (Z, Y, X); a single slice is a volume of depth 1, replicated along Z.
        asked: How.
        look: Says how foreign the volume is; changes no other number.
        cascade: The model's second network, if it has one.
        stop: Asked before each tile: why the rest is not to be computed, if so.

    Attributes:
        grid: Its tiles.
        refused: Why it is not predicted.
        times: That it took.
    """

    def __init__(
        self,
        volume: Volume,
        asked: Asked,
        look: Look | None = None,
        cascade: Cascade | None = None,
        stop: Callable[[], SegbenchError | None] | None = None,
    ) -> None:
        self.volume, self.asked, self.cascade, self._look, self._stop = volume, asked, cascade, look, stop
        self.grid = tiles(asked.card, volume.shape)
        self.refused: SegbenchError | None = None
        self.times = Times()
        self._left = len(self.grid)
        self._had: _Prepared | None = None

    def prepare(self) -> None:
        """Checks the volume and fits its normalisation.

        Raises:
            InputError: It is constant or not finite.
        """
        sample = check_image(self.volume)
        wanted, invert = self.asked.card.input.normalisation, self.asked.invert
        scaling = fit(wanted, self.volume, invert=invert, sample=sample)
        watch = Watch(self._look, self.volume, scaling, self.grid, upright=not invert)
        self._had = _Prepared(scaling, watch, Maps(self.volume.shape, self.asked))

    @property
    def _prepared(self) -> _Prepared:
        if self._had is None:
            self.prepare()
        assert self._had is not None
        return self._had

    def read(self, tile: Tile) -> Float32 | None:
        """The normalised image [1, 1, Z, Y, X] that a tile reads; None where the volume is refused."""
        begun = perf_counter()
        try:
            self.refused = None if self._stop is None else self._stop()
            image = None if self.refused is not None else scaled(self.volume, tile, self._prepared.scaling)
        except InputError as error:
            # its frames hold the volume, and what holds it they hold: a circle that would stay for long
            self.refused, image = error.with_traceback(None), None
        self.times.reading += perf_counter() - begun
        return image

    def compute(self, run: Bound, tile: Tile, image: Float32) -> Float32:
        """Logits [T, K, Z, Y, X] of a tile's core, and of what a second network sees around it."""
        begun = perf_counter()
        margin = 0 if self.cascade is None else self.cascade.margin
        logits = run(image, grown(tile, margin, self.volume.shape))
        self.times.computing += perf_counter() - begun
        return logits

    def finish(self, tile: Tile, image: Float32, logits: Float32) -> bool:
        """Keeps what the logits of a tile say; whether it was the last tile."""
        begun, had, asked = perf_counter(), self._prepared, self.asked
        had.watch.tile(tile, image)
        second = None
        if self.cascade is not None:
            logits, second = refined(self.cascade, tile, image, logits, self.volume.shape)
        had.maps.write(tile, said(logits, asked.card, asked.keep, asked.threads, second))
        self._left -= 1
        self.times.finishing += perf_counter() - begun
        return self._left == 0

    def found(self) -> Prediction:
        """What was found, after the last tile."""
        had, source = self._prepared, self.volume.source
        polarity, foreign = had.watch.found()
        spoken = (
            None if polarity is None else polarity.warning(source),
            None if foreign is None else foreign.warning(source, self.asked.card.name),
        )
        return had.maps.prediction(tuple(text for text in spoken if text is not None), foreign)


def predict_cases(
    cases: Iterable[Case], run: Bound, ended: Callable[[Case], None], progress: Callable[[Case], None] | None = None
) -> None:
    """Predicts volumes that one bound engine serves; what comes of each is what would come of it alone.

    Args:
        cases: In their order.
        run: The bound engine.
        ended: Called once with each case, after its last tile or as soon as it is refused; by one thread or another.
        progress: Called after each tile.
    """

    def steps() -> Iterator[tuple[Case, Tile]]:
        for case in cases:
            for tile in case.grid:
                if case.refused is not None:
                    break
                yield case, tile

    def read(step: tuple[Case, Tile]) -> Float32 | None:
        case, tile = step
        if case.refused is not None:  # while this step was waiting
            return None
        image = case.read(tile)
        if image is None:
            ended(case)
        return image

    def finish(step: tuple[Case, Tile], image: Float32, logits: Float32) -> None:
        case, tile = step
        last = case.finish(tile, image, logits)
        if progress is not None:
            progress(case)
        if last:
            ended(case)

    overlapped(steps(), read, lambda step, image: step[0].compute(run, step[1], image), finish)
