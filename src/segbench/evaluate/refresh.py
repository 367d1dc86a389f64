"""Runs of tables computed again, each once, and only where their stored rows are not up to date."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segbench.data.battery16 import Progress as MakingProgress
from segbench.errors import InputError
from segbench.evaluate.definitions import (
    RunDefinition,
    TableDefinition,
    home,
    measured_root,
    model_of,
    request,
    rows_file,
)
from segbench.evaluate.eval import Progress
from segbench.evaluate.fresh import stale
from segbench.evaluate.run import run as evaluate_run
from segbench.io import check_output_folder

Started = Callable[[int, int, str], None]  # (runs done, runs, name of the one that starts)


@dataclass(frozen=True)
class Refreshed:
    """What became of each run, a line each: computed again and why; up to date; not possible here."""

    computed: tuple[str, ...]
    fresh: tuple[str, ...]
    kept: tuple[str, ...]


def refresh(
    tables: Sequence[TableDefinition],
    root: Path | None,
    started: Started,
    making: MakingProgress | None = None,
    progress: Progress | None = None,
    *,
    force: bool = False,
) -> Refreshed:
    """Computes the runs of the tables again where what decides them has changed, and stores their rows.

    A run's rows appear whole or not at all, so what was done before an interruption is up to date after it.

    Args:
        tables: Whose runs.
        root: Folder of the measured images; by default beside the checkout.
        started: Called as a run starts.
        making: Called as simulated volumes are made.
        progress: Called as cases are predicted.
        force: Compute what is up to date as well.

    Raises:
        InputError: This installation is no checkout, `root` is not there, or a run's model or data is unusable.
    """
    if not (home().parent / "pyproject.toml").is_file():
        raise InputError("--refresh writes into the folder evaluate of a checkout, and this installation is none")
    if root is not None and not root.is_dir():
        raise InputError(f"{root}: no such folder; --root is where the manifests' images lie")
    images = measured_root(root)
    todo: list[tuple[RunDefinition, str]] = []
    fresh, kept = [], []
    for run in {run.name: run for table in tables for run in table.run}.values():
        model = model_of(run)
        if model is None:
            kept.append(f"{run.name} keeps its stored rows: {run.zoo} is not here")
        elif run.measured and images is None:
            kept.append(f"{run.name} keeps its stored rows: name the folder of its images with --root")
        elif why := "--force" if force else stale(run, model, images):
            todo.append((run, why))
        else:
            fresh.append(f"{run.name} is up to date and kept")
    check_output_folder(home() / "tables")
    for number, (run, _) in enumerate(todo):
        started(number, len(todo), run.name)
        evaluate_run(replace(request(run, images), out=check_output_folder(rows_file(run).parent)), making, progress)
    return Refreshed(tuple(f"{run.name} computed again: {why}" for run, why in todo), tuple(fresh), tuple(kept))
