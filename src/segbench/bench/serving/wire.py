"""One client's connection: prepared bytes out, an answer in, as cheaply as Python can.

The clients share the cores with the server that they measure, so nothing is parsed but a status and a length, and
every answer is received into the same memory.
"""

import contextlib
import select
import socket
from typing import Any, Literal, Protocol

from segbench.bench.serving.payload import METHOD

Way = Literal["http", "grpc"]
HOST = "127.0.0.1"
OK, BUSY, LATE, LOST = 200, 503, 504, 0
"""Statuses; gRPC's are told as those of HTTP. LOST: no answer came."""
PIECE = 2**20
HEAD = 2**16  # bytes of headers, at most


class Asker(Protocol):
    """A client with one connection."""

    headers: dict[str, str]

    def ask(self) -> int:
        """Sends the request, takes all of the answer, and says its status."""
        ...

    def body(self) -> bytes:
        """Of the last answer."""
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...


def asker(way: Way, port: int, request: bytes, timeout_s: float) -> Asker:
    """A client of one kind, not connected yet."""
    return HttpAsker(port, request, timeout_s) if way == "http" else GrpcAsker(port, request, timeout_s)


class HttpAsker:
    """HTTP/1.1 that is kept alive; connected when it is first needed, and again after an error."""

    def __init__(self, port: int, request: bytes, timeout_s: float) -> None:
        self.headers: dict[str, str] = {}
        self._port, self._request, self._timeout_s = port, request, timeout_s
        self._socket: socket.socket | None = None
        self._memory, self._length = bytearray(PIECE), 0

    def ask(self) -> int:
        """See `Asker`."""
        try:
            if self._socket is not None and _dropped(self._socket):
                self.close()
            if self._socket is None:
                self._socket = socket.create_connection((HOST, self._port), self._timeout_s)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # a server that refuses before it has read all may have answered already
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._socket.sendall(self._request)
            status = self._receive(self._socket)
        except (OSError, ValueError):
            self.close()
            return LOST
        if self.headers.get("connection", "").lower() == "close":
            self.close()
        return status

    def _receive(self, connection: socket.socket) -> int:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(HEAD)
            if not piece or len(head) > HEAD + PIECE:
                raise ConnectionResetError
            head += piece
        text, _, begun = head.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._length = int(self.headers.get("content-length", "0"))
        if self._length > len(self._memory):
            self._memory = bytearray(self._length)
        view, at = memoryview(self._memory), len(begun)
        view[:at] = begun
        while at < self._length:
            got = connection.recv_into(view[at : self._length])
            if not got:
                raise ConnectionResetError
            at += got
        return int(first.split(" ", 2)[1])

    def body(self) -> bytes:
        """See `Asker`."""
        return bytes(self._memory[: self._length])

    def close(self) -> None:
        """See `Asker`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _dropped(connection: socket.socket) -> bool:
    """Whether a server has closed a connection that was idle for long, as every client looks before it asks again."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(0))  # between two requests there is nothing to be read but the end


class GrpcAsker:
    """gRPC over a connection of its own; messages go and come as bytes."""

    def __init__(self, port: int, request: bytes, timeout_s: float) -> None:
        import grpc

        self.headers: dict[str, str] = {}
        limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(f"{HOST}:{port}", [*limits, ("grpc.use_local_subchannel_pool", 1)])
        self._call: Any = self._channel.unary_unary(METHOD)
        self._error: type[Exception] = grpc.RpcError
        codes = grpc.StatusCode
        self._statuses = {codes.UNAVAILABLE: BUSY, codes.RESOURCE_EXHAUSTED: BUSY, codes.DEADLINE_EXCEEDED: LATE}
        self._request, self._timeout_s, self._body = request, timeout_s, b""

    def ask(self) -> int:
        """See `Asker`."""
        try:
            self._body = self._call(self._request, timeout=self._timeout_s)
        except self._error as error:
            return self._statuses.get(error.code(), LOST)  # type: ignore[attr-defined]
        return OK

    def body(self) -> bytes:
        """See `Asker`."""
        return self._body

    def close(self) -> None:
        """See `Asker`."""
        self._channel.close()
