"""What can go wrong for a user, as a tree.

    SegbenchError
    ├── InputError            something the user gave cannot be used          (also ValueError)
    │   └── UnknownNameError  a domain, model or engine that does not exist   (also LookupError)
    ├── OutputError           a result cannot be written                      (also OSError)
    ├── EngineError           an engine is missing or refuses                 (also RuntimeError)
    └── RemoteError           a server cannot be reached, or refuses          (also ConnectionError)

Every message is one line: what was wrong, where, and what to do. The command line catches `SegbenchError` in one
place, prints that line and exits with 2; anything else is a bug and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class SegbenchError(Exception):
    """Root of everything that a user can cause."""


class InputError(SegbenchError, ValueError):
    """Something the user gave cannot be used."""


class UnknownNameError(InputError, LookupError):
    """A name that is not known; the message lists the names that are.

    Args:
        kind: What the name should have named, such as "domain".
        name: What was asked for.
        known: The names that there are.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}")


class OutputError(SegbenchError, OSError):
    """A result cannot be written where the user wants it."""


class EngineError(SegbenchError, RuntimeError):
    """An inference engine is missing, or refuses what it was asked."""


class RemoteError(SegbenchError, ConnectionError):
    """A server cannot be reached, does not answer as it should, or refuses.

    Args:
        message: What was said, and by whom.
        status: Of HTTP; None where no answer came.
        retry_after: Seconds after which the server may be asked again; None where it does not say.
    """

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
