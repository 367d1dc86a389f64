"""The body of a request: its size is known or bounded before it is read, and it has to come in time."""

import asyncio
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
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._lock = Lock()

    def take(self, amount: int) -> None:
        """Reserves bytes.

        Raises:
            Refusal: "busy".
        """
        with self._lock:
            if self.used + amount > self.limit:
                raise Refusal("busy", "the server holds as much as it may; try again", 1.0)
            self.used += amount

    def give(self, amount: int) -> None:
        """Returns them."""
        with self._lock:
            self.used -= amount


class Share:
    """What one request has reserved of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._held = budget, 0

    def reserve(self, amount: int) -> None:
        """More bytes for this request; see `Budget.take`."""
        self._budget.take(amount)
        self._held += amount

    def close(self) -> None:
        """Returns all; more than once does no harm."""
        held, self._held = self._held, 0
        self._budget.give(held)


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
    try:
        async with asyncio.timeout(PATIENCE_S) as clock:
            if length is None:
                return await _unknown(receive, limit, share, clock)
            share.reserve(length)
            return await _known(receive, _aligned(length, head), clock)
    except TimeoutError as error:
        raise Refusal("slow", "the body comes too slowly") from error


async def _known(receive: Receive, body: memoryview, clock: asyncio.Timeout) -> memoryview:
    filled, more = 0, True
    while more:
        part, more = await _next(receive)
        if filled + len(part) > len(body):
            raise Refusal("invalid", "the body is longer than its Content-Length")
        body[filled : filled + len(part)] = part
        filled += len(part)
        _extend(clock, len(part))
    if filled != len(body):
        raise Refusal("invalid", "the body is shorter than its Content-Length")
    return body


async def _unknown(receive: Receive, limit: int, share: Share, clock: asyncio.Timeout) -> memoryview:
    """Of a request that comes in chunks and does not say its size."""
    body, more = bytearray(), True
    while more:
        part, more = await _next(receive)
        if len(body) + len(part) > limit:
            raise Refusal("too large", f"the body has more than {limit} bytes, which the server does not take")
        share.reserve(len(part))
        body += part
        _extend(clock, len(part))
    return memoryview(body)


async def _next(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    return message.get("body", b""), message.get("more_body", False)


def _extend(clock: asyncio.Timeout, came: int) -> None:
    end = clock.when()
    if came and end is not None:
        clock.reschedule(end + came / BYTES_A_SECOND)


def _aligned(length: int, head: int) -> memoryview:
    """Memory whose byte `head` is aligned; untouched, so that a client that sends nothing takes none."""
    memory = np.empty(length + ALIGNMENT, np.uint8)
    skip = -(memory.ctypes.data + head) % ALIGNMENT
    return memory[skip : skip + length].data
