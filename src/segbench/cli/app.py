"""All commands and what they take; each imports what it needs when it is called, so that `--help` is quick."""

from pathlib import Path
from typing import Annotated

import typer

from segbench import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segment battery-electrode CT with per-voxel uncertainty, and measure how well that works.",
)
data_app = typer.Typer(no_args_is_help=True, help="The embedded benchmark battery16, and manifests of your own data.")
zoo_app = typer.Typer(no_args_is_help=True, help="The models that there are.")
app.add_typer(data_app, name="data")
app.add_typer(zoo_app, name="zoo")

Json = Annotated[bool, typer.Option("--json", help="Print the same as JSON to standard output.")]
Root = Annotated[Path | None, typer.Option(help="Folder that the manifest's paths start from; its own by default.")]
Size = Annotated[int, typer.Option(help="Edge of a simulated volume in voxels.")]
Seed = Annotated[int, typer.Option(help="Another seed gives other volumes of the same domains.")]


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
    data: Annotated[str, typer.Option(help="battery16, robustness, or a manifest FILE.toml.")] = "battery16",
    root: Root = None,
    samples: Annotated[int, typer.Option(help="Monte-Carlo samples T; 0: no dropout.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the dropout masks: the same seed gives the same rows.")] = 0,
    engine: Annotated[str, typer.Option(help="auto, openvino, onnxruntime, torch or torch-compiled.")] = "auto",
    precision: Annotated[str, typer.Option(help="f32, or bf16, int8, f16 where the engine has them.")] = "f32",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; all by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda where the engine runs on it.")] = "cpu",
    thin: Annotated[
        bool | None,
        typer.Option("--thin/--no-thin", help="A sample computes kept channels only; by default where it can."),
    ] = None,
    size: Size = 96,
    invert: Annotated[bool, typer.Option("--invert", help="Material is dark: segment the negative.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for rows.json, table.md, table.csv and panels.")] = None,
    json: Json = False,
) -> None:
    """Evaluate a model: accuracy, IoU, F1, viability and uncertainty of every domain, beside baselines.

    \b
    Examples:
      segbench eval --zoo vnet-battery --domain all
      segbench eval --zoo vnet-battery --domain 'Electrode_I*,Tesla' --samples 8 --out runs/eval
      segbench eval --zoo vnet-battery --data my-scans.toml --root /data/scans
      segbench eval --zoo vnet-battery --samples 0
      segbench eval --zoo vnet-battery --domain Tesla --engine onnxruntime --no-thin
      segbench eval --zoo vnet-battery --data robustness --size 64 --samples 4
    """
    from segbench.cli.evaluation import run_eval
    from segbench.evaluate.run import Request

    request = Request(
        zoo, domain, data, root, samples, seed, engine, precision, threads, device, thin, size, out, invert
    )
    run_eval(request, json)


@app.command()
def tables(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...|all]", help="Which tables; none lists them.", show_default=False),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the tables.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Compute the rows again and store them.")] = False,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the measured images; ../shared/real where it is there.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for Markdown, CSV and figures.")] = None,
    json: Json = False,
) -> None:
    """Print the tables of evaluate/tables from stored rows, or compute their rows again.

    Without --refresh nothing is computed, and nothing is written but to --out. With --refresh rows are stored in
    evaluate/results and the tables in evaluate/tables of the checkout; a run whose model or images are not here
    keeps its rows.

    \b
    Examples:
      segbench tables --list
      segbench tables carry-over
      segbench tables claims robustness --out runs/tables
      segbench tables all --refresh --root ../shared/real
    """
    from segbench.cli.tables import run_tables

    run_tables(names or [], listed, refresh, root, out, json)


@app.command()
def bench(
    zoo: Annotated[str, typer.Option(help="A zoo model, or a folder that training wrote.")] = "vnet-battery",
    samples: Annotated[int, typer.Option(help="Monte-Carlo samples T, at least 1.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the dropout masks.")] = 0,
    size: Annotated[int, typer.Option(help="Edge of the synthetic volume in voxels, 16 to 1024.")] = 160,
    repeats: Annotated[int, typer.Option(help="Rounds after the warm-up; each runs every contender once.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; all by default.")] = None,
    engine: Annotated[str, typer.Option(help="auto, openvino, onnxruntime, torch or torch-compiled.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of the engine, or several with commas: f32,bf16.")] = "f32",
    against: Annotated[
        str, typer.Option(help="monai, onnxruntime or both with a comma: what else to time, in turn with segbench.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json, bench.md, bench.csv and bench.png.")] = None,
    json: Json = False,
) -> None:
    """Measure speed: segbench, its bare engine, one dense pass and what else there is, interleaved in one run.

    Medians, quartiles and ratios; voxels a second; dense-pass equivalents; the share of the convolution peak, which is
    measured on the same threads; pipeline overhead; peak memory; agreement with MONAI. The volume is synthetic: the
    time of a network does not depend on what it sees.

    \b
    Examples:
      segbench bench --zoo vnet-battery --samples 16
      segbench bench --against monai,onnxruntime --precision f32,bf16 --out runs/bench
      segbench bench --size 96 --samples 4 --repeats 2 --threads 4 --json
    """
    from segbench.bench.scene import Request
    from segbench.cli.bench import listed, run_bench

    request = Request(
        zoo=zoo, samples=samples, seed=seed, size=size, repeats=repeats, threads=threads, engine=engine,
        precisions=listed(precision), against=listed(against), out=out,
    )  # fmt: skip
    run_bench(request, json)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as train/vnet-battery.toml.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoint, curves and model; runs/NAME by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps of the recipe's schedule.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the recipe's: a sibling model.")] = None,
) -> None:
    """Train a model from its recipe, or go on where an interrupted training stopped.

    The folder that it writes is a model: name it after --zoo.

    \b
    Examples:
      segbench train train/vnet-battery.toml
      segbench train train/vnet-battery.toml --seed 2 --out runs/vnet-battery-2
      segbench train train/vnet-battery.toml --steps 200 --out runs/short
      segbench eval --zoo runs/short --domain Tesla
    """
    from segbench.cli.training import run_train

    run_train(recipe, out, steps, seed)


