"""`segbench bench`, `segbench bench metrics` and `segbench bench serve`."""

import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segbench.bench import throughput, throughput_sheet
from segbench.bench.run import PAGE, run
from segbench.bench.scene import Request
from segbench.cli.evaluation import grid
from segbench.cli.screen import NOTES, print_json, progress_bar, results
from segbench.evaluate.sheet import Sheet

if TYPE_CHECKING:
    from segbench.bench.serving.contenders import Request as ServingRequest

WORDS = 24  # names of contenders fit without wrapping


def listed(value: str) -> tuple[str, ...]:
    """What an option names, separated by commas."""
    return tuple(name.strip() for name in value.split(",") if name.strip())


def run_bench(request: Request, json: bool) -> None:
    """Benchmarks with a progress bar and prints the tables, or the rows as JSON."""
    with progress_bar() as bars:
        task = bars.add_task("benchmarking", total=None)

        def stepped(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total, description=what)

        result = run(request, stepped)
    if json:
        print_json([row.model_dump(mode="json") for row in result.rows])
    else:
        _show(result.sheets, result.foot)
    if result.remark:
        NOTES.print(f"note: {result.remark}", soft_wrap=True, markup=False)
    if request.out is not None:
        NOTES.print(f"written to {request.out} (see {request.out / PAGE})", soft_wrap=True, markup=False)


def run_metrics(request: throughput.Request, json: bool) -> None:
    """Times the metrics with a progress bar and prints the tables, or the row as JSON."""
    with progress_bar() as bars:
        task = bars.add_task("benchmarking", total=None)

        def stepped(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total, description=what)

        row = throughput.measure(request, stepped)
    if json:
        print_json([row.model_dump(mode="json")])
    else:
        _show(throughput_sheet.sheets(row), throughput_sheet.foot(row))
    if request.out is not None:
        throughput_sheet.write(request.out, row)
        written = request.out / throughput_sheet.PAGE
        NOTES.print(f"written to {request.out} (see {written})", soft_wrap=True, markup=False)


def run_serving(request: "ServingRequest", json: bool) -> None:
    """Benchmarks the server with a progress bar and prints the tables, or the rows as JSON."""
    from segbench.bench.serving import run as serving  # needs ONNX, as the others do not

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that its servers end with it
    with progress_bar() as bars:
        task = bars.add_task("benchmarking", total=None)

        def stepped(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total, description=what)

        result = serving.run(request, stepped)
    if json:
        print_json([row.model_dump(mode="json") for row in result.rows])
    else:
        _show(result.sheets, result.foot)
    if request.out is not None:
        written = request.out / serving.PAGE
        NOTES.print(f"written to {request.out} (see {written})", soft_wrap=True, markup=False)


def _show(sheets: Sequence[Sheet], foot: Sequence[str]) -> None:
    for sheet in sheets:
        styles = [""] * len(sheet.columns)
        words = [WORDS if column.words else None for column in sheet.columns]
        grid(sheet.title, sheet.text(), styles, words, sheet.notes)
    for line in foot:
        results().print(f"  {line}", style="dim", soft_wrap=True, markup=False)
