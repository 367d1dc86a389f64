"""Compressed streams that can only be read from their beginning: unpacked whole at the first read, up to a limit.

Not through the libraries that read the headers: pynrrd unpacks whatever comes, nibabel begins anew at each read. Here
the size is known from the header before anything is unpacked, and no more than that is ever unpacked, so a bomb
costs what it claims at most.
"""

import bz2
import gzip
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from segbench.errors import InputError
from segbench.io import chunked
from segbench.io.chunked import Cache, Chunked, Index
from segbench.io.lazy import Array
from segbench.io.message import line

# Deflate makes at most 1032 bytes of one; bzip2 a million, of zeros.
MAX_EXPANSION = {"gzip": 1100, "zlib": 1100, "bzip2": 2**20}


class Unpacked:
    """Gives the one block that the whole array is, by unpacking it.

    Args:
        path: The file.
        coder: gzip, zlib, bzip2, or a member of a zip file as `zip:NAME`.
        start: Byte of the file at which the stream begins.
        skip: Unpacked bytes before the first voxel.
        shape: Voxels along (Z, Y, X).
        dtype: Of the voxels, with the byte order of the file.
        order: "C" where X runs fastest, "F" where Z does.
    """

    def __init__(
        self,
        path: Path,
        coder: str,
        start: int,
        skip: int,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        order: str = "C",
    ) -> None:
        self.path, self.coder, self.start, self.skip = path, coder, start, skip
        self.shape, self.dtype, self.order = tuple(int(n) for n in shape), dtype, order

    def __call__(self, index: Index) -> Array:
        """The whole array, which is block (0, 0, 0)."""
        flat = np.empty(math.prod(self.shape), self.dtype)
        try:
            with _stream(self.path, self.coder, self.start) as stream:
                _skip(stream, self.skip)
                filled = _fill(stream, flat.view(np.uint8).data)
        except Exception as error:  # as with every parser of hostile bytes
            raise InputError(f"{self.path}: damaged {self.coder} data ({line(error)}): copy it again") from error
        if filled < flat.nbytes:
            raise InputError(
                f"{self.path}: truncated, it holds {filled} bytes of voxels and its header says {flat.nbytes}: "
                "copy it again"
            )
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")


def unpacked(stream: Unpacked, advice: str) -> Chunked:
    """A lazy array that is unpacked at its first read and then stays in memory.

    Args:
        stream: Where the voxels come from.
        advice: What to do where they are too many, such as "unpack it with gunzip".

    Raises:
        InputError: More than `chunked.LIMIT_BYTES`, or more than the file can hold.
    """
    need = math.prod(stream.shape) * stream.dtype.itemsize
    if need > chunked.LIMIT_BYTES:
        raise InputError(
            f"{stream.path}: {need / 2**30:.3g} GiB of compressed voxels, which cannot be read in parts; "
            f"{chunked.LIMIT_BYTES / 2**30:.3g} GiB is the limit: {advice}"
        )
    most = stream.path.stat().st_size * MAX_EXPANSION.get(stream.coder.split(":")[0], 1100)
    if need > most:
        raise InputError(f"{stream.path}: claims {need} bytes of voxels, more than it can hold: copy or save it again")
    z, y, x = stream.shape
    return Chunked(stream.shape, stream.dtype, (z, y, x), stream, Cache(need))


class _Deflated:
    """Reads a bare stream as MetaImage has it, beside gzip.open and bz2.open."""

    def __init__(self, file: IO[bytes]) -> None:
        # 32 + 15: with the header of zlib or of gzip, and any window
        self.file, self.coder = file, zlib.decompressobj(32 + 15)

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end."""
        while not self.coder.eof:
            stored = self.coder.unconsumed_tail or self.file.read(2**16)
            out = self.coder.decompress(stored, size)
            if out or not stored:
                return out
        return b""


CODERS: dict[str, Callable[[Any], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "zlib": _Deflated}


@contextmanager
def _stream(path: Path, coder: str, start: int) -> Iterator[Any]:
    if coder.startswith("zip:"):
        with zipfile.ZipFile(path) as archive, archive.open(coder[4:]) as member:
            yield member
    else:
        with path.open("rb") as file:
            file.seek(start)
            yield CODERS[coder](file)


def _skip(stream: Any, left: int) -> None:  # noqa: ANN401
    while left > 0 and (piece := stream.read(min(2**20, left))):
        left -= len(piece)


def _fill(stream: Any, into: memoryview) -> int:  # noqa: ANN401
    """Fills `into` piece by piece; fewer bytes where the stream ends."""
    filled = 0
    while filled < len(into) and (piece := stream.read(min(2**20, len(into) - filled))):
        into[filled : filled + len(piece)] = piece
        filled += len(piece)
    # one byte more: at its end a stream is checked against its checksum
    stream.read(1)
    return filled
