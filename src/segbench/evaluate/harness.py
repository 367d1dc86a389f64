"""Tables from their definitions: read from stored rows, or with the runs computed again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segbench.data.battery16 import Progress as MakingProgress
from segbench.errors import InputError
from segbench.evaluate import curves
from segbench.evaluate.carry_over import carry_over
from segbench.evaluate.cases import BATTERY16
from segbench.evaluate.claims import claims
from segbench.evaluate.definitions import (
    RunDefinition,
    Stored,
    TableDefinition,
    command,
    home,
    measured_root,
    model_of,
    request,
    rows_file,
)
from segbench.evaluate.eval import Progress
from segbench.evaluate.precisions import precisions
from segbench.evaluate.printed import sandia
from segbench.evaluate.run import run as evaluate_run
from segbench.evaluate.sheet import Sheet, comma_separated, page
from segbench.evaluate.table import drawn
from segbench.io import check_output_folder, write_bytes
from segbench.rows import read_rows

Started = Callable[[int, int, str], None]  # (runs done, runs, name of the one that starts)


@dataclass(frozen=True)
class Made:
    """A table that was made.

    Attributes:
        name: Of its definition.
        title: One line.
        sheets: Empty where no rows are stored.
        sources: A line per run: where its rows come from.
        missing: A line per run that is missing, or that is not of the model and settings of its definition.
        figure: Draws the table's picture into a file; None where it has none.
    """

    name: str
    title: str
    sheets: tuple[Sheet, ...]
    sources: tuple[str, ...]
    missing: tuple[str, ...]
    figure: Callable[[Path], None] | None = None


def read(run: RunDefinition) -> tuple[Stored, str | None]:
    """A run's stored rows, and what is wrong with them in a line.

    Raises:
        InputError: The file of rows is there and cannot be read.
    """
    path = rows_file(run)
    model = model_of(run)
    trained_on = model.card.training.domains if model and run.data == BATTERY16 else ()
    if not path.is_file():
        first = "" if model else f"train {run.zoo} first, then "
        return Stored(run, (), trained_on), f"no rows of {run.name}: {first}{command(run)}"
    stored = Stored(run, read_rows(path), trained_on)
    if not stored.own:
        return stored, f"{run.name} holds no rows of a model: {command(run)}"
    row = stored.own[0]
    if model is not None and row.model_hash != model.hash:
        return stored, f"{run.name} was made with another {run.zoo} than the one that is here: {command(run)}"
    if row.samples != run.samples and (row.samples != 1 or (model and model.card.dropout)):
        return stored, f"{run.name} holds T = {row.samples} and the table wants {run.samples}: {command(run)}"
    there, wanted = _how(row.precision, row.calibrated), _how(run.precision, not run.uncalibrated)
    if there != wanted:
        return stored, f"{run.name} is of {there} and the table wants {wanted}: {command(run)}"
    return stored, None


def _how(precision: str, calibrated: bool) -> str:
    return precision if calibrated else f"{precision}, uncalibrated"


def make(name: str, table: TableDefinition) -> Made:
    """A table from stored rows; what is missing is said and the rest made."""
    found = [read(run) for run in table.run]
    stored = [part for part, _ in found if part.own]
    sheets = _sheets(table, stored)
    figure: Callable[[Path], None] | None = None
    if table.shows == "robustness" and stored:
        figure = lambda path: curves.draw(stored, path)  # noqa: E731
    sources = tuple(_source(part) for part in stored)
    return Made(name, table.title, tuple(sheets), sources, tuple(fault for _, fault in found if fault), figure)


def _sheets(table: TableDefinition, stored: Sequence[Stored]) -> list[Sheet]:
    if table.shows == "carry-over":
        return carry_over(stored)
    if table.shows == "precisions":
        return precisions(stored)
    return claims(stored, sandia()) if table.shows == "claims" else curves.robustness(stored)


def _source(part: Stored) -> str:
    row = part.own[0]
    engine = f"{row.engine} {row.versions.get(row.engine, '')}".strip()
    return (
        f"`{part.run.name}`: {row.model} ({(row.model_hash or '')[:12]}) on {row.data}, {drawn(row)}, {engine} "
        f"{row.precision} on {row.device}; segbench {row.segbench}, commit {(row.git or 'unknown')[:12]}"
    )


def write(made: Made, out: Path) -> list[Path]:
    """Writes a table as Markdown and CSV, and its picture, into a folder."""
    check_output_folder(out)
    written = [out / f"{made.name}.md", out / f"{made.name}.csv"]
    picture = f"{made.name}.png" if made.figure else None
    notes = [*made.sources, *made.missing]
    write_bytes(written[0], page(made.title, made.sheets, notes, picture))
    write_bytes(written[1], comma_separated(made.sheets))
    if made.figure and picture:
        made.figure(out / picture)
        written.append(out / picture)
    return written


def refresh(
    tables: Sequence[TableDefinition],
    root: Path | None,
    started: Started,
    making: MakingProgress | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Computes the runs of the tables again, each once, and stores their rows.

    Args:
        tables: Whose runs.
        root: Folder of the measured images; by default beside the checkout.
        started: Called as a run starts.
        making: Called as simulated volumes are made.
        progress: Called as cases are predicted.

    Returns:
        A line per run that keeps its stored rows: its model or its images are not here.

    Raises:
        InputError: This installation is no checkout, `root` is not there, or a run's model or data is unusable.
    """
    if not (home().parent / "pyproject.toml").is_file():
        raise InputError("--refresh writes into the folder evaluate of a checkout, and this installation is none")
    if root is not None and not root.is_dir():
        raise InputError(f"{root}: no such folder; --root is where the manifests' images lie")
    images = measured_root(root)
    runs = {run.name: run for table in tables for run in table.run}
    todo, kept = [], []
    for run in runs.values():
        if model_of(run) is None:
            kept.append(f"{run.name} keeps its stored rows: {run.zoo} is not here")
        elif run.measured and images is None:
            kept.append(f"{run.name} keeps its stored rows: name the folder of its images with --root")
        else:
            todo.append(run)
    check_output_folder(home() / "tables")
    for number, run in enumerate(todo):
        started(number, len(todo), run.name)
        evaluate_run(replace(request(run, images), out=check_output_folder(rows_file(run).parent)), making, progress)
    return kept
