"""`segbench compare`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table as RichTable
from rich.text import Text

from segbench.cli.screen import print_json, results
from segbench.errors import InputError
from segbench.evaluate.compare import compare
from segbench.evaluate.compare_lines import Comparison
from segbench.evaluate.compare_page import HEADINGS, cells, junit, markdown, plain, shown, summary
from segbench.evaluate.compare_scores import tolerances
from segbench.evaluate.releases import read_run
from segbench.io import check_not_read, check_output_folder, write_bytes

STANDARD = "-"
STYLES = {"regression": "bold red", "changed": "yellow", "improved": "green", "moved": "dim", "unmeasured": "dim"}


@dataclass(frozen=True)
class Asked:
    """The options of `segbench compare`."""

    base: str
    new: str
    repeat: Sequence[str] = ()
    allow: Sequence[str] = ()
    speed: bool = False
    releases: Path | None = None
    junit: Path | None = None
    markdown: str | None = None
    json: bool = False


def run_compare(asked: Asked) -> bool:
    """Compares, prints what moved and writes what was asked for; whether nothing is worse."""
    if asked.json and asked.markdown == STANDARD:
        raise InputError("--json and --markdown - both go to standard output: name a file for --markdown")
    page = Path(asked.markdown) if asked.markdown and asked.markdown != STANDARD else None
    for path in (asked.junit, page):
        if path is not None:
            check_not_read(path, (asked.base, asked.new, *asked.repeat))
            check_output_folder(path.parent)
    found = _compare(asked)
    if asked.json:
        print_json(plain(found))
    elif asked.markdown == STANDARD:
        sys.stdout.write(markdown(found))
    else:
        show(found)
    if asked.junit is not None:
        write_bytes(asked.junit, junit(found))
    if page is not None:
        write_bytes(page, markdown(found))
    return found.passed


def _compare(asked: Asked) -> Comparison:
    from segbench.bench import compare as bench

    if bench.is_bench(asked.base) or bench.is_bench(asked.new):
        timed = [bench.read_bench(given) for given in (asked.base, asked.new, *asked.repeat)]
        return bench.compare(timed[0], timed[1], timed[2:], asked.allow)
    runs = [read_run(given, asked.releases) for given in (asked.base, asked.new, *asked.repeat)]
    return compare(runs[0], runs[1], tolerances(), runs[2:], asked.allow, asked.speed)


def show(found: Comparison) -> None:
    """What moved and the means as a table, then the notes, then the verdict."""
    table = RichTable(pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if 2 <= number <= 5 else "left", no_wrap=number < 6)
    for line in shown(found):
        table.add_row(*map(Text, cells(line)), style=STYLES.get(line.verdict, ""))
    console = results()
    console.print(table)
    for note in (found.how, *found.notes):
        console.print(Text(f"  {note}", style="dim"), soft_wrap=True)
    console.print(Text(summary(found), style="bold" if found.passed else "bold red"), soft_wrap=True)
