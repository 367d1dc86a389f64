"""A lazy array whose file is decoded a block at a time, with a memory of decoded blocks.

    a read    z 0..95   +-------+-------+-------+      only blocks that it touches are decoded;
              y 0..95   |  (0,0)|  (0,1)|  (0,2)|      the next tile along X finds most of them in memory
                        +-------+-------+-------+

Tiles side by side need the same blocks, so as many are kept as one read touched: reading tile by tile then decodes
a compressed file about once for each row of tiles, not once for each tile.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from segbench.io.lazy import Array, Box, Lazy

# Decoded blocks are kept up to this ...
CACHE_BYTES = 256 * 2**20
# ... and all that one read touched, up to this: the next tile wants most of it. A read of more is no tile.
TILE_BYTES = 768 * 2**20
# A block is decoded as a whole and may not be larger.
LIMIT_BYTES = 2**30
# Smaller blocks are read together, so that their number costs nothing.
BLOCK_BYTES = 256 * 2**10

Index = tuple[int, int, int]


@dataclass
class _Held:
    block: Array
    read: int  # number of the last read that used it


class Cache:
    """Decoded blocks, the least recently used leave first. Several arrays may share one.

    Args:
        limit: Bytes to keep; None for `CACHE_BYTES`, and up to `TILE_BYTES` where one read touches more.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, _Held] = OrderedDict()
        self._coming: dict[Hashable, Future[Array]] = {}
        self._bytes = self._reads = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def begin(self) -> int:
        """The number of a read that begins."""
        with self._lock:
            self._reads += 1
            return self._reads

    def get(self, key: Hashable, read: int, touched: int, decode: Callable[[], Array]) -> Array:
        """The block `key`, decoded by one thread if several want it at once.

        Args:
            key: Names the block.
            read: The number that `begin` gave.
            touched: Bytes of all blocks that this read touches.
            decode: Makes the block.
        """
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                held.read = read
                self._held.move_to_end(key)
                return held.block
            coming = self._coming.get(key)
            if coming is None:
                mine = self._coming[key] = Future()
        if coming is not None:
            return coming.result()
        try:
            block = decode()
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._coming[key]
            self._keep(key, _Held(block, read), touched)
        mine.set_result(block)
        return block

    def _keep(self, key: Hashable, new: _Held, touched: int) -> None:
        limit = self.limit
        if limit is None:
            limit = max(CACHE_BYTES, new.block.nbytes, touched if touched <= TILE_BYTES else 0)
        while self._held and self._bytes + new.block.nbytes > limit:
            oldest = next(iter(self._held.values()))
            if oldest.read >= new.read:
                # this read alone is too large: what it has is worth more to the next one than what it gets now
                return
            self._bytes -= self._held.popitem(last=False)[1].block.nbytes
        if new.block.nbytes <= limit:
            self._held[key] = new
            self._bytes += new.block.nbytes


class Chunked(Lazy):
    """Reads the blocks that an index touches, and no others.

    Args:
        shape: Voxels along (Z, Y, X).
        dtype: Of the voxels.
        block: Voxels of a block; those at the far faces may be cut short.
        decode: Gives block (i, j, k). Called by several threads; pickled with the array.
        cache: Where decoded blocks are kept.
        workers: Blocks of one read that are decoded at once; for what waits for a network.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        block: Index,
        decode: Callable[[Index], Array],
        cache: Cache | None = None,
        workers: int = 1,
    ) -> None:
        super().__init__(shape, dtype)
        self.block, self.decode, self.workers = block, decode, workers
        self.cache = Cache() if cache is None else cache
        self._mark = object()  # unlike an id, it is not given again while blocks are kept under it

    def _read(self, box: Box) -> Array:
        out = np.empty([len(r) for r in box], self.dtype)
        wanted = list(product(*(_spans(r, size) for r, size in zip(box, self.block, strict=True))))
        read, touched = self.cache.begin(), len(wanted) * int(np.prod(self.block)) * self.dtype.itemsize

        def copy(spans: tuple["_Span", ...]) -> None:
            i, j, k = (span.index for span in spans)
            block = self.cache.get((self._mark, i, j, k), read, touched, lambda: self.decode((i, j, k)))
            out[tuple(span.out for span in spans)] = block[tuple(span.inside for span in spans)]

        if self.workers > 1 and len(wanted) > 1:
            with ThreadPoolExecutor(min(self.workers, len(wanted))) as pool:
                list(pool.map(copy, wanted))
        else:
            for spans in wanted:
                copy(spans)
        return out


def corner(index: Index, block: Index, shape: Sequence[int]) -> tuple[slice, slice, slice]:
    """Where block `index` lies in an array of `shape`."""
    z, y, x = (slice(i * b, min((i + 1) * b, n)) for i, b, n in zip(index, block, shape, strict=True))
    return z, y, x


def grouped(chunk: Sequence[int], shape: Sequence[int], itemsize: int) -> Index:
    """A block of whole chunks of at least `BLOCK_BYTES`, as near to a cube as that allows."""
    block = [min(int(c), int(n)) for c, n in zip(chunk, shape, strict=True)]
    while int(np.prod(block)) * itemsize < BLOCK_BYTES:
        short = [axis for axis in range(3) if block[axis] < shape[axis]]
        if not short:
            break
        axis = min(short, key=lambda a: block[a])
        # a multiple of the chunk, which may pass the end: `corner` cuts it there
        block[axis] *= 2
    z, y, x = block
    return z, y, x


@dataclass(frozen=True)
class _Span:
    """What a range takes of one block: `inside` it, and where that goes in the result."""

    index: int
    out: slice
    inside: slice


def _spans(wanted: range, size: int) -> Iterator[_Span]:
    step = wanted.step
    for index in range(wanted[0] // size, wanted[-1] // size + 1):
        start = index * size
        first = max(0, -((wanted.start - start) // step))
        last = min(len(wanted), -((wanted.start - start - size) // step))
        if first < last:
            inside = slice(wanted[first] - start, wanted[last - 1] - start + 1, step)
            yield _Span(index, slice(first, last), inside)
