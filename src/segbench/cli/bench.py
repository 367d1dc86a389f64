"""`segbench bench`."""

from segbench.bench.run import PAGE, run
from segbench.bench.scene import Request
from segbench.cli.evaluation import grid
from segbench.cli.screen import NOTES, print_json, progress_bar, results

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
        for sheet in result.sheets:
            styles = [""] * len(sheet.columns)
            words = [WORDS if column.words else None for column in sheet.columns]
            grid(sheet.title, sheet.text(), styles, words, sheet.notes)
        for line in result.foot:
            results().print(f"  {line}", style="dim", soft_wrap=True, markup=False)
    if result.remark:
        NOTES.print(f"note: {result.remark}", soft_wrap=True, markup=False)
    if request.out is not None:
        NOTES.print(f"written to {request.out} (see {request.out / PAGE})", soft_wrap=True, markup=False)
