"""Tables from their definitions and stored rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.evaluate import charts, curves
from segbench.evaluate.carry_over import carry_over
from segbench.evaluate.cases import BATTERY16
from segbench.evaluate.claims import claims
from segbench.evaluate.definitions import RECORDS, RunDefinition, Stored, TableDefinition, command, model_of, rows_file
from segbench.evaluate.estimates import reference
from segbench.evaluate.latex import latex
from segbench.evaluate.measured import Collection, Measured, read_stored
from segbench.evaluate.methods import SPLITS, study
from segbench.evaluate.precisions import precisions
from segbench.evaluate.printed import matphase, sandia
from segbench.evaluate.recorded import tomo2seg
from segbench.evaluate.sheet import Sheet, comma_separated, page
from segbench.evaluate.sheets import (
    calibration,
    matphase_claims,
    sandia_accuracy,
    sandia_viability,
    shift,
    tomo2seg_record,
    uncertainty,
)
from segbench.evaluate.sheets import matphase as matphase_sheets
from segbench.evaluate.sheets import tomo2seg as tomo2seg_sheets
from segbench.evaluate.table import drawn
from segbench.io import check_output_folder, write_bytes
from segbench.rows import Row, read_rows
from segbench.zoo import Model


@dataclass(frozen=True)
class Shown:
    """How a kind of table is made.

    Attributes:
        make: Its sheets from stored runs.
        needs: Metrics that older rows may lack, without what they are against; "blocks" for blocks.
    """

    make: Callable[[Sequence[Stored]], list[Sheet]]
    needs: tuple[str, ...] = ()


SHOWS = {
    "calibration": Shown(calibration.calibration, calibration.NEEDS),
    "carry-over": Shown(carry_over),
    "claims": Shown(lambda stored: claims(stored, sandia())),
    "precisions": Shown(precisions),
    "robustness": Shown(curves.robustness),
    "sandia-accuracy": Shown(lambda stored: sandia_accuracy.sandia_accuracy(stored, sandia()), ("blocks",)),
    "sandia-viability": Shown(lambda stored: sandia_viability.sandia_viability(stored, sandia())),
    "shift": Shown(shift.shift, shift.NEEDS),
    "uncertainty": Shown(uncertainty.uncertainty, uncertainty.NEEDS),
}
"""By the name that a definition gives in `shows`."""


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
        notes: What a reader has to know of the data.
    """

    name: str
    title: str
    sheets: tuple[Sheet, ...]
    sources: tuple[str, ...]
    missing: tuple[str, ...]
    figure: Callable[[Path], None] | None = None
    notes: tuple[str, ...] = ()


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
    fault = _mismatch(run, stored.own[0], model)
    return stored, f"{run.name} {fault}: {command(run)}" if fault else None


def _mismatch(run: RunDefinition, row: Row, model: Model | None) -> str | None:
    """What a row has that its definition does not want."""
    one_pass = row.samples == 1 and not (model and model.card.dropout)
    kinds = ("calibrated", "uncalibrated")
    stored, wanted = kinds if row.calibrated else kinds[::-1]
    faults = {
        f"was made with another {run.zoo} than the one that is here": model is not None
        and row.model_hash != model.hash,
        f"holds T = {row.samples} and the table wants {run.samples}": row.samples != run.samples and not one_pass,
        f"is of {row.precision} and the table wants {run.precision}": row.precision != run.precision,
        f"is of seed {row.seed} and the table wants {run.seed}": row.seed != run.seed,
        f"is {stored} and the table wants it {wanted}": row.calibrated == run.uncalibrated,
    }
    return next((text for text, wrong in faults.items() if wrong), None)


STUDIES: dict[str, Callable[[TableDefinition, Collection], list[Sheet]]] = {
    "matphase": lambda table, found: matphase_sheets.matphase(table, found, matphase()),
    "matphase-claims": lambda _, found: matphase_claims.claims(found, matphase()),
    "tomo2seg": lambda table, found: tomo2seg_sheets.tomo2seg(table, found, tomo2seg()),
}
"""Tables of trained methods, by the same name."""


