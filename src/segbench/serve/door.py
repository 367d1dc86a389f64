"""What every HTTP request passes: who asks is known before anything is read, and every error has one form."""

import asyncio
import logging
import math
import re
import uuid
from collections.abc import Awaitable, Callable

from pydantic_core import to_json

from segbench.serve.body import Gone, Message, Receive, Scope, Send, header
from segbench.serve.guard import Guard
from segbench.serve.refusal import HTTP, Refusal

logger = logging.getLogger("segbench.serve")
ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
OPEN = ("/v2/health/live", "/v2/health/ready")
"""Asked by probes, which have no token; the answer is one bit."""
Headers = list[tuple[bytes, bytes]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]


class Door:
    """ASGI middleware: request id, origin, token, errors.

    Args:
        app: What stands behind.
        guard: Who may ask.
        origins: Of web pages that may ask; "*" for all.
    """

    def __init__(self, app: ASGI, guard: Guard, origins: tuple[str, ...]) -> None:
        self.app, self.guard, self.origins = app, guard, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":  # starting and stopping
            await self.app(scope, receive, send)
            return
        given = _given_id(scope)
        state = scope.setdefault("state", {})
        state["id"] = given
        added: Headers = [(b"x-request-id", given.encode())]
        started = False

        async def tagged(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        try:
            if await self._preflight(scope, added, tagged):
                return
            if scope["path"] not in OPEN:
                state["client"] = self.guard.check(header(scope, "authorization") or None, _peer(scope))
            await self.app(scope, receive, tagged)
        except Gone:
            pass
        except asyncio.CancelledError:  # the server ends before it is answered
            if started:
                raise
            await refuse(Refusal("busy", "the server has stopped", 1.0), tagged)
        except Refusal as refusal:
            logger.info(
                "refused", extra={"fields": _fields(scope, given) | {"kind": refusal.kind, "why": str(refusal)}}
            )
            if not started:
                await refuse(refusal, tagged)
        except Exception:
            logger.exception("internal error", extra={"fields": _fields(scope, given)})
            if not started:
                await refuse(Refusal("internal", f"internal error, request {given}"), tagged)

    async def _preflight(self, scope: Scope, added: Headers, send: Send) -> bool:
        """Whether it was a browser's question for permission, and that is answered.

        A page can send a POST to a server on loopback without asking: hence the check of every request.
        """
        origin = header(scope, "origin")
        if not origin:
            return False
        if origin not in self.origins and "*" not in self.origins:
            raise Refusal("forbidden", "web pages of this origin may not ask; see allow_origin")
        added += [
            (b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin"),
            (b"access-control-expose-headers", b"inference-header-content-length, retry-after, x-request-id"),
        ]  # fmt: skip
        if scope["method"] != "OPTIONS" or not header(scope, "access-control-request-method"):
            return False
        allowed = b"authorization, content-type, content-encoding, inference-header-content-length, x-request-id"
        headers = [(b"access-control-allow-methods", b"GET, POST"), (b"access-control-allow-headers", allowed)]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return True


def error_body(message: str) -> bytes:
    """The one form of every error."""
    return to_json({"error": message})


def error_headers(refusal: Refusal) -> dict[str, str]:
    """That go with a refusal beside its body's type and length."""
    headers = {}
    if refusal.kind in ("busy", "rate"):
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after or 0)))
    if refusal.kind == "unauthenticated":
        headers["www-authenticate"] = "Bearer"
    if refusal.kind == "unsupported":
        headers["accept-encoding"] = "gzip, deflate"
    return headers


async def refuse(refusal: Refusal, send: Send) -> None:
    """Sends a refusal."""
    body = error_body(str(refusal))
    headers = error_headers(refusal) | {"content-type": "application/json", "content-length": str(len(body))}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": HTTP[refusal.kind], "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _fields(scope: Scope, given: str) -> dict[str, str]:
    """What the log says of a request that was not answered."""
    return {"id": given, "client": _peer(scope), "method": scope["method"], "path": scope["path"]}


def _given_id(scope: Scope) -> str:
    """The client's own where it is harmless in a log, else a new one."""
    found = [value for key, value in scope["headers"] if key == b"x-request-id"]
    text = found[0].decode("latin-1") if len(found) == 1 else ""
    return text if ID.fullmatch(text) else uuid.uuid4().hex


def _peer(scope: Scope) -> str:
    """The certificate's subject, or else the address."""
    return scope["state"].get("peer") or (scope.get("client") or ("unknown",))[0]
