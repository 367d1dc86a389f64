"""Commands that ask a server, `segbench client …`."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.cli.groups import Json

client_app = typer.Typer(no_args_is_help=True, help="Ask a server that segbench serve has started.")
Url = Annotated[str, typer.Option(help="Of the server: http://HOST:PORT or https://HOST:PORT.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File whose first line is the token; else SEGBENCH_TOKEN of the environment.")
]
Authority = Annotated[Path | None, typer.Option(help="PEM file of who signs the server's certificate.")]
Certificate = Annotated[Path | None, typer.Option(help="PEM file of your own certificate, for mutual TLS.")]
Key = Annotated[Path | None, typer.Option(help="PEM file of its private key.")]
LOCAL = "http://127.0.0.1:8000"


@client_app.command("infer")
def client_infer(
    scan: Annotated[str, typer.Argument(metavar="SCAN", help="A file, folder, pattern or address; docs/formats.md.")],
    out: Annotated[Path, typer.Option(help="FILE.npz, or a folder for TIFF files.", show_default=False)],
    url: Url = LOCAL,
    model: Annotated[str, typer.Option(help="One that the server has; segbench client status lists them.")] = (
        "vnet-battery"
    ),
    model_version: Annotated[str, typer.Option(help="Of it; the newest by default.")] = "",
    samples: Annotated[int | None, typer.Option(min=0, help="Monte-Carlo samples T; the server's by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the dropout masks: the same seed gives the same bytes.")] = 0,
    outputs: Annotated[
        str,
        typer.Option(
            help="Names with commas: labels, probability, entropy, mutual_information, probabilities, samples."
        ),
    ] = "",
    invert: Annotated[bool, typer.Option("--invert", help="Material is dark: segment the negative.")] = False,
    voxel_um: Annotated[
        str | None, typer.Option(metavar="UM|Z,Y,X", help="Voxel size in µm, where the file does not say it.")
    ] = None,
    raw_shape: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Of a RAW file without a page beside it; needs --raw-dtype.")
    ] = None,
    raw_dtype: Annotated[str | None, typer.Option(help="Of a RAW file's voxels, such as uint16.")] = None,
    token_file: TokenFile = None,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the server, at each step.")] = 300.0,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds for which to ask a busy server again, when it says to.")
    ] = 0.0,
    json: Json = False,
) -> None:
    """Segment an image on a server; it is sent whole, so scans beyond the server's limit are for segbench predict.

    An .npz file holds the outputs by name and `answer`, what the server said, as JSON. A folder gets a TIFF file for
    each output, of `samples` and `probabilities` for each sample and class, and answer.json.

    \b
    Examples:
      segbench client infer tile.tif --out tile.npz
      segbench client infer tile.tif --out tile --outputs labels,entropy --samples 32 --seed 1
      segbench client infer tile.npy --out tile.npz --url https://scanner:8000 --token-file token --wait 60
    """
    from segbench.cli.asking import Asked, run_infer, server

    raw = {"shape": raw_shape, "dtype": raw_dtype}
    there = server(url, token_file, timeout, authority, certificate, key)
    asked = Asked(scan, out, model, model_version, samples, seed, outputs, invert, voxel_um, raw, wait)
    run_infer(asked, there, json)


@client_app.command("status")
def client_status(
    url: Url = LOCAL,
    token_file: TokenFile = None,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the server, at each step.")] = 10.0,
    json: Json = False,
) -> None:
    """Say whether a server is ready, and which models it has.

    Exit code 0: ready; 1: it answers and is not ready; 2: it cannot be asked.

    \b
    Examples:
      segbench client status
      segbench client status --url https://scanner:8000 --token-file token --json
    """
    from segbench.cli.asking import run_status, server

    if not run_status(server(url, token_file, timeout, authority, certificate, key), json):
        raise typer.Exit(1)