def make_of(name: str, table: TableDefinition, found: Collection) -> Made:
    """A table of trained methods from what was measured; what is missing is said and the rest made."""
    assert table.study is not None
    sheets = STUDIES[table.shows](table, found)
    there = [one for line in table.line for split in SPLITS for one in found.of(line.method, split)]
    sources = tuple(_trained(one) for one in there)
    lacking = [line.method for line in table.line if not found.of(line.method)]
    missing = (f"not measured: {', '.join(lacking)}: segbench tables {name} --scale {found.scale}",) if lacking else ()
    figure: Callable[[Path], None] | None = None
    if table.figure is not None and there:
        figure = lambda path: charts.draw(table, found, path)  # noqa: E731
    return Made(name, table.title, tuple(sheets), sources, missing, figure, table.notes)


def _trained(one: Measured) -> str:
    row, how = one.rows[0], one.trained
    if row.kind == "baseline":
        return f"`{one.key}`: no network; on {row.data}; segbench {row.segbench}, commit {(row.git or 'unknown')[:12]}"
    engine = f"{row.engine} {row.versions.get(row.engine, '')}".strip()
    seconds = "" if how.processor_s is None else f", {how.processor_s:.0f} s of processor time"
    return (
        f"`{one.key}`: {(row.model_hash or '')[:12]}, {how.steps} steps{seconds} on {how.device}; on {row.data}, "
        f"{drawn(row)}, {engine} {row.precision}; segbench {row.segbench}, commit {(row.git or 'unknown')[:12]}"
    )


def make(name: str, table: TableDefinition) -> Made:
    """A table from stored rows; what is missing is said and the rest made."""
    if table.study is not None:
        return make_of(name, table, read_stored(table.study, study(table.study)))
    if table.shows in RECORDS:
        sheets = tomo2seg_record.record(tomo2seg())
        return Made(
            name, table.title, tuple(sheets), ("recorded: none of it was measured here",), (), None, table.notes
        )
    found = [read(run) for run in table.run]
    stored = [part for part, _ in found if part.own]
    shown = SHOWS[table.shows]
    sheets = shown.make(stored)
    figure: Callable[[Path], None] | None = None
    if table.shows == "robustness" and stored:
        figure = lambda path: curves.draw(stored, path)  # noqa: E731
    sources = tuple(_source(part) for part in stored)
    faults = [fault or _lacking(part, shown.needs) for part, fault in found]
    missing = tuple(fault for fault in faults if fault)
    return Made(name, table.title, tuple(sheets), sources, missing, figure, table.notes)


def _lacking(part: Stored, needs: Sequence[str]) -> str | None:
    """What rows lack that were stored before it was measured, in a line; None where they have all."""
    gone = [key for key in needs if not all(_has(row, key) for row in part.own)]
    if not gone:
        return None
    more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
    return f"{part.run.name} lacks {gone[0]}{more}, which its rows are too old for: {command(part.run)}"


def _has(row: Row, key: str) -> bool:
    if key == "blocks":
        return bool(row.blocks)
    return f"{key}_{reference(row)}" in row.metrics or key in row.metrics


def _source(part: Stored) -> str:
    row = part.own[0]
    engine = f"{row.engine} {row.versions.get(row.engine, '')}".strip()
    return (
        f"`{part.run.name}`: {row.model} ({(row.model_hash or '')[:12]}) on {row.data}, {drawn(row)}, {engine} "
        f"{row.precision} on {row.device}; segbench {row.segbench}, commit {(row.git or 'unknown')[:12]}"
    )


def write(made: Made, out: Path) -> list[Path]:
    """Writes a table as Markdown, CSV and LaTeX, and its picture, into a folder."""
    check_output_folder(out)
    picture = f"{made.name}.png" if made.figure else None
    foot = [*made.sources, *made.missing]
    texts = {
        "md": page(made.title, made.sheets, foot, picture, made.notes),
        "csv": comma_separated(made.sheets),
        "tex": latex(made.title, made.sheets, foot, made.name, made.notes),
    }
    written = []
    for ending, text in texts.items():
        written.append(out / f"{made.name}.{ending}")
        write_bytes(written[-1], text)
    if made.figure and picture:
        made.figure(out / picture)
        written.append(out / picture)
    return written
