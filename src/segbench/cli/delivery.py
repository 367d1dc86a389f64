"""Commands that carry models to other machines, and prove them there."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.cli.groups import Json

delivery_app = typer.Typer()


@delivery_app.command()
def export(
    model: Annotated[str, typer.Argument(help="A zoo model or a folder.", show_default=False)],
    to: Annotated[str, typer.Option(help="A target of export/*.toml, or a profile FILE.toml.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The folder to make; MODEL-TARGET by default.")] = None,
    precision: Annotated[str | None, typer.Option(help="Of the convolutions; the profile's first by default.")] = None,
    json: Json = False,
) -> None:
    """Export a model for other runtimes, its dropout alive; segbench verify proves it where it runs.

    \b
    Examples:
      segbench export vnet-battery --to onnx
      segbench export vnet-battery --to openvino --precision int8 --out engines/int8
    """
    from segbench.cli.artifacts import run_export

    run_export(model, to, out, precision, json)


@delivery_app.command()
def doctor(json: Json = False) -> None:
    """Say what this machine can run: processor, memory, engines proved by a tiny inference, cards, formats, extras.

    Exits with 0 where predictions can run, with 1 where no engine works. It changes nothing and needs no network.

    \b
    Examples:
      segbench doctor
      segbench doctor --json
    """
    from segbench.cli.doctor import run_doctor

    run_doctor(json)
