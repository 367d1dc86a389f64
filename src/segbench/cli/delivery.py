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
def verify(
    artifact: Annotated[Path, typer.Argument(help="A folder of segbench export; with --liveness any ONNX file.")],
    device: Annotated[str, typer.Option(help="cpu, or cuda for the parts that run on either.")] = "cpu",
    scored: Annotated[
        bool, typer.Option("--accuracy/--no-accuracy", help="Score on battery16, too: some minutes.")
    ] = True,
    liveness: Annotated[
        bool, typer.Option("--liveness", help="Is the dropout of an ONNX model alive under ONNX Runtime?")
    ] = False,
    shape: Annotated[
        list[str] | None, typer.Option(metavar="NAME=1,1,64,64,64", help="With --liveness: an input's shape.")
    ] = None,
    json: Json = False,
) -> None:
    """Prove on this machine that an exported model still is that model; predict and eval ask for the record.

    Masks bit for bit, outputs against PyTorch's, dropout alive, accuracy and calibration on battery16. Writes
    verify.json beside the artifact. Exit code 0: passed; 1: a check failed, or no part could be run here; 2: no
    artifact. With --liveness 0: alive; 1: not; 2: the model cannot be run.

    \b
    Examples:
      segbench verify vnet-battery-onnx
      segbench verify vnet-battery-tensorrt --device cuda
      segbench verify --liveness any.onnx
      segbench verify --liveness any.onnx --shape image=1,3,256,256
    """
    if liveness:
        from segbench.cli.liveness import run_liveness

        good = run_liveness(artifact, shape or [], json)
    else:
        from segbench.cli.proof import run_verify

        good = run_verify(artifact, device, scored, json)
    if not good:
        raise typer.Exit(1)


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


@delivery_app.command()
def deploy(
    model: Annotated[str, typer.Argument(help="A zoo model or a folder.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The folder to make.", show_default=False)],
    to: Annotated[
        list[str] | None, typer.Option(help="A target of segbench export, once or more; by default openvino, onnx.")
    ] = None,
    wheel: Annotated[Path | None, typer.Option(help="A wheel of this segbench that goes along.")] = None,
    wheelhouse: Annotated[
        bool, typer.Option("--wheelhouse", help="Fetch all that it needs, too: the machine has no network.")
    ] = False,
    json: Json = False,
) -> None:
    """Make one folder to carry to a scanner's workstation: artifacts, settings, a systemd unit, checksums, a README.

    Only --wheelhouse asks for a network. The wheels that it fetches are for machines like this one.

    \b
    Examples:
      segbench deploy vnet-battery --out site
      segbench deploy vnet-battery --out site --to onnx
      segbench deploy vnet-battery --out site --wheel dist/segbench-0.1.0-py3-none-any.whl --wheelhouse
    """
    from segbench.cli.artifacts import run_deploy

    run_deploy(model, out, to or [], wheel, wheelhouse, json)
