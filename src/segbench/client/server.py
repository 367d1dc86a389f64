"""Where to ask and as whom, and one request with its reply."""

import http.client
import json
import math
import ssl
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from segbench.errors import InputError, RemoteError

Part = bytes | memoryview


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        status: Of HTTP.
        headers: Names in lower case.
        body: Whole.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, where: str) -> Any:  # noqa: ANN401
        """The body as JSON.

        Raises:
            RemoteError: It is none: something else than such a server answers there.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise RemoteError(f"{where}: the answer is not JSON; is this a server of segbench?", self.status) from error


@dataclass(frozen=True)
class Server:
    """A server, and who asks it. Proxies of the environment are not used.

    Attributes:
        url: "http://HOST:PORT" or "https://…", perhaps with a path that goes before the protocol's.
        token: Sent with every request.
        timeout_s: That each step of a request may take: connecting, sending, waiting for the answer.
        authority: PEM file of who signs the server's certificate; the system's authorities by default.
        certificate: PEM file of the client's own, for mutual TLS.
        key: PEM file of its private key, where the certificate's file does not hold it.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    timeout_s: float = 300.0
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        self._parts()
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise InputError("the token has characters that no header can carry, or none at all")
        if not 0 < self.timeout_s < math.inf:
            raise InputError(f"a timeout of {self.timeout_s} s: give a positive number of seconds")

    def ask(self, method: str, path: str, body: Sequence[Part] = (), headers: Mapping[str, str] | None = None) -> Reply:
        """One request on a connection of its own.

        Args:
            method: "GET" or "POST".
            path: Below the server's URL, with a slash before it.
            body: Parts of it in order; sent as they are, not joined.
            headers: Beside the token and the length.

        Raises:
            RemoteError: The server cannot be reached or does not speak HTTP. Any reply is returned, whatever it says.
        """
        sent = {"Content-Length": str(sum(len(part) for part in body)), "Connection": "close", **(headers or {})}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        try:
            with closing(self._connection()) as connection:
                lost = _send(connection, method, self._parts()[3] + path, body, sent)
                try:
                    response = connection.getresponse()
                except (http.client.HTTPException, ConnectionError) as error:
                    raise (lost or error) from error
                got = {name.lower(): value for name, value in response.getheaders()}
                return Reply(response.status, got, response.read())
        except TimeoutError as error:
            raise RemoteError(f"{self.url}: no answer within {self.timeout_s:g} s") from error
        except ssl.SSLError as error:
            raise RemoteError(f"{self.url}: TLS failed ({error.reason or error})") from error
        except http.client.HTTPException as error:
            raise RemoteError(f"{self.url}: what answers is no HTTP, or ended too soon ({error!r})") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise RemoteError(f"{self.url}: the server closed the connection; perhaps so much is too much") from error
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RemoteError(f"{self.url}: cannot be reached ({reason})") from error

    def _connection(self) -> http.client.HTTPConnection:
        scheme, host, port, _ = self._parts()
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self.timeout_s)
        try:
            context = ssl.create_default_context(cafile=self.authority)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"authority, certificate or key cannot be used as PEM files: {error}") from error
        return http.client.HTTPSConnection(host, port, timeout=self.timeout_s, context=context)

    def _parts(self) -> tuple[str, str, int | None, str]:
        """Scheme, host, port and the path that goes before all others."""
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise InputError(f"--url {self.url}: no address: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InputError(f"{self.url}: give http://HOST:PORT or https://HOST:PORT")
        if parts.username is not None:
            raise InputError("the address holds a name or password: a token goes into a file of its own")
        return parts.scheme, parts.hostname, port, parts.path.rstrip("/")


def refused(reply: Reply, where: str) -> RemoteError:
    """The server's own line of a reply that is none of success."""
    try:
        told = json.loads(reply.body)
        said = str(told["error"])
    except (ValueError, KeyError, TypeError):
        said = http.client.responses.get(reply.status, "no reason given")
    try:
        again = max(0.0, float(reply.headers["retry-after"]))
    except (KeyError, ValueError):
        again = None
    return RemoteError(f"{where}: {' '.join(said.split())[:500]} ({reply.status})", reply.status, again)


def _send(
    connection: http.client.HTTPConnection, method: str, path: str, body: Sequence[Part], headers: Mapping[str, str]
) -> OSError | None:
    """Sends a request; a server that refuses does so before all has been read, and what it says is still there."""
    connection.connect()
    try:
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        for part in body:
            connection.send(part)
    except (BrokenPipeError, ConnectionResetError) as error:
        return error
    return None


def _no_passphrase() -> str:
    raise InputError("the client's key wants a passphrase, and nobody is there to type it: openssl pkey decrypts it")
