"""Who may ask, and how often: the same for both wires."""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from segbench.errors import InputError
from segbench.serve.refusal import Refusal

CLIENTS = 4096
"""That are remembered at once; whoever was silent longest is forgotten first."""
SHORTEST = 16
"""Characters of a token; what can be guessed is none."""


def read_tokens(path: Path) -> tuple[str, ...]:
    """Tokens of a file, one a line; empty lines and those that begin with # are left out.

    Raises:
        InputError: It cannot be read, has none, or one is too short.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a file of tokens, one a line: {error}") from error
    tokens = tuple(line for line in lines if line and not line.startswith("#"))
    if not tokens:
        raise InputError(f"{path}: no token in it; write one a line, such as `openssl rand -hex 32` makes")
    if any(len(token) < SHORTEST for token in tokens):
        raise InputError(f"{path}: a token is shorter than {SHORTEST} characters; `openssl rand -hex 32` makes one")
    return tokens


class Guard:
    """Checks every request before anything of it is read.

    Args:
        tokens: That open the door; none of them: everybody may ask.
        rate: Requests a second for each client; None for no limit.
        burst: Requests that a client may send at once.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        tokens: Sequence[str] = (),
        rate: float | None = None,
        burst: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._digests = tuple(_digest(token) for token in tokens)
        self._rate, self._burst, self._clock = rate, burst, clock
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def check(self, authorization: str | None, peer: str) -> str:
        """The name of the client that asks: of its token where there are tokens, else of its address.

        Args:
            authorization: The header as it came; None without one.
            peer: Address of the other end, without its port; the subject of its certificate where it showed one.

        Raises:
            Refusal: "unauthenticated".
        """
        if not self._digests:
            return peer
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip())
        # all are compared, each in constant time: how long it takes says nothing of any
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        if scheme.lower() != "bearer" or not any(found):
            raise Refusal("unauthenticated", "a token is needed: send it as the header 'Authorization: Bearer TOKEN'")
        return f"token {found.index(True) + 1}"

    def admit(self, client: str) -> None:
        """Counts an inference of a client.

        Raises:
            Refusal: "rate", with the seconds after which the next one is let in.
        """
        if self._rate is None:
            return
        now = self._clock()
        with self._lock:
            left, since = self._seen.pop(client, (float(self._burst), now))
            left = min(float(self._burst), left + (now - since) * self._rate)
            allowed = left >= 1
            self._seen[client] = (left - allowed, now)
            if len(self._seen) > CLIENTS:
                self._seen.popitem(last=False)
        if not allowed:
            wait = (1 - left) / self._rate
            raise Refusal("rate", f"more than {self._rate:g} requests a second from one client; try again", wait)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
