"""What speaks against trusting a prediction of a volume in memory, found out while it is made."""

from concurrent.futures import Future, ThreadPoolExecutor

from segbench import polarity
from segbench.foreign import Foreign, Look, looked_at, of_volume, with_tiles
from segbench.normalisation import Scaling
from segbench.tiling import Grid, Tile
from segbench.volume import Float32, Volume


class Watch:
    """Judges a volume beside the engine, and how foreign some of its tiles are as they come.

    Args:
        look: Of the model, if it has a fit of what is foreign to it.
        volume: Grey values (Z, Y, X); read here and not later, for tiles have one reader at a time.
        scaling: How they are normalised.
        grid: Its tiles.
        upright: Look as well whether its contrast is inverted.
    """

    def __init__(self, look: Look | None, volume: Volume, scaling: Scaling, grid: Grid, *, upright: bool) -> None:
        self._look, self._scaling, self._tiles = look, scaling, looked_at(grid)
        self._scores: list[float | None] = []
        beside = ThreadPoolExecutor(1)
        self._whole: Future[Foreign] | None = None
        if look is not None:
            self._whole = beside.submit(look.judge, of_volume(volume, scaling))
        self._polarity: Future[polarity.Polarity] | None = None
        if upright:
            self._polarity = beside.submit(polarity.judged, polarity.seen(volume))
        beside.shutdown(wait=False)

    def tile(self, tile: Tile, image: Float32) -> None:
        """Looks at a tile and what it read [1, 1, Z, Y, X], if it is one of those; in one thread."""
        if self._look is not None and tile in self._tiles:
            self._scores.append(self._look.tile(image, tile, self._scaling).score)

    def found(self) -> tuple[polarity.Polarity | None, Foreign | None]:
        """What was found; waits for it."""
        foreign = None if self._whole is None else with_tiles(self._whole.result(), self._scores)
        return None if self._polarity is None else self._polarity.result(), foreign
