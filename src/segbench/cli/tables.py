"""`segbench tables`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from segbench.cli.evaluation import NARROW, grid
from segbench.cli.screen import NOTES, print_json, progress_bar, results
from segbench.cli.study import Scaled, make_scaled
from segbench.errors import InputError
from segbench.evaluate.definitions import RECORDS, TableDefinition, definition, home, table_names, wanted
from segbench.evaluate.harness import Made, make, write
from segbench.evaluate.refresh import Refreshed, refresh

WORDS = 34  # columns of words wrap at this width, so that a line of claims fits a terminal


def run_tables(
    names: Sequence[str],
    listed: bool,
    again: bool,
    root: Path | None,
    out: Path | None,
    json: bool,
    force: bool = False,
    scaled: Scaled | None = None,
) -> None:
    """Lists tables, or prints them from stored rows.

    With `again` rows are computed first that are not up to date, with `force` all of them; with `scaled` methods are
    trained first that were not.
    """
    again = again or force
    if listed or not names:
        if names:
            raise InputError("--list lists all tables: leave the names out")
        return list_tables(json)
    if root is not None and not again:
        raise InputError("--root is where images lie that --refresh reads: add --refresh, or leave it out")
    tables = wanted(names)
    if scaled is not None:
        if again:
            raise InputError("--scale trains what is missing, --refresh evaluates what is in the zoo: leave one out")
        print_made(make_scaled(tables, scaled, out), out, json)
        return None
    refreshed = _refresh(list(tables.values()), root, force) if again else Refreshed((), (), ())
    print_made([(make(name, table), [home() / "tables"] if again else []) for name, table in tables.items()], out, json)
    for line in (*refreshed.computed, *refreshed.fresh):
        NOTES.print(line, soft_wrap=True, markup=False)
    for line in refreshed.kept:
        NOTES.print(line, soft_wrap=True, markup=False, style="yellow")
    return None


def print_made(made: Sequence[tuple[Made, Sequence[Path]]], out: Path | None, json: bool) -> None:
    """Prints tables, and writes each into its folders and into `out`."""
    if json:
        print_json([{key: value for key, value in asdict(one).items() if key != "figure"} for one, _ in made])
    for one, folders in made:
        if not json:
            show(one)
        for folder in (*folders, *([out] if out else [])):
            for path in write(one, folder):
                NOTES.print(f"written: {path}", soft_wrap=True, markup=False)


def list_tables(json: bool) -> None:
    """A line per table."""
    found = {name: definition(name) for name in table_names()}
    if json:
        print_json([{"table": name} | table.model_dump(mode="json") for name, table in found.items()])
        return
    width = max(map(len, found), default=0)
    for name, table in found.items():
        runs = "1 run" if len(table.run) == 1 else f"{len(table.run)} runs"
        if table.shows in RECORDS:
            runs = "recorded values"
        elif table.study is not None:
            runs = f"{len(table.line)} trained methods"
        results().print(f"[bold]{name:{width}}[/bold]  {table.title} ({runs})", soft_wrap=True)


def show(made: Made) -> None:
    """A table's sheets on the terminal, then what is missing."""
    for sheet in made.sheets:
        styles = ["dim italic" if column.printed else "" for column in sheet.columns]
        words = [WORDS if column.words else None for column in sheet.columns]
        text = sheet.text()
        # an interval stays on one line where there is room; a heading wraps between its words
        widths = [max(map(len, (*column[0].split(), *column[1:])), default=0) for column in zip(*text, strict=True)]
        widths = [max(NARROW, width) for width in widths]
        grid(sheet.title, text, styles, words, sheet.remarks, widths=widths)
    for line in (*made.notes, *made.sources) if made.sheets else ():
        results().print(f"  {line}", style="dim", soft_wrap=True, markup=False)
    if not made.sheets:
        NOTES.print(f"{made.name}: no rows are stored to make it of", soft_wrap=True, markup=False)
    for line in made.missing:
        NOTES.print(line, style="yellow", soft_wrap=True, markup=False)


def _refresh(tables: Sequence[TableDefinition], root: Path | None, force: bool) -> Refreshed:
    with progress_bar() as bars:
        whole = bars.add_task("runs", total=None, visible=False)
        making = bars.add_task("making volumes", total=None, visible=False)
        within = bars.add_task("evaluating", total=1.0, visible=False)

        def started(done: int, total: int, name: str) -> None:
            bars.update(whole, completed=done, total=total, visible=True, description=name)

        def made(done: int, total: int, name: str) -> None:
            bars.update(making, completed=done, total=total, visible=done < total, description=f"making {name}")

        def stepped(what: str, share: float) -> None:
            bars.update(within, completed=share, visible=True, description=what)

        return refresh(tables, root, started, made, stepped, force=force)
