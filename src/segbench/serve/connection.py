"""One client's connection, as uvicorn keeps it, with the limits that uvicorn does not have."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from segbench.serve.body import BYTES_A_SECOND
from segbench.serve.door import error_body

HEAD_BYTES = 2**15
"""Of a request's address and headers together; also of trailers and whatever else is between bodies."""
HEAD_COUNT = 100
"""Headers."""
HEAD_S = 15.0
"""That they may take."""
LINGER_S = 15.0
"""That a body may go on after its answer: clients read what was wrong only when they have sent all."""
WRITE_BYTES = 2**21
"""Of an answer that may wait in memory for the client to take them."""
STALL_S = 30.0
"""That it may take for most of these."""
IDLE_S = 75
"""Between two requests of a connection."""
CONNECTIONS = 512
"""At once."""


class Connection(HttpToolsProtocol):
    """See the limits above; whoever goes beyond is told in JSON where that is still possible."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(WRITE_BYTES)
        self._came = self._head = self._count = 0
        self._moved = self._inside = self._last = False
        self._reason = (400, "this is not HTTP/1.1")
        self._timer: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self.app_state = {**self.app_state, "peer": _subject(transport)}
        self._await_head()
        if len(self.connections) > CONNECTIONS:
            self._refuse(503, "too many connections; try again")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left, or was sent away."""
        for timer in (self._timer, self._linger, self._stall):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came; the parser keeps those of an unfinished header, which must not grow without end."""
        if self.transport.is_closing():
            return
        self._moved = False
        super().data_received(data)
        self._came = 0 if self._moved else self._came + len(data)
        if self._came > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"the headers have more than {HEAD_BYTES} bytes")
        if not self._inside and self._timer is None:
            self._await_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._moved, self._head, self._count = True, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of its address."""
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._count += 1
        self._measure(len(name) + len(value))
        if not self._inside:  # nobody asks for trailers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The body begins."""
        self._moved = self._inside = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().on_headers_complete()
        cycle: Any = self.cycle
        if cycle is not None and not cycle.keep_alive:
            # closed under a body that still comes, the connection is reset, and who sends does not read what was wrong
            self._last = cycle.keep_alive = True

    def on_body(self, body: bytes) -> None:
        """A part of it."""
        self._moved = True
        sink = self.cycle.scope["state"].get("sink")
        if sink is None or self.cycle.body or self.cycle.response_complete:  # what waits there came before
            super().on_body(body)
        else:
            sink(body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        self._moved, self._inside = True, False
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        super().on_message_complete()
        cycle: Any = self.cycle
        if self._last and cycle.response_complete:
            self.transport.close()
        elif self._last:
            cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """All of an answer is written, to the client or to memory."""
        super().on_response_complete()
        if self.transport.is_closing():
            left = self.transport.get_write_buffer_size() / BYTES_A_SECOND
            self.loop.call_later(LINGER_S + left, self.transport.abort)  # else who does not read is waited for for ever
        elif self._inside and self.cycle.response_complete:  # else the body is of the next request
            self._linger = self.loop.call_later(LINGER_S, self.transport.abort)

    def pause_writing(self) -> None:
        """As much waits for the client as may; whatever is to be written next waits for it, too."""
        super().pause_writing()
        self._stall = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It took most of that."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came after an answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """What the parser did not take."""
        self._refuse(*self._reason)

    def _measure(self, size: int) -> None:
        self._head += size
        if self._head > HEAD_BYTES or self._count > HEAD_COUNT:
            self._reason = (431, f"more than {HEAD_COUNT} headers, or {HEAD_BYTES} bytes of them")
            raise ValueError  # stops the parser

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_S, self._late)

    def _late(self) -> None:
        self._timer = None
        if self._inside or self.transport.is_closing():
            return
        cycle: Any = self.cycle  # None before the first
        if cycle is not None and not cycle.response_complete:
            self._await_head()  # of the next request, which waits for this one's answer
        elif cycle is None or self._came:
            self._refuse(408, "the headers come too slowly")

    def _refuse(self, status: int, message: str) -> None:
        """Says why and closes; in the middle of another answer nothing can be said."""
        cycle: Any = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.abort()
            return
        body = error_body(message)
        lines = [STATUS_LINE[status].rstrip()]
        lines += [name + b": " + value for name, value in self.server_state.default_headers]
        lines += [b"content-type: application/json", b"content-length: %d" % len(body), b"connection: close"]
        if status == 503:
            lines.append(b"retry-after: 1")
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.close()
        self.loop.call_later(LINGER_S, self.transport.abort)


def _subject(transport: asyncio.Transport) -> str:
    """Of the certificate that the client showed; empty without one."""
    tls: Any = transport.get_extra_info("ssl_object")
    shown = tls.getpeercert() if tls is not None else None
    names = shown.get("subject", ()) if shown else ()
    return ",".join(f"{key}={value}" for part in names for key, value in part)
