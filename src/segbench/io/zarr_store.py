"""Stores that say what zarr leaves unsaid: a chunk is missing, or a server sent something else than was asked."""

import contextlib
import struct
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from segbench.io.files import ZARR
from segbench.io.location import Location


class MissingChunk(Exception):  # noqa: N818 - says what is the case
    """A chunk or shard is not in the store; its key is the message."""


class NoParts(Exception):  # noqa: N818 - as above
    """A server sent a whole file where a part was asked for, or less than that."""


class Damaged(Exception):  # noqa: N818 - as above
    """A chunk that cannot be what it says."""


class Watched(WrapperStore[Store]):
    """A store in which a missing chunk is an error, where zarr would read its fill value.

    A shard that is there may leave out chunks: its index, which is written with it, says which are empty.

    Args:
        store: What is watched.
        allow_missing: Whether a missing chunk is read as the fill value after all.
    """

    def __init__(self, store: Store, allow_missing: bool = False) -> None:
        super().__init__(store)
        self.allow_missing = allow_missing
        self._chunk_bytes = 0

    def _with_store(self, store: Store) -> "Watched":
        return Watched(store, self.allow_missing)

    def expect(self, chunk_bytes: int, *, blosc: bool) -> None:
        """Says what whole chunks hold, so that a broken one is found before it is decoded.

        Args:
            chunk_bytes: Of a decoded chunk.
            blosc: Whether each is one blosc buffer: cut short, one crashes the process that decodes it.
        """
        self._chunk_bytes, self._blosc = chunk_bytes, blosc

    async def get(  # noqa: D102 - zarr's
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await self._store.get(key, prototype, byte_range)
        data = key.rpartition("/")[2] not in ZARR
        if found is None:
            if data and not self.allow_missing:
                raise MissingChunk(key)
            return None
        asked = None
        if isinstance(byte_range, RangeByteRequest):
            asked = byte_range.end - byte_range.start
        elif isinstance(byte_range, SuffixByteRequest):
            asked = byte_range.suffix
        elif data and byte_range is None and self._chunk_bytes:
            self._check(key, found)
        if asked is not None and len(found) != asked:
            # a web server that does not know ranges sends the whole file, and nobody else would notice
            raise NoParts(f"{len(found)} bytes of {key} came where {asked} were asked for")
        return found

    async def get_partial_values(  # noqa: D102 - zarr's
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    def _check(self, key: str, found: Buffer) -> None:
        # what a chunk may take, stored, and decoded by a codec between that changes the size of a voxel
        stored, decoded = 2 * self._chunk_bytes + 2**16, 16 * self._chunk_bytes + 2**16
        if len(found) > stored:
            raise Damaged(f"{key}: {len(found)} bytes for a chunk of {self._chunk_bytes}")
        if self._blosc:
            header = bytes(found[:16].to_bytes())
            unpacked, block, packed = struct.unpack_from("<III", header.ljust(16, b"\0"), 4)
            if not (16 <= packed <= len(found) and block <= unpacked <= decoded and header[3]):
                raise Damaged(f"{key}: {len(found)} bytes are no whole blosc buffer")


def store_at(location: Location, *, allow_missing: bool) -> Watched:
    """The store at a path or URL."""
    if not location.remote:
        return Watched(LocalStore(Path(location.root), read_only=True), allow_missing)
    # an instance of its own, so that it can be closed with the store
    store = FsspecStore.from_url(location.root, storage_options={"skip_instance_cache": True}, read_only=True)
    weakref.finalize(store, _close, store.fs)
    return Watched(store, allow_missing)


def _close(filesystem: Any) -> None:  # noqa: ANN401
    """Ends the connections; without it aiohttp complains on the terminal when Python ends."""
    session = getattr(filesystem, "_session", None)
    with contextlib.suppress(Exception):
        if session is not None and not session.closed:
            # the loop it ran in is zarr's and may have ended: fsspec then closes the sockets alone
            filesystem.close_session(None, session)
