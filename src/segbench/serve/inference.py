"""An inference over HTTP, from its headers to the last byte of its answer."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from threading import Lock
from typing import TypeVar

from fastapi import Response

from segbench.serve.body import Budget, Gone, Receive, Scope, Send, Share, bytes_in, header, read
from segbench.serve.compression import WORTH, accepted, coding_of, deflate, inflate
from segbench.serve.guard import Guard
from segbench.serve.refusal import Refusal
from segbench.serve.request import Answer, Request, Service
from segbench.serve.settings import MIB, Settings
from segbench.serve.wire import Form, decode, encode

T = TypeVar("T")
HEADER = "inference-header-content-length"
HEAD = 2**16
"""Bytes of JSON that may come on top of the largest image."""
LARGE = 2**18
"""Bytes from which on decoding, encoding and compressing leave the event loop to others; a hop costs 0.1 ms."""
PIECE = 2**20
"""Bytes of an answer that are on their way at once."""
LATE_S = 5.0
"""After the deadline, when the service should have said so itself."""


class Sent(Response):
    """An answer in chunks that are not joined, and that a client has to read.

    Args:
        chunks: Of its body.
        headers: Beside the length.
        close: Called when it is sent, or nobody waits for it any more.
    """

    def __init__(self, chunks: list[bytes | memoryview], headers: dict[str, str], close: Callable[[], None]) -> None:
        super().__init__(headers=headers)
        self._chunks, self._close = chunks, close
        self.headers["content-length"] = str(sum(len(chunk) for chunk in chunks))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in _pieces(self._chunks):  # the connection ends where a client does not take them
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._close()


def _pieces(chunks: list[bytes | memoryview]) -> "list[bytes | memoryview]":
    """Small neighbours joined, large chunks cut without a copy."""
    pieces: list[bytes | memoryview] = []
    small: list[bytes | memoryview] = []
    for chunk in chunks:
        if len(chunk) < HEAD:
            small.append(chunk)
            continue
        if small:
            pieces.append(b"".join(small))
            small = []
        ends = [*range(0, len(chunk), PIECE), len(chunk)]
        pieces += [memoryview(chunk)[start:end] for start, end in pairwise(ends)]
    return [*pieces, b"".join(small)] if small else pieces


class Inference:
    """What answers them.

    Args:
        service: That infers.
        settings: Limits.
        guard: How often a client may ask.
        pool: Threads for what takes long.
    """

    def __init__(self, service: Service, settings: Settings, guard: Guard, pool: ThreadPoolExecutor) -> None:
        self._service, self._settings, self._guard, self._pool = service, settings, guard, pool
        self._limit = settings.max_request_mib * MIB + HEAD
        self._parsing = Lock()
        self.budget = Budget(settings.max_queue_mib * MIB + 3 * self._limit, others=self._limit)
        self._unread, self._most_unread = 0, (settings.max_queue_mib + settings.max_answer_mib) * MIB

    async def __call__(self, scope: Scope, receive: Receive, model: str, version: str) -> Response:
        """Answers one.

        Raises:
            Refusal: Any.
            Gone: The client left.
        """
        client = scope["state"]["client"]
        self._guard.admit(client)
        self._check_unread()
        share = Share(self.budget, client)
        try:
            request, form = await self._read(scope, receive, model, version, client, share)
            echoed = request.id
            request = replace(request, id=echoed or scope["state"]["id"])  # the log names one or the other
            answer = await self._wait(self._service.submit(request), receive, request)
            return await self._response(scope, answer, form, echoed, share)
        except BaseException:
            share.close()
            raise

    async def _read(
        self, scope: Scope, receive: Receive, model: str, version: str, client: str, share: Share
    ) -> tuple[Request, Form]:
        coding = coding_of(header(scope, "content-encoding"))
        head = bytes_in(scope, HEADER)
        body = await read(scope, receive, self._limit, share, 0 if coding else head or 0)

        def decoded() -> tuple[Request, Form]:
            plain = inflate(body, coding, self._limit, share.reserve) if coding else body
            # one at a time: what is parsed takes ten times its text and more, and holds the interpreter anyway
            with self._parsing if (len(plain) if head is None else head) >= LARGE else nullcontext():
                return decode(plain, head, model, version, client, self._settings)

        text = len(body) if head is None else head
        # raw tensors are looked at where they lie; only large ones that have to be converted take time; and how large
        # a compressed one is nobody knows
        return await self._run(decoded, LARGE if coding else text + len(body) // 16)

    async def _wait(self, future: "Future[Answer]", receive: Receive, request: Request) -> Answer:
        """The answer, unless the client leaves: then nothing is computed for nobody."""
        answered = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(_gone(receive))
        end = (request.deadline or time.monotonic()) + LATE_S - time.monotonic()
        try:
            await asyncio.wait((answered, gone), timeout=end, return_when=asyncio.FIRST_COMPLETED)
            if answered.cancelled():
                raise Refusal("busy", "the server is stopping", 1.0)
            if answered.done():
                return answered.result()
            if gone.done():
                raise Gone
            raise Refusal("late", "the answer did not come in time")
        finally:
            gone.cancel()
            answered.cancel()

    async def _response(self, scope: Scope, answer: Answer, form: Form, id_: str, share: Share) -> Response:
        coding = accepted(header(scope, "accept-encoding"))
        headers = {"content-type": "application/json"}

        def encoded() -> list[bytes | memoryview]:
            chunks, head = encode(answer, form, id_)
            if head is not None:
                headers.update({"content-type": "application/octet-stream", HEADER: str(head)})
            if coding and sum(len(chunk) for chunk in chunks) >= WORTH:
                headers.update({"content-encoding": coding, "vary": "Accept-Encoding"})
                return deflate(chunks, coding)
            return chunks

        work = sum(
            output.nbytes for name, output in answer.outputs.items()
            if coding or not form.binary.get(name, form.otherwise)
        )  # fmt: skip
        self._check_unread()
        chunks = await self._run(encoded, work)
        size = sum(len(chunk) for chunk in chunks)
        self._unread += size

        def close() -> None:
            self._unread -= size
            share.close()

        return Sent(chunks, headers, close)

    def _check_unread(self) -> None:
        """Answers wait in memory for clients that read slowly; one that is on its way is sent, however large."""
        if self._unread > self._most_unread:
            raise Refusal("busy", "too many answers wait for their clients to read them; try again", 1.0)

    async def _run(self, work: Callable[[], T], size: int) -> T:
        """In a thread where it is about so many bytes that others would wait."""
        return work() if size < LARGE else await asyncio.get_running_loop().run_in_executor(self._pool, work)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
