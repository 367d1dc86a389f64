"""Coarser levels of a result, chunk by chunk: means of maps, and of labels the commonest."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.predict.result import MAPS, Result

Block = npt.NDArray[Any]


def build(result: Result, classes: int, step: Callable[[], None]) -> None:
    """Writes all levels above the first; calls `step` after each chunk of `chunks(result)`."""
    for level in range(1, len(result.shapes)):
        for box in _boxes(result, level):
            below = tuple(slice(2 * part.start, 2 * part.stop) for part in box)
            maps = result.array(str(level - 1))
            for channel in range(len(MAPS)):
                result.array(str(level))[(channel, *box)] = mean(np.asarray(maps[(channel, *below)]))
            for name in result.labels:
                fine = np.asarray(result.array(f"labels/{name}/{level - 1}")[below])
                result.array(f"labels/{name}/{level}")[box] = commonest(fine, classes)
            step()


def chunks(result: Result) -> int:
    """How many steps `build` takes."""
    return sum(1 for level in range(1, len(result.shapes)) for _ in _boxes(result, level))


def _boxes(result: Result, level: int) -> Iterator[tuple[slice, ...]]:
    edges = [min(c, n) for c, n in zip(result.grid.cores, result.shapes[level], strict=True)]
    for start in product(*(range(0, n, e) for n, e in zip(result.shapes[level], edges, strict=True))):
        stop = (min(a + e, n) for a, e, n in zip(start, edges, result.shapes[level], strict=True))
        yield tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


def mean(block: Block) -> Block:
    """Rounded means of cubes of 2 x 2 x 2 voxels (Z, Y, X); at an odd end the last voxels count twice."""
    total: Block = np.stack(_corners(block)).sum(axis=0, dtype=np.uint32)
    total += 4
    total //= 8
    return total.astype(block.dtype)


def commonest(block: Block, classes: int) -> Block:
    """The commonest label of cubes of 2 x 2 x 2 voxels (Z, Y, X), the lower one where two are as common."""
    parts = _corners(block)
    counts = np.stack([sum((part == label).astype(np.uint8) for part in parts) for label in range(classes)])
    return np.asarray(np.argmax(counts, axis=0), dtype=block.dtype)


def _corners(block: Block) -> list[Block]:
    even = np.pad(block, [(0, n % 2) for n in block.shape], mode="edge")
    return [even[z::2, y::2, x::2] for z, y, x in product((0, 1), repeat=3)]
