"""All commands and what they take; each imports what it needs when it is called, so that `--help` is quick."""

from pathlib import Path
from typing import Annotated

import typer

from segbench import __version__
from segbench.cli.delivery import delivery_app
from segbench.cli.groups import EngineName, Json, Root, Size, Unverified, data_app, zoo_app
from segbench.cli.remote import client_app
from segbench.cli.serving import serving_app
from segbench.cli.showing import showing_app

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segment battery-electrode CT with per-voxel uncertainty, and measure how well that works.",
)
app.add_typer(data_app, name="data")
app.add_typer(zoo_app, name="zoo")
app.add_typer(client_app, name="client")
app.add_typer(showing_app)
app.add_typer(delivery_app)
app.add_typer(serving_app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"segbench {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command("eval")
def eval_(
    zoo: Annotated[str, typer.Option(help="A zoo model, or a folder that training wrote.")] = "vnet-battery",
    domain: Annotated[str, typer.Option(help="all, a name, a pattern, or several with commas.")] = "all",
    data: Annotated[
        str,
        typer.Option(
            help="battery16, battery-fib, battery-fib-paper, fibre-composite, robustness, or a manifest FILE.toml."
        ),
    ] = "battery16",
    root: Root = None,
    samples: Annotated[int, typer.Option(help="Monte-Carlo samples T; 0: no dropout.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the dropout masks: the same seed gives the same rows.")] = 0,
    engine: EngineName = "auto",
    precision: Annotated[str, typer.Option(help="f32, or bf16, int8, f16 where the engine has them.")] = "f32",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; all by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda where the engine runs on it.")] = "cpu",
    thin: Annotated[
        bool | None,
        typer.Option("--thin/--no-thin", help="A sample computes kept channels only; by default where it can."),
    ] = None,
    size: Size = 96,
    invert: Annotated[bool, typer.Option("--invert", help="Material is dark: segment the negative.")] = False,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Leave the card's calibration out, to see what it changes.")
    ] = False,
    merge: Annotated[
        str,
        typer.Option(
            metavar="A=X,B+C=Y", help="Which class of the data each of the model's is: to score it on fewer, or others."
        ),
    ] = "",
    unverified: Unverified = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for rows.json, table.md, table.csv, panels and slices; for segbench report."),
    ] = None,
    json: Json = False,
) -> None:
    """Evaluate a model: accuracy, IoU, F1, viability and uncertainty of every domain, beside baselines.

    \b
    Examples:
      segbench eval --zoo vnet-battery --domain all
      segbench eval --zoo vnet-battery --domain 'Electrode_I*,Tesla' --samples 8 --out runs/eval
      segbench eval --zoo vnet-battery --data my-scans.toml --root /data/scans
      segbench eval --zoo matphase-battery --data two-phases.toml --merge nickel=active,carbon+pore=rest
      segbench eval --zoo vnet-battery --samples 0
      segbench eval --zoo vnet-battery --uncalibrated
      segbench eval --zoo vnet-battery --domain Tesla --engine onnxruntime --no-thin
      segbench eval --zoo vnet-battery --data robustness --size 64 --samples 4
    """
    from segbench.cli.evaluation import run_eval
    from segbench.evaluate.run import Request

    request = Request(
        zoo, domain, data, root, samples, seed, engine, precision, threads, device, thin, size, out, invert, unverified,
        uncalibrated, merge,
    )  # fmt: skip
    run_eval(request, json)


