"""Commands that show what was measured or predicted: tables, comparisons, pages to look at."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.cli.groups import Json

showing_app = typer.Typer()


@showing_app.command()
def tables(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...|all]", help="Which tables; none lists them.", show_default=False),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the tables.")] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Compute rows again that are not up to date, and store them.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Compute all rows again, up to date or not.")] = False,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the measured images; ../shared/real where it is there.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for Markdown, CSV, LaTeX and figures.")] = None,
    scale: Annotated[
        str | None,
        typer.Option(metavar="smoke|cpu|full", help="Train what is missing of the tables' methods at this scale."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Trainings side by side; as many as there are cores.")] = None,
    runs: Annotated[Path | None, typer.Option(help="Folder of the trained models; runs/STUDY-SCALE.")] = None,
    json: Json = False,
) -> None:
    """Print the tables of evaluate/tables from stored rows, or compute their rows again.

    Without --refresh nothing is computed, and nothing is written but to --out. With --refresh rows are stored in
    evaluate/results and the tables in evaluate/tables of the checkout; a run keeps its rows where they are up to date
    (evaluate/README.md says what decides), and where its model or images are not here.

    The tables matphase-* are of trained methods. With --scale what is missing of them is trained, each training in a
    process with one thread: smoke in minutes, to see that all runs; cpu with 32 minutes of processor time for each
    network; full with the paper's epochs. Interrupted, the same command goes on. docs/matphase.md

    \b
    Examples:
      segbench tables --list
      segbench tables carry-over
      segbench tables claims robustness --out runs/tables
      segbench tables sandia-viability
      segbench tables all --refresh --root ../shared/real
      segbench tables matphase-1
      segbench tables matphase-1 matphase-2 matphase-3 matphase-5 --scale smoke --out runs/tables
    """
    from segbench.cli.study import scaled
    from segbench.cli.tables import run_tables

    run_tables(names or [], listed, refresh, root, out, json, force, scaled(scale, jobs, runs))


@showing_app.command()
def compare(
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="A run, a benchmark, or NAME@VERSION.", show_default=False)
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Likewise: what is asked about.", show_default=False)],
    repeat: Annotated[
        list[str] | None, typer.Option(metavar="RUN", help="A further run of BASE with another seed: two or more.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help="What a score may get worse by, whatever its noise."),
    ] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Compare wall time too, on one machine.")] = False,
    releases: Annotated[
        Path | None, typer.Option(help="Folder of stored releases; evaluate/releases by default.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML to write: a test case per score and domain.")] = None,
    markdown: Annotated[str | None, typer.Option(metavar="FILE|-", help="Markdown; - for standard output.")] = None,
    json: Json = False,
) -> None:
    """Gate a release: is NEW worse than BASE in accuracy, calibration or uncertainty of any domain?

    BASE and NEW are folders of segbench eval --out (or their rows.json), folders of segbench bench --out, or stored
    releases. With the same model and masks, what differs is judged by what the precision may cost; else by noise, which
    --repeat measures. docs/compare.md. Exit code 0: nothing is worse; 1: a regression; 2: they cannot be compared.

    \b
    Examples:
      segbench compare vnet-battery@0.3.1 runs/eval
      segbench compare runs/f32 runs/int8 --allow ece_truth=0.001 --junit compare.xml
      segbench compare runs/old runs/new --repeat runs/old-1 --repeat runs/old-2 --markdown compare.md
      segbench compare runs/old-bench runs/new-bench
    """
    from segbench.cli.compare import Asked, run_compare

    asked = Asked(base, new, repeat or [], allow or [], speed, releases, junit, markdown, json)
    if not run_compare(asked):
        raise typer.Exit(1)


@showing_app.command()
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


@showing_app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders that segbench eval --out wrote.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="The HTML file to write.", show_default=False)],
) -> None:
    """Write evaluations as one HTML page to look at: tables, slices, curves, worst places, where it all came from.

    It needs no network and nothing installed but a browser, which also prints it. Several runs on the same volumes
    stand side by side, with their differences; runs on other data stand apart.

    \b
    Examples:
      segbench eval --zoo vnet-battery --domain all --out runs/battery
      segbench report runs/battery --out battery.html
      segbench report runs/battery runs/battery-twin --out both.html
    """
    from segbench.cli.report import run_report

    run_report(runs, out)
