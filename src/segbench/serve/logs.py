"""One line of JSON for each thing that happened, through the standard logging module."""

import json
import logging
import sys
import time
import traceback
from typing import Any, TextIO

LOGGER = logging.getLogger("segbench.serve")
LONGEST = 200  # characters of what a client named


class JsonLines(logging.Formatter):
    """A record as one line of JSON: when, level, message, the `fields` given, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`; whatever a client named, it stays one line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps({name: _short(value) if name != "traceback" else value for name, value in line.items()})


def to_stream(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Sends the log of the server to a stream, standard error by default, in place of where it went before."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False


def tell(event: str, level: int = logging.INFO, *, error: BaseException | None = None, **fields: Any) -> None:  # noqa: ANN401  (what json takes)
    """Logs what happened, and the traceback of what caused it."""
    LOGGER.log(level, event, extra={"fields": fields}, exc_info=error)


def _short(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[:LONGEST] + "…"
    return round(value, 6) if isinstance(value, float) else value
