"""What a second network is given of a tile: the core with a margin, replicated past the edges of the volume.

    read    [ halo  |        core        |  halo ]
    asked       [mar|        core        |gin]         of the first network, as far as the volume goes

Along Z there is none: it works slice by slice.
"""

import numpy as np

from segbench.cascade import Cascade, Refined
from segbench.engines import Box
from segbench.errors import InputError
from segbench.tiling import Shape, Tile
from segbench.volume import Float32


def grown(tile: Tile, margin: int, volume: Shape) -> Box:
    """The core with its margin, as far as a volume of that shape goes, in the coordinates of what was read.

    Raises:
        InputError: The halo is narrower than the margin.
    """
    z, *rest = tile.inner
    if any(part.start < margin or part.stop + margin > edge for part, edge in zip(rest, tile.shape[1:], strict=True)):
        raise InputError(
            f"the second network sees {margin} pixels around a core, and the model's halo along Y and X is narrower: "
            "give its card a wider one"
        )
    y, x = (
        slice(part.start - before, part.stop + after)
        for part, (before, after) in zip(rest, _inside(tile, margin, volume), strict=True)
    )
    return z, y, x


def refined(cascade: Cascade, tile: Tile, image: Float32, logits: Float32, volume: Shape) -> tuple[Float32, Refined]:
    """The first network's logits of the core alone, and what the second makes of it.

    Args:
        cascade: The second network.
        tile: Of which both are.
        image: Normalised [1, 1, Z, Y, X], all that was read.
        logits: [T, K, Z, Y, X] of `grown`.
        volume: Shape of the volume (Z, Y, X).
    """
    margin, inside = cascade.margin, _inside(tile, cascade.margin, volume)
    missing = [(margin - before, margin - after) for before, after in inside]
    mean = np.pad(mean_logits(logits), ((0, 0), (0, 0), *missing), mode="edge")
    z, y, x = tile.inner
    # what was read past the volume's edges is replicated already
    seen = image[0, 0, z, y.start - margin : y.stop + margin, x.start - margin : x.stop + margin]
    rows, columns = (
        slice(before, before + stop - start)
        for (before, _), start, stop in zip(inside, tile.start[1:], tile.stop[1:], strict=True)
    )
    return logits[..., rows, columns], cascade(np.ascontiguousarray(seen), mean)


def mean_logits(logits: Float32) -> Float32:
    """F: mean over T samples of logits [T, K, Z, Y, X], one after the other so that no tile changes the order."""
    total: Float32 = logits[0].copy()
    for sample in logits[1:]:
        total += sample
    total *= np.float32(1 / len(logits))
    return total


def _inside(tile: Tile, margin: int, volume: Shape) -> list[tuple[int, int]]:
    """Pixels of the margin before and after the core, along Y and X, that the volume has."""
    return [
        (min(margin, start), min(margin, limit - stop))
        for start, stop, limit in zip(tile.start[1:], tile.stop[1:], volume[1:], strict=True)
    ]
