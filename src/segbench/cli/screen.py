"""What all commands print with: results to standard output, progress and notes to standard error."""

import json
import math
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

NOTES = Console(stderr=True, highlight=False)


def results() -> Console:
    """Standard output; wide enough for a table where nobody looks at the width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def progress_bar() -> Progress:
    """A bar on standard error that vanishes when done; nothing where standard error is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=NOTES,
        transient=True,
        disable=not NOTES.is_terminal,
    )


def print_json(value: Any) -> None:  # noqa: ANN401
    """JSON to standard output; NaN as null."""
    print(json.dumps(_plain(value), indent=1, allow_nan=False))  # noqa: T201


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