@app.command()
def predict(
    scan: Annotated[str, typer.Argument(metavar="SCAN", help="A file, folder, pattern or address; docs/formats.md.")],
    out: Annotated[Path, typer.Option(help="The result, RESULT.zarr; with --format tiff a folder.")],
    zoo: Annotated[str, typer.Option(help="A zoo model, or a folder that training wrote.")] = "vnet-battery",
    samples: Annotated[int, typer.Option(help="Monte-Carlo samples T; 0: no dropout.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the dropout masks: the same seed gives the same bytes.")] = 0,
    engine: EngineName = "auto",
    precision: Annotated[str, typer.Option(help="f32, or bf16, int8, f16 where the engine has them.")] = "f32",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; all by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda where the engine runs on it.")] = "cpu",
    thin: Annotated[
        bool | None,
        typer.Option("--thin/--no-thin", help="A sample computes kept channels only; by default where it can."),
    ] = None,
    voxel_um: Annotated[
        str | None, typer.Option(metavar="UM|Z,Y,X", help="Voxel size in µm, where the file does not say it.")
    ] = None,
    raw_shape: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Of a RAW file without a page beside it; needs --raw-dtype.")
    ] = None,
    raw_dtype: Annotated[str | None, typer.Option(help="Of a RAW file's voxels, such as uint16.")] = None,
    raw_byte_order: Annotated[str, typer.Option(help="Of a RAW file: little or big.")] = "little",
    raw_offset: Annotated[int, typer.Option(help="Bytes before a RAW file's first voxel.")] = 0,
    invert: Annotated[bool, typer.Option("--invert", help="Material is dark: segment the negative.")] = False,
    keep_samples: Annotated[int, typer.Option(min=0, help="Keep the labels of so many single samples.")] = 0,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Do part I of N, from 0; the last one completes.")] = "0/1",
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS|local:N", help="Compute on a Dask scheduler's workers.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew instead of going on.")] = False,
    format_: Annotated[str, typer.Option("--format", help="zarr, or tiff for a folder of BigTIFF files.")] = "zarr",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary.")] = False,
    unverified: Unverified = False,
    json: Json = False,
) -> None:
    """Segment a scan of any size: labels, probability and uncertainty as OME-Zarr; killed, it goes on.

    Axes are (Z, Y, X). The same command goes on where it was left, and the result is the same byte for byte.

    \b
    Examples:
      segbench predict scan.tif --zoo vnet-battery --out scan.zarr
      segbench predict 'slices/*.tif' --voxel-um 0.5 --out scan.zarr --precision bf16
      segbench predict scan.h5::/entry/data --samples 32 --keep-samples 4 --out scan.zarr
      segbench predict scan.raw --raw-shape 512,512,512 --raw-dtype uint16 --out scan.zarr
      segbench predict scan.tif --out scan.zarr --shard 0/8
      segbench predict scan.tif --out scan.zarr --dask local:2
      segbench predict scan.tif --out labels --format tiff
    """
    from segbench.cli.prediction import Asked, run_predict

    raw = {"shape": raw_shape, "dtype": raw_dtype, "byte_order": raw_byte_order, "offset": raw_offset}
    asked = Asked(
        scan, zoo, out, samples, seed, engine, precision, threads, device, thin, voxel_um, raw, invert, keep_samples,
        shard, dask, restart, format_, quiet, unverified,
    )  # fmt: skip
    run_predict(asked, json)


