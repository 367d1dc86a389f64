"""Why a request got no answer: one line for the client, a status on both wires."""

from typing import Literal

from segbench.errors import SegbenchError

Kind = Literal[
    "invalid", "unauthenticated", "forbidden", "unknown", "too large", "unsupported", "slow", "rate", "busy", "late",
    "cancelled", "internal",
]  # fmt: skip
HTTP: dict[Kind, int] = {
    "invalid": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "unknown": 404,
    "slow": 408,
    "too large": 413,
    "unsupported": 415,
    "rate": 429,
    "cancelled": 499,
    "internal": 500,
    "busy": 503,
    "late": 504,
}
GRPC: dict[Kind, str] = {
    "invalid": "INVALID_ARGUMENT",
    "unauthenticated": "UNAUTHENTICATED",
    "forbidden": "PERMISSION_DENIED",
    "unknown": "NOT_FOUND",
    "slow": "DEADLINE_EXCEEDED",
    "too large": "RESOURCE_EXHAUSTED",
    "unsupported": "UNIMPLEMENTED",
    "rate": "RESOURCE_EXHAUSTED",
    "cancelled": "CANCELLED",
    "internal": "INTERNAL",
    "busy": "UNAVAILABLE",
    "late": "DEADLINE_EXCEEDED",
}
"""Names in `grpc.StatusCode`."""


class Refusal(SegbenchError):  # noqa: N818  (a server that refuses has not failed)
    """A request that is not answered.

    Args:
        kind: Decides the status on either wire.
        message: One line that says what was wrong and what to do; never a path, a stack or what another client sent.
        retry_after: Seconds after which it may be worth trying again; with "busy" and "rate".
    """

    def __init__(self, kind: Kind, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind, self.retry_after = kind, retry_after