@app.command()
def view(
    result: Annotated[
        Path, typer.Argument(metavar="RESULT.zarr", help="What segbench predict wrote.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The HTML file to write.", show_default=False)],
    scan: Annotated[str | None, typer.Option(help="The scan, where it is not where the result says.")] = None,
    edge: Annotated[int, typer.Option(help="Voxels that the longest edge may have, at least 16.")] = 512,
) -> None:
    """Write a result as one HTML file to look through: planes, labels, probability and uncertainty over the scan.

    It needs no network and nothing installed but a browser. It carries the finest resolution that keeps it below some
    30 MB, and says which.

    \b
    Examples:
      segbench view result.zarr --out result.html
      segbench view result.zarr --scan scans/cathode.tif --edge 256 --out result.html
    """
    from segbench.cli.view import run_view

    run_view(result, out, scan, edge)


@zoo_app.command("list")
def zoo_list(json: Json = False) -> None:
    """List the models of the zoo.

    \b
    Example:
      segbench zoo list
    """
    from segbench.cli.models import list_models

    list_models(json)


@zoo_app.command("show")
def zoo_show(
    model: Annotated[str, typer.Argument(help="A zoo model or a folder.", show_default=False)],
    json: Json = False,
) -> None:
    """Show a model's card: input, classes, dropout sites, training, limits.

    \b
    Example:
      segbench zoo show vnet-battery
    """
    from segbench.cli.models import show_model

    show_model(model, json)


@zoo_app.command("verify")
def zoo_verify(
    model: Annotated[
        str | None,
        typer.Argument(help="A zoo model or a folder; the whole zoo by default.", show_default=False),
    ] = None,
) -> None:
    """Check files against their cards, and that the graph's dropout is alive, deterministic and data.

    \b
    Examples:
      segbench zoo verify
      segbench zoo verify vnet-battery
    """
    from segbench.cli.models import verify_models

    verify_models(model)


@zoo_app.command("ranges")
def zoo_ranges(
    folder: Annotated[Path, typer.Argument(help="A model's folder, made before int8 was.")],
) -> None:
    """Measure a model's activation ranges on phantoms, which --precision int8 needs; its card and hash change.

    \b
    Examples:
      segbench zoo ranges runs/vnet-battery
    """
    from segbench.cli.models import add_ranges

    add_ranges(folder)


@zoo_app.command("add")
def zoo_add(
    folder: Annotated[Path, typer.Argument(help="A folder that training wrote.", show_default=False)],
    rows: Annotated[
        list[Path] | None, typer.Option(help="rows.json of an evaluation of it; its means go into the card.")
    ] = None,
    sibling: Annotated[
        list[Path] | None, typer.Option(help="Another seed's training of the same recipe; none may be better.")
    ] = None,
    to: Annotated[Path, typer.Option(help="Zoo to add it to.")] = Path("model_zoo"),
) -> None:
    """Copy a trained model into the zoo, with what was measured of it in its card.

    \b
    Examples:
      segbench zoo add runs/vnet-battery --rows runs/eval/rows.json
      segbench zoo add runs/vnet-battery --sibling runs/vnet-battery-2 --sibling runs/vnet-battery-3
    """
    from segbench.cli.models import add_model

    add_model(folder, rows or [], sibling or [], to)


@data_app.command("list")
def data_list(json: Json = False) -> None:
    """List the domains of battery16.

    \b
    Example:
      segbench data list
    """
    from segbench.cli.datasets import list_domains

    list_domains(json)


@data_app.command("show")
def data_show(
    domain: Annotated[str, typer.Argument(help="A domain of battery16.", show_default=False)],
    size: Size = 96,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Also write a picture of the middle slice, as PNG.")] = None,
    json: Json = False,
) -> None:
    """Show what a domain is made of and what its volume measures.

    \b
    Examples:
      segbench data show Tesla
      segbench data show Electrode_III_3 --out electrode.png
    """
    from segbench.cli.datasets import show_domain

    show_domain(domain, size, seed, out, json)


@data_app.command("make")
def data_make(
    name: Annotated[str, typer.Argument(help="battery16", show_default=False)],
    size: Size = 96,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Also write image, truth and label of every domain as TIFF.")] = None,
) -> None:
    """Make the simulated volumes now rather than on first use.

    \b
    Examples:
      segbench data make battery16
      segbench data make battery16 --size 128 --seed 7 --out volumes
    """
    from segbench.cli.datasets import make_data

    make_data(name, size, seed, out)


@data_app.command("check")
def data_check(
    manifest: Annotated[Path, typer.Argument(help="A manifest FILE.toml.", show_default=False)],
    root: Root = None,
    json: Json = False,
) -> None:
    """Prove that a manifest loads, that its splits do not overlap, and that images and labels align.

    \b
    Example:
      segbench data check my-scans.toml --root /data/scans
    """
    from segbench.cli.datasets import check_manifest

    check_manifest(manifest, root, json)
