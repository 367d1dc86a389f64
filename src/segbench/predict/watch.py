"""How foreign a volume in memory is, found out while it is predicted."""

from concurrent.futures import Future, ThreadPoolExecutor

from segbench.foreign import Foreign, Look, looked_at, of_volume, with_tiles
from segbench.normalisation import Scaling
from segbench.tiling import Grid, Tile
from segbench.volume import Float32, Volume


class Watch:
    """Looks at a volume beside the engine, and at some of its tiles as they come; at nothing without a look.

    Args:
        look: Of the model, if it has a fit.
        volume: Grey values (Z, Y, X).
        scaling: How they are normalised.
        grid: Its tiles.
    """

    def __init__(self, look: Look | None, volume: Volume, scaling: Scaling, grid: Grid) -> None:
        self._look, self._scaling, self._tiles = look, scaling, looked_at(grid)
        self._scores: list[float | None] = []
        self._whole: Future[Foreign] | None = None
        if look is not None:
            seen = of_volume(volume, scaling)  # read before the tiles are: one reader at a time
            beside = ThreadPoolExecutor(1)
            self._whole = beside.submit(look.judge, seen)
            beside.shutdown(wait=False)

    def tile(self, tile: Tile, image: Float32) -> None:
        """Looks at a tile and what it read [1, 1, Z, Y, X], if it is one of those; in one thread."""
        if self._look is not None and tile in self._tiles:
            self._scores.append(self._look.tile(image, tile, self._scaling).score)

    def found(self) -> Foreign | None:
        """What was found; waits for it."""
        if self._whole is None:
            return None
        whole = self._whole.result()
        return with_tiles(whole, self._scores)
