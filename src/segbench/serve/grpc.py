"""The gRPC side of the server.

On one event loop in a thread of its own, not on a pool of threads: a call that waits for its inference, or for a client
that is slow to send, holds no thread, so health is answered however long the queue is; and what a client gives up is
cancelled where it waits. What takes time (taking large tensors out of messages and putting them in) other threads do.
A client's call of one message is taken here as a stream of one, because then who asks is known before it is read.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import grpc

from segbench.errors import InputError
from segbench.serve import grpc_messages as messages
from segbench.serve import tls
from segbench.serve.grpc_service import Calls
from segbench.serve.guard import Guard
from segbench.serve.request import Service
from segbench.serve.settings import MIB, Settings

ALIVE_MS, ANSWERS_MS = 30_000, 10_000
"""A client is asked whether it is there so often, and is gone if it says nothing for so long."""


class Started:
    """A server that answers.

    Attributes:
        port: That it is bound to.
    """

    def __init__(self, service: Service, settings: Settings, guard: Guard) -> None:
        started: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(Calls(service, settings, guard), settings, started), name="grpc", daemon=True
        )
        self._thread.start()
        try:
            self.port = started.result()
        except BaseException:
            self._thread.join()
            raise

    def stop(self, grace: float | None = None) -> None:
        """Takes no more calls, gives those that are there so many seconds, and ends; a second stop may give fewer."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end, grace)
        self._thread.join()

    def _end(self, grace: float | None) -> None:
        if not self._ending.done():
            self._ending.set_result(grace)
        elif not self._sooner:
            self._sooner.append(self._loop.create_task(self._server.stop(grace)))

    def _run(self, calls: Calls, settings: Settings, started: "Future[int]") -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(calls, settings, started))

    async def _serve(self, calls: Calls, settings: Settings, started: "Future[int]") -> None:
        # two copies of a message at a time a core are as much as memory moves
        self._loop.set_default_executor(ThreadPoolExecutor(8, thread_name_prefix="grpc"))
        self._ending: asyncio.Future[float | None] = self._loop.create_future()
        self._sooner: list[asyncio.Task[None]] = []
        try:
            self._server = server = grpc.aio.server(
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
