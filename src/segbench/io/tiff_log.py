"""What tifffile only logs: kept from the terminal, and its errors collected, since a broken file is one of them."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Tags that do not say how to read voxels: maker, model, software, date, author, host; and private ones.
IDLE_TAGS = (271, 272, 305, 306, 315, 316)
PRIVATE_TAGS = 32768


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Yields a list that fills with what tifffile logs as an error in this thread."""
    problems: list[str] = []
    handler = _Collector(problems)
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield problems
    finally:
        logger.removeHandler(handler)


def first(problems: list[str]) -> str:
    """The first of them, short enough for a message."""
    return " ".join(problems[0].split())[:200] if problems else "it has no pages"


class _Collector(logging.Handler):
    def __init__(self, problems: list[str]) -> None:
        super().__init__()
        self.problems, self.thread_id = problems, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        tag = re.search(r"TiffTag (\d+) @", message)
        idle = tag is not None and (int(tag[1]) in IDLE_TAGS or int(tag[1]) >= PRIVATE_TAGS)
        if record.levelno >= logging.ERROR and not idle and record.thread == self.thread_id:
            self.problems.append(message)
