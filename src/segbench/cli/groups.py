"""Commands that come in groups, `segbench zoo …` and `segbench data …`, and the options that all share."""

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(no_args_is_help=True, help="The embedded, simulated data sets, and manifests of your own.")
zoo_app = typer.Typer(no_args_is_help=True, help="The models that there are.")

EngineName = Annotated[
    str, typer.Option(help="auto, openvino, onnxruntime, torch, torch-compiled, tensorrt or tensorrt-rtx.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the same as JSON to standard output.")]
Root = Annotated[Path | None, typer.Option(help="Folder that the manifest's paths start from; its own by default.")]
Size = Annotated[int, typer.Option(help="Edge of a simulated volume in voxels.")]
Unverified = Annotated[bool, typer.Option("--unverified", help="Run an artifact that segbench verify has not passed.")]
Seed = Annotated[int, typer.Option(help="Another seed gives other volumes of the same domains.")]


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
    """Check files against their cards, and that the graph is PyTorch's network, deterministic, its dropout alive.

    Exit code 1 where a check failed.

    \b
    Examples:
      segbench zoo verify
      segbench zoo verify vnet-battery
    """
    from segbench.cli.models import verify_models

    if not verify_models(model):
        raise typer.Exit(1)


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


@zoo_app.command("reference")
def zoo_reference(
    folder: Annotated[Path, typer.Argument(help="A model's folder, made before references were.")],
) -> None:
    """Write what PyTorch says of a small scan, which segbench verify compares with; the model's hash stays.

    \b
    Examples:
      segbench zoo reference runs/vnet-battery
    """
    from segbench.cli.models import add_reference

    add_reference(folder)


@zoo_app.command("seams")
def zoo_seams(
    folder: Annotated[Path, typer.Argument(help="A model's folder.")],
) -> None:
    """Measure how much a model's answer depends on where tiles end, and write it into its card.

    \b
    Examples:
      segbench zoo seams runs/vnet-battery
    """
    from segbench.cli.models import measure_seams

    measure_seams(folder)


@zoo_app.command("conformal")
def zoo_conformal(
    folder: Annotated[Path, typer.Argument(help="A model's folder.")],
    blocks: Annotated[int, typer.Option(min=1, help="How many simulated blocks to fit on.")] = 200,
    size: Annotated[int, typer.Option(help="Edge of a block in voxels.")] = 64,
    engine: EngineName = "auto",
) -> None:
    """Fit an interval of the phase fraction and two masks, and write them into a model's card; its hash stays.

    On simulated blocks of the domains that it was trained on, at seeds that nothing else uses; some minutes. The blocks
    are kept in the cache, so that an interrupted fit does not make them again.

    \b
    Examples:
      segbench zoo conformal runs/vnet-battery
      segbench zoo conformal runs/vnet-battery --blocks 400 --size 96
    """
    from segbench.cli.models import fit_conformal

    fit_conformal(folder, blocks, size, engine)


@zoo_app.command("foreign")
def zoo_foreign(
    folder: Annotated[Path, typer.Argument(help="A model's folder.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe that it was trained with; one of the project's is found by the card.")
    ] = None,
) -> None:
    """Fit what tells foreign input to a model's training scans, for the score in eval and predict; its hash stays.

    \b
    Examples:
      segbench zoo foreign runs/vnet-battery
      segbench zoo foreign runs/mine --recipe mine.toml
    """
    from segbench.cli.models import fit_foreign

    fit_foreign(folder, recipe)


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


@zoo_app.command("store")
def zoo_store(
    model: Annotated[str, typer.Argument(help="A zoo model or a folder.", show_default=False)],
    rows: Annotated[
        list[str], typer.Option(metavar="RUN", help="An evaluation of it; one for each data set.", show_default=False)
    ],
    repeat: Annotated[
        list[str] | None, typer.Option(metavar="RUN", help="The same with another seed; two or more, better eight.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder of stored releases; evaluate/releases by default.")] = None,
) -> None:
    """Store what was measured of a release, as NAME@VERSION for segbench compare; never overwritten.

    \b
    Examples:
      segbench zoo store vnet-battery --rows runs/eval
      segbench zoo store vnet-battery --rows runs/eval --repeat runs/eval-1 --repeat runs/eval-2
    """
    from segbench.cli.models import store_release

    store_release(model, rows, repeat or [], to)


@data_app.command("list")
def data_list(json: Json = False) -> None:
    """List the domains of battery16, battery-fib and fibre-composite.

    \b
    Example:
      segbench data list
    """
    from segbench.cli.datasets import list_domains

    list_domains(json)


@data_app.command("show")
def data_show(
    domain: Annotated[str, typer.Argument(help="A domain of a simulated set.", show_default=False)],
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
      segbench data show low-dose --out slices.png
    """
    from segbench.cli.datasets import show_domain

    show_domain(domain, size, seed, out, json)


@data_app.command("make")
def data_make(
    name: Annotated[str, typer.Argument(help="battery16, battery-fib or fibre-composite", show_default=False)],
    size: Size = 96,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Also write image, truth and label of every domain as TIFF.")] = None,
) -> None:
    """Make the simulated volumes now rather than on first use.

    \b
    Examples:
      segbench data make battery16
      segbench data make battery16 --size 128 --seed 7 --out volumes
      segbench data make battery-fib
      segbench data make fibre-composite
    """
    from segbench.cli.datasets import make_data

    make_data(name, size, seed, out)


@data_app.command("check")
def data_check(
    manifest: Annotated[
        Path, typer.Argument(help="A manifest FILE.toml, battery-fib or fibre-composite.", show_default=False)
    ],
    root: Root = None,
    json: Json = False,
) -> None:
    """Prove that a manifest loads, that its splits do not overlap, and that images and labels align.

    Of battery-fib and fibre-composite: how alike slices are by their distance, and what lies between the splits.

    \b
    Examples:
      segbench data check my-scans.toml --root /data/scans
      segbench data check battery-fib
      segbench data check fibre-composite
    """
    from segbench.cli.datasets import check_manifest

    check_manifest(manifest, root, json)
