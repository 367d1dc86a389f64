"""`segbench eval`."""

from collections.abc import Sequence

from rich.table import Table as RichTable

from segbench.cli.screen import NOTES, print_json, progress_bar, results
from segbench.evaluate.run import PAGE, Request, run
from segbench.evaluate.table import Table, provenance

NARROW = 9  # headings wrap, so that a table fits a terminal of 120 columns


def run_eval(request: Request, json: bool) -> None:
    """Evaluates with progress bars and prints the tables, or the rows as JSON."""
    with progress_bar() as bars:
        making = bars.add_task("making volumes", total=None, visible=False)
        whole = bars.add_task("evaluating", total=None, visible=False)
        seen: list[str] = []

        def made(done: int, total: int, name: str) -> None:
            bars.update(making, completed=done, total=total, visible=True, description=f"making volumes: {name}")

        def stepped(what: str, _: float) -> None:
            domain = what.split("/", maxsplit=1)[0].split(":", maxsplit=1)[0]
            if domain not in seen:
                seen.append(domain)
            bars.update(whole, completed=len(seen) - 1, description=what, visible=True)

        def counted(domains: int) -> None:
            bars.update(making, visible=False)
            bars.update(whole, total=domains, visible=True)

        result = run(request, made, stepped, counted)
    if json:
        print_json([row.model_dump(mode="json") for row in result.rows])
    else:
        for table in result.tables:
            show(table)
        results().print(provenance(result.rows, result.note), soft_wrap=True)
    if result.remark:
        NOTES.print(f"note: {result.remark}", soft_wrap=True, markup=False)
    for warning in dict.fromkeys(warning for row in result.rows for warning in row.warnings):
        NOTES.print(f"warning: {warning}", style="yellow", soft_wrap=True, markup=False)
    if request.out is not None:
        NOTES.print(f"written to {request.out} (see {request.out / PAGE})", soft_wrap=True)


def show(table: Table) -> None:
    """One table on the terminal; printed values are dim."""
    *lines, mean = table.text()
    styles = ["", *("dim italic" if column.printed else "" for column in table.columns)]
    grid(table.title, lines, styles, [0, *([None] * len(table.columns))], table.notes, mean)


def grid(
    title: str,
    lines: Sequence[Sequence[str]],
    styles: Sequence[str],
    words: Sequence[int | None],
    notes: Sequence[str],
    mean: Sequence[str] = (),
    widths: Sequence[int] = (),
) -> None:
    """Headings and lines as a table, with its notes below.

    Args:
        title: Above it.
        lines: The headings first.
        styles: Of each column.
        words: None for a column of numbers; else the width at which its words wrap, 0 for never.
        notes: A line each.
        mean: A last line that is set apart.
        widths: At which columns of numbers wrap; all at `NARROW` by default.
    """
    rich = RichTable(title=title, title_justify="left", title_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name, style, width, most in zip(lines[0], styles, words, widths or [NARROW] * len(words), strict=True):
        if width is None:
            rich.add_column(name, justify="right", max_width=most, style=style)
        else:
            rich.add_column(name, no_wrap=width == 0, max_width=width or None, style=style)
    for line in lines[1:]:
        rich.add_row(*line)
    if mean:
        rich.add_section()
        rich.add_row(*mean, style="bold")
    console = results()
    console.print(rich)
    for note in notes:
        console.print(f"  {note}", style="dim", soft_wrap=False)
