"""What answers the calls of gRPC, from who asks to the status of what went wrong."""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import Future
from contextlib import nullcontext
from functools import partial
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
from tritonclient.grpc import service_pb2

from segbench.serve import grpc_messages as messages
from segbench.serve.grpc_calls import CALLS, SERVICE
from segbench.serve.guard import Guard
from segbench.serve.logs import tell
from segbench.serve.refusal import GRPC, Refusal
from segbench.serve.request import Answer, Request, Service
from segbench.serve.settings import MIB, Settings

SHORT = 64 * 1024
"""Bytes that the message of a call other than an inference may have."""
SHORT_S = 10.0
"""That such a message may take on its way in."""
NEAR = 2 * MIB
"""Bytes of tensors that are taken in or out of a message on the loop itself: asking another thread takes longer."""
RECEIVE_S = 60.0
"""That one message may take on its way in: a client that stands still keeps others from sending theirs."""
AGAIN_S = 1.0
"""After which a client that was told to wait may ask again, where nothing better is known."""
Context = Any
"""`grpc.aio.ServicerContext`; the package has no types."""


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]
    """From the name of a method to what answers it, and from what went wrong to a status."""

    def __init__(self, service: Service, settings: Settings, guard: Guard) -> None:
        self._service, self._settings, self._guard = service, settings, guard
        # Messages of unknown size that are read at once, until the queue has counted them: together no more than it.
        self._most = max(2, settings.max_queue_mib // settings.max_request_mib)
        self._large, self._short = asyncio.Semaphore(self._most), asyncio.Semaphore(8)
        self._control = asyncio.Lock()
        self._sending = 0

    def service(self, details: Any) -> Any:  # noqa: ANN401
        """See `grpc.GenericRpcHandler`; None: there is no such method."""
        _, _, name = details.method.rpartition("/")
        if details.method != f"/{SERVICE.full_name}/{name}" or name not in SERVICE.methods_by_name:
            return None
        return grpc.stream_unary_rpc_method_handler(partial(self._call, name))

    async def _call(self, name: str, stream: AsyncIterator[bytes], context: Context) -> bytes:
        try:
            return await self._answer(name, context)
        except Refusal as refusal:
            tell("refused", client=_peer(context), call=name, kind=refusal.kind, why=str(refusal))
            await _refuse(context, refusal)
        except Exception as error:  # whatever it is, the client learns no more than that
            number = uuid.uuid4().hex
            tell("internal error", logging.ERROR, error=error, id=number, client=_peer(context), call=name)
            await _refuse(context, Refusal("internal", f"internal error, request {number}"))

    async def _answer(self, name: str, context: Context) -> bytes:
        call = CALLS.get(name)
        if call is not None and call.open:
            client = ""
        else:
            given = dict(context.invocation_metadata() or ())
            client = self._guard.check(given.get("authorization"), _peer(context))
        if name == "ModelInfer":
            self._guard.admit(client)
            return await self._infer(client, context)
        if call is None:
            raise Refusal("unsupported", f"{name} is not supported by this server")
        request = None
        if call.kind is not None:
            async with self._short:
                data = await _read(context, SHORT_S)
            if len(data) > SHORT:
                raise Refusal("too large", f"a message of {len(data)} bytes; this call takes {SHORT}")
            request = messages.parse(call.kind, data)
        # models are loaded one after the other; those who wait hold no thread that others need
        async with self._control if call.control else nullcontext():
            answer = await asyncio.to_thread(call.answer, self._service, self._settings, request)
        return answer.SerializeToString()  # type: ignore[no-any-return]

    async def _infer(self, client: str, context: Context) -> bytes:
        left = context.time_remaining()
        wait_s = max(0.0, min(self._settings.timeout_s, math.inf if left is None else left))
        try:
            async with asyncio.timeout(wait_s):
                request_id, pending = await self._accepted(client, time.monotonic() + wait_s, context)
                answer = await _result(pending)
        except TimeoutError as error:
            raise Refusal("late", f"not answered within {wait_s:.3g} s") from error
        if sum(output.nbytes for output in answer.outputs.values()) <= NEAR:
            return messages.response(answer, request_id)
        return await asyncio.to_thread(messages.response, answer, request_id)

    async def _accepted(self, client: str, until: float, context: Context) -> "tuple[str, Future[Answer]]":
        """Reads a request and queues it; nothing of its message is kept."""
        if self._sending >= self._most + self._settings.max_queue:
            raise Refusal("busy", "too many clients are sending requests; try again", AGAIN_S)
        self._sending += 1
        try:
            async with self._large:
                data = await _read(context, RECEIVE_S)
                if len(data) <= NEAR:
                    return self._submit(data, client, until)
                return await _kept(asyncio.to_thread(self._submit, data, client, until))
        finally:
            self._sending -= 1

    def _submit(self, data: bytes, client: str, until: float) -> "tuple[str, Future[Answer]]":
        request = self._request(data, client, until)
        return request.id, self._service.submit(request)

    def _request(self, data: bytes, client: str, until: float) -> Request:
        message = messages.parse(service_pb2.ModelInferRequest, data)
        return messages.request(message, self._settings, client, until)


async def _kept(submitted: Awaitable["tuple[str, Future[Answer]]"]) -> "tuple[str, Future[Answer]]":
    """What was submitted; who goes away meanwhile leaves nothing in the queue."""
    job = asyncio.ensure_future(submitted)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        job.add_done_callback(lambda done: None if done.exception() else done.result()[1].cancel())
        raise


async def _result(pending: "Future[Answer]") -> Answer:
    """Waits for an answer; being cancelled cancels it."""
    try:
        return await asyncio.wrap_future(pending)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Refusal("cancelled", "the request was cancelled by the server") from None


async def _read(context: Context, seconds: float) -> bytes:
    """The one message of a call.

    Raises:
        Refusal: "slow"; "invalid", if there is none; what was above gRPC's own limit has been refused by it already.
    """
    try:
        async with asyncio.timeout(seconds):
            data = await context.read()
    except TimeoutError as error:
        raise Refusal("slow", f"the call's message did not come within {seconds:g} s") from error
    if data is grpc.aio.EOF:
        raise Refusal("invalid", "the call came without a message")
    return bytes(data)


async def _refuse(context: Context, refusal: Refusal) -> NoReturn:
    again = refusal.kind in ("busy", "rate")
    trailing = (("retry-after", str(max(1, math.ceil(refusal.retry_after or 0)))),) if again else ()
    try:
        await context.abort(grpc.StatusCode[GRPC[refusal.kind]], str(refusal), trailing)
    except grpc.aio.AbortError:
        raise
    except grpc.aio.BaseError:  # the client has gone, or gRPC itself has refused
        raise asyncio.CancelledError from None
    raise AssertionError


def _peer(context: Context) -> str:
    """The subject of the client's certificate; without one its address, without the port."""
    known = context.auth_context()
    for kind in ("x509_subject", "x509_common_name"):
        if named := known.get(kind):
            return b" ".join(named).decode("utf-8", "replace")
    address, _, _ = str(context.peer()).rpartition(":")
    return unquote(address.partition(":")[2]).strip("[]")
