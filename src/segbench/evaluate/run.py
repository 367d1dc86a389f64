"""One evaluation from names to a run folder: rows.json, table.md, table.csv and panels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.data.battery16 import Progress as MakingProgress
from segbench.engines import start
from segbench.evaluate import panels
from segbench.evaluate.cases import BATTERY16, ROBUSTNESS, Labelled, Source, open_data
from segbench.evaluate.eval import Progress, evaluate, uncalibrated
from segbench.evaluate.printed import sandia
from segbench.evaluate.robustness import degraded
from segbench.evaluate.table import Table, comma_separated, markdown, provenance, tables
from segbench.io import check_output_folder, write_bytes
from segbench.predict import Prediction, sample_masks
from segbench.rows import Row, write_rows
from segbench.zoo import find

ROWS, PAGE, SHEET = "rows.json", "table.md", "table.csv"


@dataclass(frozen=True)
class Request:
    """What to evaluate; the options of `segbench eval`."""

    zoo: str
    domain: str = "all"
    data: str = BATTERY16
    root: Path | None = None
    samples: int = 16
    seed: int = 0
    engine: str = "auto"
    precision: str = "f32"
    threads: int | None = None
    device: str = "cpu"
    thin: bool | None = None
    size: int = 96
    out: Path | None = None
    invert: bool = False
    unverified: bool = False
    uncalibrated: bool = False


@dataclass(frozen=True)
class Result:
    """Rows and the tables made from them; `note` says what the data is, `remark` what the engine could not do."""

    rows: tuple[Row, ...]
    tables: tuple[Table, ...]
    note: str
    remark: str


def run(
    request: Request,
    making: MakingProgress | None = None,
    progress: Progress | None = None,
    counted: Callable[[int], None] | None = None,
) -> Result:
    """Evaluates and, where a folder is named, writes the run into it.

    Args:
        request: What to evaluate.
        making: Called as simulated volumes are made.
        progress: Called as cases are predicted.
        counted: Called once with the number of domains.

    Raises:
        InputError: Any part of the request cannot be used; said before the first prediction.
        OutputError: The folder cannot be written; said before the first prediction.
        EngineError: The engine is missing or refuses.
    """
    model = find(request.zoo)
    data: Source
    if request.data == ROBUSTNESS:
        data = degraded(request.domain, request.size)
    else:
        data = open_data(request.data, request.domain, request.root, request.size)
    sample_masks(model.card, request.samples, request.seed)
    if request.uncalibrated:
        uncalibrated(model.card)  # refused before volumes are made
    if request.out is not None:
        check_output_folder(request.out)
    engine = start(
        model, request.engine, request.precision, request.threads, device=request.device, thin=request.thin,
        unverified=request.unverified,
    )  # fmt: skip
    data.prepare(making)
    if counted is not None:
        counted(len(data.domains))
    kept: list[panels.Panel] = []

    def keep(case: Labelled, prediction: Prediction) -> None:
        if request.data != ROBUSTNESS:  # some hundred volumes: they are shown as curves
            kept.append(panels.panel(case, prediction))

    how = {"invert": request.invert, "calibrated": not request.uncalibrated}
    rows = tuple(evaluate(model, engine, data, request.samples, request.seed, progress, keep, **how))
    trained_on = model.card.training.domains if request.data == BATTERY16 else ()
    printed = sandia() if request.data == BATTERY16 else None
    made = tuple(tables(rows, data.classes, printed, trained_on))
    if request.out is not None:
        page = markdown(made, f"{model.card.name} on {data.name}", provenance(rows, data.note))
        _write(request.out, rows, made, page, kept, trained_on)
    return Result(rows, made, data.note, engine.note)


def _write(
    out: Path,
    rows: Sequence[Row],
    made: Sequence[Table],
    page: str,
    kept: Sequence[panels.Panel],
    trained_on: Sequence[str],
) -> None:
    write_rows(out / ROWS, rows)
    write_bytes(out / PAGE, page)
    write_bytes(out / SHEET, comma_separated(made))
    folder = check_output_folder(out / "panels")
    for panel in kept:
        panels.draw([panel], folder / f"{panel.name.replace('/', '-')}.png")
    inside = [p for p in kept if p.name in trained_on]
    outside = [p for p in kept if p.name not in trained_on]
    if inside and outside:
        # the domain that is hardest for a human stands for "out"
        worst = min(outside, key=lambda p: next(r.metrics["accuracy_human"] for r in rows if r.domain == p.name))
        panels.draw([inside[0], worst], folder / "in-and-out.png", ["in domain", "out of domain"])
