"""`segbench serve`: settings of a file and of the command line, and the server with them."""

import atexit
import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from segbench.errors import InputError, SegbenchError
from segbench.recipe import validate
from segbench.serve.settings import Settings, read_settings

NEEDS = ("fastapi", "uvicorn", "httptools", "tritonclient", "grpc", "prometheus_client")


def run_serve(config: Path | None, given: dict[str, Any]) -> bool:
    """Serves until it is told to stop; whether all that was accepted was answered.

    Args:
        config: A TOML file of settings.
        given: Of the command line, which goes over the file; None where it says nothing.
    """
    settings = settings_of(config, given)
    for package in (package for package in NEEDS if find_spec(package) is None):
        raise InputError(f"this needs {package}: pip install 'segbench[serve]'")
    from segbench.serve.run import run

    code = [1]
    atexit.register(_end, set(threading.enumerate()), code)
    try:
        good = run(settings, typer.echo)
    except SegbenchError:
        code[0] = 2
        raise
    code[0] = 0 if good else 1
    return good


def _end(before: set[threading.Thread], code: list[int]) -> None:
    """Ends the process where an engine still loads or computes, which nothing interrupts.

    Else its thread comes back to an interpreter that is no more, and the process aborts with a code of its own.
    """
    if set(threading.enumerate()) - before:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code[0])


def settings_of(config: Path | None, given: dict[str, Any]) -> Settings:
    """The file's, with what is given in their place."""
    base = (read_settings(config) if config else Settings()).model_dump()
    return validate(base | {name: value for name, value in given.items() if value is not None}, Settings, "serve")
