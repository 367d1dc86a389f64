"""The command that serves models."""

from pathlib import Path
from typing import Annotated

import typer

serving_app = typer.Typer()


@serving_app.command()
def serve(
    zoo: Annotated[
        str | None,
        typer.Option(metavar="MODEL[,MODEL]", help="Zoo models, or folders below --root; vnet-battery by default."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="All settings, as in serve/server.toml; options go over it."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="127.0.0.1 by default; others only with --token-file or --client-ca.")
    ] = None,
    http_port: Annotated[int | None, typer.Option(help="8000 by default; 0: any free one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="8001 by default; 0: any free one.")] = None,
    no_http: Annotated[bool, typer.Option("--no-http", help="gRPC alone.")] = False,
    no_grpc: Annotated[bool, typer.Option("--no-grpc", help="HTTP alone.")] = False,
    root: Annotated[list[Path] | None, typer.Option(help="A folder that models may be read below.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="One token a line; clients send one as Bearer.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file of the server's certificate, for TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    client_ca: Annotated[Path | None, typer.Option(help="PEM file of who signs clients' certificates.")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, openvino, onnxruntime, torch, tensorrt and others.")] = None,
    precision: Annotated[str | None, typer.Option(help="f32, or bf16, int8, f16 where the engine has them.")] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads; all by default.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, or cuda where the engine runs on it.")] = None,
    samples: Annotated[int | None, typer.Option(help="Monte-Carlo samples of a request that does not say.")] = None,
    max_batch: Annotated[int | None, typer.Option(help="Most images that run as one batch.")] = None,
    max_delay_ms: Annotated[float | None, typer.Option(help="That a request waits for others to run with.")] = None,
    max_queue: Annotated[
        int | None, typer.Option(help="Requests that may wait; the next is told to come back.")
    ] = None,
    timeout_s: Annotated[float | None, typer.Option(help="That a request may wait and run.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second for each client; no limit by default.")] = None,
    control: Annotated[bool, typer.Option("--control", help="Let clients load and unload models.")] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Serve artifacts that segbench verify has not passed.")
    ] = False,
) -> None:
    """Serve models to clients of the Open Inference Protocol v2 (KServe, Triton), over HTTP and gRPC.

    Says one line with its addresses when it is ready; the log, a line of JSON each, goes to standard error. SIGHUP
    loads the models anew; SIGTERM and Ctrl-C let it finish what it accepted, and it exits with 0, or with 1 where that
    took longer than drain_s.

    \b
    Examples:
      segbench serve --zoo vnet-battery
      segbench serve --zoo vnet-battery,matphase-battery --http-port 9000 --no-grpc
      segbench serve --config server.toml --threads 4
      segbench serve --host 0.0.0.0 --token-file tokens.txt --certificate server.pem --key server.key
      segbench serve --zoo models/mine --root models --max-batch 16 --max-delay-ms 2
    """
    from segbench.cli.server import run_serve

    given = {
        "models": zoo.split(",") if zoo else None, "host": host, "roots": root or None, "token_file": token_file,
        "http_port": False if no_http else http_port, "grpc_port": False if no_grpc else grpc_port,
        "certificate": certificate, "key": key, "client_ca": client_ca, "engine": engine, "precision": precision,
        "threads": threads, "device": device, "samples": samples, "max_batch": max_batch, "max_delay_ms": max_delay_ms,
        "max_queue": max_queue, "timeout_s": timeout_s, "rate": rate, "control": control or None,
        "unverified": unverified or None,
    }  # fmt: skip
    if not run_serve(config, given):
        raise typer.Exit(1)