@app.command()
def bench(
    what: Annotated[
        str, typer.Argument(metavar="[metrics|serve]", help="metrics; serve: the server; a model by default.")
    ] = "model",
    zoo: Annotated[str, typer.Option(help="A zoo model, or a folder that training wrote.")] = "vnet-battery",
    samples: Annotated[int, typer.Option(help="Monte-Carlo samples T; 0: one pass without dropout.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the dropout masks.")] = 0,
    size: Annotated[
        int | None,
        typer.Option(help="Edge of the synthetic volume in voxels, 16 to 1024; by default 160, of serve 64."),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Rounds after the warm-up; each runs every contender once.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; all by default.")] = None,
    engine: EngineName = "auto",
    precision: Annotated[str, typer.Option(help="Of the engine, or several with commas: f32,bf16.")] = "f32",
    against: Annotated[
        str,
        typer.Option(help="monai, onnxruntime or both with a comma; of serve mlserver: what else to time, in turn."),
    ] = "",
    overload_s: Annotated[
        float, typer.Option(min=0, help="Of serve: seconds at three times the capacity; 0 for none.")
    ] = 60.0,
    per_client: Annotated[int, typer.Option(help="Of serve: requests of a client in a round, at least 2.")] = 4,
    voxels: Annotated[float, typer.Option(help="Of metrics: how many are streamed, such as 1e10.")] = 1e8,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the rows, a page, a table and a picture; runs/bench, -metrics or -serve."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure speed: segbench, its bare engine, one dense pass and what else there is, interleaved in one run.

    Medians, quartiles and ratios; voxels a second; dense-pass equivalents; the share of the convolution peak, which is
    measured on the same threads; pipeline overhead; peak memory; agreement with MONAI. The volume is synthetic: the
    time of a network does not depend on what it sees.

    With `metrics` it is the metrics of an evaluation that are timed, by synthetic planes that stream through all of
    them: voxels a second and core (--threads, 1 by default), what each metric costs, and peak memory.

    With `serve` it is the server, asked over loopback as clients do, in turn with bare inference: overhead of a
    request, throughput of 32 clients, latencies of 16 beside what a queue predicts, three times its capacity. --against
    mlserver installs MLServer in an environment of its own in the cache and serves the same graph with it.

    \b
    Examples:
      segbench bench --zoo vnet-battery --samples 16
      segbench bench --against monai,onnxruntime --precision f32,bf16 --out runs/bench
      segbench bench --size 96 --samples 4 --repeats 2 --threads 4 --json
      segbench bench --zoo unet2d-composite-fast --samples 0 --precision f32,bf16,int8 --size 320
      segbench bench metrics
      segbench bench metrics --voxels 1e10 --threads 4 --out runs/metrics
      segbench bench serve --samples 4 --repeats 2 --overload-s 0
      segbench bench serve --against mlserver --overload-s 600 --out runs/serve
    """
    if what not in (known := ("model", "metrics", "serve")):
        from segbench.errors import UnknownNameError

        raise UnknownNameError("benchmark", what, known)
    if what == "metrics":
        from segbench.bench import throughput
        from segbench.cli.bench import run_metrics

        where = out or Path("runs/bench-metrics")
        asked = throughput.Request(voxels=voxels, threads=threads or 1, seed=seed, repeats=repeats, out=where)
        return run_metrics(asked, json)
    if what == "serve":
        from segbench.bench.serving.contenders import Request as ServingRequest
        from segbench.cli.bench import listed, run_serving

        wanted = ServingRequest(
            zoo=zoo, samples=samples, seed=seed, size=64 if size is None else size, repeats=repeats, threads=threads,
            engine=engine, precision=precision, against=listed(against), overload_s=overload_s,
            per_client=per_client, out=out or Path("runs/bench-serve"),
        )  # fmt: skip
        return run_serving(wanted, json)
    from segbench.bench.scene import Request
    from segbench.cli.bench import listed, run_bench

    request = Request(
        zoo=zoo, samples=samples, seed=seed, size=160 if size is None else size, repeats=repeats, threads=threads,
        engine=engine, precisions=listed(precision), against=listed(against), out=out or Path("runs/bench"),
    )  # fmt: skip
    return run_bench(request, json)


@app.command()
def train(
    recipe: Annotated[
        Path | None, typer.Argument(help="A recipe, such as train/vnet-battery.toml.", show_default=False)
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Fine-tune this model on your own --data.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="With --from: a manifest FILE.toml of labelled slices or volumes.")
    ] = None,
    root: Root = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoint, curves and model; runs/NAME by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps of the recipe's schedule.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the recipe's: a sibling model.")] = None,
    start: Annotated[
        str | None, typer.Option(help="A model to go on from, in place of the recipe's: the same network.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(min=0.001, help="Stop after so many seconds of processor time; the schedule ends with them."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; all cores by default.")] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Another batch than the recipe's; as many images are seen, in other steps."),
    ] = None,
) -> None:
    """Train a model from its recipe, or from few labels of your own; or go on where a training was interrupted.

    The folder that it writes is a model: name it after --zoo.

    \b
    Examples:
      segbench train train/vnet-battery.toml
      segbench train train/vnet-battery.toml --seed 2 --out runs/vnet-battery-2
      segbench train train/vnet-battery.toml --steps 200 --out runs/short
      segbench train my-recipe.toml --start vnet-battery --out runs/tuned
      segbench train train/matphase-unet.toml --budget 1920 --threads 1
      segbench train --from vnet-battery --data my-labels.toml --out runs/mine
      segbench eval --zoo runs/short --domain Tesla
    """
    from segbench.cli.training import run_train

    run_train(recipe, out, steps, seed, start, budget, threads, batch, from_, data, root)
