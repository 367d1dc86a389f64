"""One evaluation from names to a run folder: rows.json, table.md, table.csv, panels and slices."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.data.battery16 import Progress as MakingProgress
from segbench.engines import start
from segbench.evaluate import panels
from segbench.evaluate.cases import BATTERY16, ROBUSTNESS, Labelled, Source, open_data
from segbench.evaluate.eval import Progress, evaluate, uncalibrated
from segbench.evaluate.merging import fit
from segbench.evaluate.printed import sandia
from segbench.evaluate.robustness import degraded
from segbench.evaluate.slices import FILE, Facts, Keeper
from segbench.evaluate.source import card_hash
from segbench.evaluate.table import Table, cautions, comma_separated, markdown, provenance, tables
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
    merge: str = ""


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
    fit(model.card, data.name, data.classes, request.merge)  # refused before volumes are made
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
    keeper = Keeper(data.classes)

    def keep(case: Labelled, prediction: Prediction) -> None:
        if request.data != ROBUSTNESS:  # some hundred volumes: they are shown as curves
            kept.append(panels.panel(case, prediction, data.classes))
            keeper.add(case, prediction)

    rows = tuple(
        evaluate(
            model, engine, data, request.samples, request.seed, progress, keep,
            invert=request.invert, calibrated=not request.uncalibrated, merge=request.merge,
        )
    )  # fmt: skip
    trained_on = model.card.training.domains if request.data == BATTERY16 else ()
    printed = sandia() if request.data == BATTERY16 else None
    # what is fitted to a model lies in its card and not in its hash, and is in the scores
    rows = tuple(row.model_copy(update={"card": card_hash(model.card)}) if row.model_hash else row for row in rows)
    made = tuple(tables(rows, data.classes, printed, trained_on))
    if request.out is not None:
        page = markdown(
            made, f"{model.card.name} on {data.name}", "\n\n".join([provenance(rows, data.note), *cautions(rows)])
        )
        _write(request.out, rows, made, page, kept, trained_on)
        own = next(row for row in rows if row.kind == "case")
        facts = Facts(
            model_hash=model.hash, samples=own.samples, seed=own.seed, engine=own.engine, precision=own.precision,
            classes=data.classes, trained_on=trained_on, note=data.note, command=command(request),
        )  # fmt: skip
        keeper.write(request.out / FILE, facts)
    return Result(rows, made, data.note, engine.note)


def command(request: Request) -> str:
    """What a user types to have `request` run; options that have their default are left out."""
    words = ["segbench", "eval", "--zoo", request.zoo, "--domain", request.domain, "--samples", str(request.samples)]
    words += ["--seed", str(request.seed)]
    given = ("data", "root", "engine", "precision", "threads", "device", "size", "merge", "out")
    for name in given:
        value = getattr(request, name)
        if value != getattr(Request, name):
            words += [f"--{name}", str(value)]
    if request.thin is not None:
        words.append("--thin" if request.thin else "--no-thin")
    words += [f"--{name}" for name in ("invert", "uncalibrated", "unverified") if getattr(request, name)]
    return shlex.join(words)


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
