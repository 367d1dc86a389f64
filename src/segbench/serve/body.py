"""The body of a request: its size is known or bounded before it is read, and it has to come in time."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from threading import Lock
from typing import Any

import numpy as np

from segbench.serve.refusal import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]

PATIENCE_S = 20.0
"""That a body may take, and besides"""
BYTES_A_SECOND = 2**16
"""that it has to come at, on average."""
ALIGNMENT = 64
"""Bytes; tensors that begin at a multiple of it are computed with as they came, without a copy."""


class Gone(Exception):  # noqa: N818
    """The client left; nobody is there to be told."""


class Budget:
    """Bytes of all bodies together, from when they are read until they are answered.

    Args:
        limit: Most of them.
        others: Of which one client, with however many uploads that never end, cannot have so many.
    """

    def __init__(self, limit: int, others: int = 0) -> None:
        self.limit, self.others, self.used = limit, others, 0
        self._held: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, amount: int, client: str) -> None:
        """Reserves bytes.

        Raises:
            Refusal: "busy".
        """
        with self._lock:
            if self.used + amount > self.limit:
                raise Refusal("busy", "the server holds as much as it may; try again", 1.0)
            if self._held[client] + amount > self.limit - self.others:
                raise Refusal("busy", "the server holds as much of one client as it may; try again", 1.0)
            self.used += amount
            self._held[client] += amount

    def give(self, amount: int, client: str) -> None:
        """Returns them."""
        with self._lock:
            self.used -= amount
            self._held[client] -= amount
            if not self._held[client]:
                del self._held[client]


class Share:
    """What one request has reserved of a budget."""

    def __init__(self, budget: Budget, client: str) -> None:
        self._budget, self._client, self._held = budget, client, 0

    def reserve(self, amount: int) -> None:
        """More bytes for this request; see `Budget.take`."""
        self._budget.take(amount, self._client)
        self._held += amount

    def close(self) -> None:
        """Returns all; more than once does no harm."""
        held, self._held = self._held, 0
        self._budget.give(held, self._client)


def header(scope: Scope, name: str) -> str:
    """A header; empty without it.

    Raises:
        Refusal: "invalid", where it is there more than once: whoever stood between might have read the other.
    """
    found = [value for key, value in scope["headers"] if key == name.encode()]
    if len(found) > 1:
        raise Refusal("invalid", f"the header {name} is there more than once")
    return found[0].decode("latin-1").strip() if found else ""


def bytes_in(scope: Scope, name: str) -> int | None:
    """A header that counts bytes; None without it.

    Raises:
        Refusal: "invalid".
    """
    text = header(scope, name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refusal("invalid", f"the header {name} must be a number of bytes")
    return int(text)


async def read(scope: Scope, receive: Receive, limit: int, share: Share, head: int = 0) -> memoryview:
    """The body as it came.

    Args:
        scope: Of the request.
        receive: The next part of it.
        limit: Most bytes.
        share: Is told of them before they are read.
        head: Byte that shall lie at a multiple of `ALIGNMENT` in memory: where the tensor begins.

    Raises:
        Refusal: "too large", "busy", "slow" or "invalid".
        Gone: The client left in the middle.
    """
    length = bytes_in(scope, "content-length")
    if length is not None and length > limit:
        raise Refusal("too large", f"the body has {length} bytes; the server takes {limit}")
    clock = _Clock()
    if length is None:
        return await _unknown(receive, limit, share, clock)
    share.reserve(length)
    return await _known(scope, receive, Sink(_aligned(length, head)), clock)


class Sink:
    """Memory that a body is written into; a connection that finds it in the scope's state does so without a detour.

    Args:
        body: As large as the body will be.
    """

    def __init__(self, body: memoryview) -> None:
        self.body, self.filled = body, 0

    def __call__(self, part: bytes) -> None:
        """The next part; raises `ValueError` for one too much."""
        end = self.filled + len(part)
        self.body[self.filled : end] = part
        self.filled = end


class _Clock:
    """How long a body may take: longer the more of it came."""

    def __init__(self) -> None:
        self._start = asyncio.get_running_loop().time()

    async def next(self, receive: Receive, came: Callable[[], int]) -> tuple[bytes, bool]:
        """The next part and whether there are more.

        Args:
            receive: Of the request.
            came: Bytes of the body until now.

        Raises:
            Refusal: "slow".
            Gone: The client left.
        """
        while True:
            end = self._start + PATIENCE_S + (count := came()) / BYTES_A_SECOND
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError as error:
                if came() == count:
                    raise Refusal("slow", "the body comes too slowly") from error
            else:
                if message["type"] == "http.disconnect":
                    raise Gone
                return message.get("body", b""), message.get("more_body", False)


async def _known(scope: Scope, receive: Receive, sink: Sink, clock: _Clock) -> memoryview:
    more = True
    try:
        while more:
            part, more = await clock.next(receive, lambda: sink.filled)
            sink(part)
            scope["state"]["sink"] = sink
    except ValueError as error:
        raise Refusal("invalid", "the body is longer than its Content-Length") from error
    finally:
        scope["state"].pop("sink", None)
    if sink.filled != len(sink.body):
        raise Refusal("invalid", "the body is shorter than its Content-Length")
    return sink.body


async def _unknown(receive: Receive, limit: int, share: Share, clock: _Clock) -> memoryview:
    """Of a request that comes in chunks and does not say its size."""
    body = bytearray()
    more = True
    while more:
        part, more = await clock.next(receive, body.__len__)
        if len(body) + len(part) > limit:
            raise Refusal("too large", f"the body has more than {limit} bytes, which the server does not take")
        share.reserve(len(part))
        body += part
    return memoryview(body)


def _aligned(length: int, head: int) -> memoryview:
    """Memory whose byte `head` is aligned; untouched, so that a client that sends nothing takes none."""
    memory = np.empty(length + ALIGNMENT, np.uint8)
    skip = -(memory.ctypes.data + head) % ALIGNMENT
    return memory[skip : skip + length].data
