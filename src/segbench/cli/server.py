"""`segbench serve`: settings of a file and of the command line, and the server with them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from segbench.errors import InputError
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

    return run(settings, typer.echo)


def settings_of(config: Path | None, given: dict[str, Any]) -> Settings:
    """The file's, with what is given in their place."""
    base = (read_settings(config) if config else Settings()).model_dump()
    return validate(base | {name: value for name, value in given.items() if value is not None}, Settings, "serve")
