"""The HTTP server: a socket, and uvicorn on it in a thread of its own."""

import socket
import threading
import time
from contextlib import suppress
from importlib.util import find_spec

import uvicorn

from segbench.errors import InputError
from segbench.serve.connection import IDLE_S, Connection
from segbench.serve.guard import Guard
from segbench.serve.http import app
from segbench.serve.request import Service
from segbench.serve.settings import Settings
from segbench.serve.tls import context

START_S = 30.0
BACKLOG = 1024


class Listener:
    """A server that has started.

    Args:
        server: Of uvicorn.
        bound: The socket that it listens on.

    Attributes:
        port: That it is bound to.
    """

    def __init__(self, server: uvicorn.Server, bound: socket.socket) -> None:
        self.port: int = bound.getsockname()[1]
        self._server = server
        self._thread = threading.Thread(target=server.run, args=([bound],), name="segbench-http", daemon=True)
        self._thread.start()
        end = time.monotonic() + START_S
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise RuntimeError("the HTTP server did not start")
            time.sleep(0.005)

    def stop(self, grace: float) -> None:
        """Takes no more connections, and ends when requests are answered or after `grace` seconds.

        A second stop that gives none cuts off whoever the first one waits for.
        """
        again, self._server.should_exit = self._server.should_exit, True
        if not again:
            self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        elif not grace:
            for each in list(self._server.server_state.connections):
                with suppress(RuntimeError):  # the loop is closed
                    each.loop.call_soon_threadsafe(each.transport.abort)
        self._thread.join(grace + START_S)


def listen(service: Service, settings: Settings, guard: Guard) -> Listener:
    """Starts to answer.

    Raises:
        InputError: The address cannot be bound to, or a file of TLS not be used.
    """
    config = uvicorn.Config(
        app(service, settings, guard),
        http=Connection,
        loop="uvloop" if find_spec("uvloop") else "asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,  # else a client chooses its own address
        server_header=False,
        headers=[("server", "segbench")],
        timeout_keep_alive=IDLE_S,
        backlog=BACKLOG,
    )
    encrypted = context(settings)
    config.load()
    config.ssl = encrypted
    return Listener(uvicorn.Server(config), _bound(settings.host, settings.http_port or 0))


def _bound(host: str, port: int) -> socket.socket:
    """Raises `InputError` where another has it, or the machine does not."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server((str(address[0]), int(address[1])), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no address"
        raise InputError(f"cannot listen at {host}:{port} ({reason}); choose another with http_port") from error
