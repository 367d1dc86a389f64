"""A server from its start to its end: `segbench serve`."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from queue import Empty, SimpleQueue
from types import FrameType, ModuleType
from typing import Protocol

from segbench.errors import InputError
from segbench.serve import logs
from segbench.serve.guard import Guard, read_tokens
from segbench.serve.listener import listen
from segbench.serve.service import Server
from segbench.serve.settings import Settings
from segbench.serve.tls import check

TICK_S = 0.1
LAST_S = 5.0
"""At least, for answers that are on their way when all else is done."""
STOPS = (signal.SIGTERM, signal.SIGINT)
Say = Callable[[str], None]


class Stoppable(Protocol):
    """A server of one wire."""

    def stop(self, grace: float) -> None:
        """Takes no more requests, and ends once those that are there are answered, or after so many seconds."""
        ...


def run(settings: Settings, say: Say = lambda line: None) -> bool:
    """Serves until SIGTERM or SIGINT; then answers what was accepted. A second one does not wait for that.

    SIGHUP loads the models anew. It answers /v2/health/live at once, and is ready after a first inference.

    Args:
        settings: Of the server.
        say: Is told one line, the addresses, when it is ready.

    Returns:
        Whether all that was accepted was answered.

    Raises:
        InputError: Something in the settings cannot be used.
        EngineError: A model cannot be loaded.
    """
    check(settings)
    if settings.http_port is None and settings.grpc_port is None:
        raise InputError("neither HTTP nor gRPC: there is nothing to serve")
    guard = Guard(read_tokens(settings.token_file) if settings.token_file else (), settings.rate, settings.burst)
    logs.to_stream()
    with ExitStack() as stack:
        signals = _caught(stack)
        service = Server(settings)
        addresses, servers = [], list[Stoppable]()
        if settings.http_port is not None:
            http = listen(service, settings, guard)
            servers.append(http)
            stack.callback(http.stop, 0)  # nobody is waited for: that was before, or nobody wants it
            addresses.append(_address("https" if settings.certificate else "http", settings.host, http.port))
        if settings.grpc_port is not None:
            rpc = _grpc().serve(service, settings, guard)
            servers.append(rpc)
            stack.callback(rpc.stop, 0)
            addresses.append(_address("grpc", settings.host, rpc.port))
        if _loaded(service, signals):
            say(f"ready: {' '.join(addresses)} serves {', '.join(settings.models)}")
            _obey(service, signals)
        return _drained(service, servers, settings.drain_s, signals)


def _grpc() -> ModuleType:
    """The gRPC side, told before it is imported to leave forks alone: it would write a line of its own to the log."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    return import_module("segbench.serve.grpc")


def _caught(stack: ExitStack) -> "SimpleQueue[int]":
    """The signals that come from now on, until the stack is left."""
    signals: SimpleQueue[int] = SimpleQueue()

    def catch(number: int, frame: FrameType | None) -> None:
        del frame
        signals.put(number)

    for number in (*STOPS, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        stack.callback(signal.signal, number, signal.signal(number, catch))
    return signals


def _next(signals: "SimpleQueue[int]") -> int | None:
    try:
        return signals.get(timeout=TICK_S)
    except Empty:
        return None


def _loaded(service: Server, signals: "SimpleQueue[int]") -> bool:
    """Waits for the models; False where it was told to stop before."""
    while not service.wait(TICK_S):
        if _next(signals) in STOPS:
            return False
    return True


def _obey(service: Server, signals: "SimpleQueue[int]") -> None:
    """Does what signals say until one says stop."""
    while (number := _next(signals)) not in STOPS:
        if number is not None:
            threading.Thread(target=service.reload, name="segbench-reload", daemon=True).start()


def _drained(service: Server, servers: Sequence[Stoppable], seconds: float, signals: "SimpleQueue[int]") -> bool:
    """Waits until what was accepted is answered, and the answers have gone; whether all were."""
    done: list[bool] = []

    def drain() -> None:
        end = time.monotonic() + seconds
        answered = service.drain()
        for server in reversed(servers):
            server.stop(max(LAST_S, end - time.monotonic()))
        done.append(answered)

    draining = threading.Thread(target=drain, name="segbench-drain", daemon=True)
    draining.start()
    while draining.is_alive():
        if _next(signals) in STOPS:
            logs.tell("stopped at once, as told twice")
            return False
    return done == [True]


def _address(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
