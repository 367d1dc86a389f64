"""The gRPC side of the server.

On one event loop in a thread of its own, not on a pool of threads: a call that waits for its inference, or for a client
that is slow to send, holds no thread, so health is answered however long the queue is; and what a client gives up is
cancelled where it waits. What takes time (taking large tensors out of messages and putting them in) other threads do.
A client's call of one message is taken here as a stream of one, because then who asks is known before it is read.
"""

import asyncio
import logging
import math
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
from tritonclient.grpc import service_pb2

from segbench.errors import InputError
from segbench.serve import grpc_messages as messages
from segbench.serve import tls
from segbench.serve.grpc_calls import CALLS, SERVICE
from segbench.serve.guard import Guard
from segbench.serve.refusal import GRPC, Refusal
from segbench.serve.request import Answer, Request, Service
from segbench.serve.settings import MIB, Settings

SHORT = 64 * 1024
"""Bytes that the message of a call other than an inference may have."""
NEAR = 2 * MIB
"""Bytes of tensors that are taken in or out of a message on the loop itself: asking another thread takes longer."""
RECEIVE_S = 60.0
"""That one message may take on its way in: a client that stands still keeps others from sending theirs."""
AGAIN_S = 1.0
"""After which a client that was told to wait may ask again, where nothing better is known."""
ALIVE_MS, ANSWERS_MS = 30_000, 10_000
"""A client is asked whether it is there so often, and is gone if it says nothing for so long."""
log = logging.getLogger("segbench.serve")
Context = Any
"""`grpc.aio.ServicerContext`; the package has no types."""


class Started:
    """A server that answers.

    Attributes:
        port: That it is bound to.
    """

    def __init__(self, service: Service, settings: Settings, guard: Guard) -> None:
        started: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(_Calls(service, settings, guard), settings, started), name="grpc", daemon=True
        )
        self._thread.start()
        try:
            self.port = started.result()
        except BaseException:
            self._thread.join()
            raise

    def stop(self, grace: float | None = None) -> None:
        """Takes no more calls, gives those that are there so many seconds, and ends; a second stop does nothing."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end, grace)
        self._thread.join()

    def _end(self, grace: float | None) -> None:
        if not self._ending.done():
            self._ending.set_result(grace)

    def _run(self, calls: "_Calls", settings: Settings, started: "Future[int]") -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(calls, settings, started))

    async def _serve(self, calls: "_Calls", settings: Settings, started: "Future[int]") -> None:
        # two copies of a message at a time a core are as much as memory moves
        self._loop.set_default_executor(ThreadPoolExecutor(8, thread_name_prefix="grpc"))
        self._ending: asyncio.Future[float | None] = self._loop.create_future()
        try:
            server = grpc.aio.server(
                handlers=(calls,), options=_options(settings), maximum_concurrent_rpcs=4 * settings.max_queue + 256
            )
            port = _bind(server, settings)
            await server.start()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(port)
        await server.stop(await self._ending)


def serve(service: Service, settings: Settings, guard: Guard) -> Started:
    """Binds and answers from now on.

    Raises:
        InputError: The port is taken, or a file for TLS cannot be used.
    """
    return Started(service, settings, guard)


class _Calls(grpc.GenericRpcHandler):  # type: ignore[misc]
    """From the name of a method to what answers it, and from what went wrong to a status."""

    def __init__(self, service: Service, settings: Settings, guard: Guard) -> None:
        self._service, self._settings, self._guard = service, settings, guard
        # Messages of unknown size that are read at once, until the queue has counted them: together no more than it.
        self._most = max(2, settings.max_queue_mib // settings.max_request_mib)
        self._large, self._short = asyncio.Semaphore(self._most), asyncio.Semaphore(8)
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
            await _refuse(context, refusal)
        except Exception:  # whatever it is, the client learns no more than that
            given = uuid.uuid4().hex
            log.exception("internal error, request %s", given)
            await _refuse(context, Refusal("internal", f"internal error, request {given}"))

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
                data = await _read(context)
            if len(data) > SHORT:
                raise Refusal("too large", f"a message of {len(data)} bytes; this call takes {SHORT}")
            request = messages.parse(call.kind, data)
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
                async with asyncio.timeout(RECEIVE_S):
                    data = await _read(context)
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


async def _read(context: Context) -> bytes:
    """The one message of a call.

    Raises:
        Refusal: "invalid", if there is none; what was above gRPC's own limit has been refused by it already.
    """
    data = await context.read()
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


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Of the server's channels; a message is as large as its tensors and a little more, compressed or not."""
    return [
        ("grpc.max_receive_message_length", min((settings.max_request_mib + 1) * MIB, messages.LARGEST)),
        ("grpc.max_send_message_length", min((settings.max_answer_mib + 1) * MIB, messages.LARGEST)),
        ("grpc.so_reuseport", 0),  # else two servers share a port, each with some of the clients
        ("grpc.keepalive_time_ms", ALIVE_MS),
        ("grpc.keepalive_timeout_ms", ANSWERS_MS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", ANSWERS_MS),  # clients ask, too
    ]


def _bind(server: Any, settings: Settings) -> int:  # noqa: ANN401
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    credentials = _credentials(settings)
    bind: Callable[[], int] = (
        partial(server.add_insecure_port, address)
        if credentials is None
        else partial(server.add_secure_port, address, credentials)
    )
    try:
        return bind()
    except RuntimeError as error:
        raise InputError(
            f"cannot listen at {address} (the port is taken, or the address not here); choose another with grpc_port"
        ) from error


def _credentials(settings: Settings) -> Any:  # noqa: ANN401
    """For TLS, mutual where a client's authority is named; None without a certificate."""
    if tls.context(settings) is None or settings.certificate is None or settings.key is None:
        return None  # and what is there has been tried: gRPC says nothing of bad files until a client comes
    pair = (settings.key.read_bytes(), settings.certificate.read_bytes())
    authority = None if settings.client_ca is None else settings.client_ca.read_bytes()
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
