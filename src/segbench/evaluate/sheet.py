"""A table of several runs: unrounded cells, shown rounded on the terminal and in Markdown, unrounded in CSV."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from segbench.evaluate.estimates import SINGLE, Estimate, explained

Cell = str | float | Estimate | None
"""Words, an unrounded number (NaN where undefined), one with its interval, or None where a column does not apply."""


@dataclass(frozen=True)
class Heading:
    """A column: its heading, digits of its numbers, and what its values are.

    Attributes:
        text: Of the heading.
        digits: Of its numbers.
        printed: Whether its values come from the paper.
        words: Whether they are words.
        count: Whether they are numbers of cases, of which 1 is marked.
    """

    text: str
    digits: int = 3
    printed: bool = False
    words: bool = False
    count: bool = False


@dataclass(frozen=True)
class Sheet:
    """Lines of cells under headings; `notes` are what a reader has to know."""

    title: str
    columns: tuple[Heading, ...]
    lines: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def text(self) -> list[list[str]]:
        """Headings and lines as rounded text."""
        body = [[_shown(cell, column) for cell, column in zip(line, self.columns, strict=True)] for line in self.lines]
        return [[column.text for column in self.columns], *body]

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, and what the intervals and marks in the cells mean."""
        meant = explained(cell for line in self.lines for cell in line if isinstance(cell, Estimate))
        flagged = any(c.count and line[i] == 1 for i, c in enumerate(self.columns) for line in self.lines)
        if flagged and not any(note.startswith(SINGLE) for note in meant):
            meant.append(f"{SINGLE} n = 1: a line of one volume, which says nothing of others")
        return (*self.notes, *meant)

    def ranged(self, number: int) -> bool:
        """Whether a column has estimates."""
        return any(isinstance(line[number], Estimate) for line in self.lines)


def shown(cell: Cell, digits: int = 3) -> str:
    """A cell as rounded text: undefined is "nan", what does not apply is empty, an interval stands in brackets."""
    if isinstance(cell, str) or cell is None:
        return cell or ""
    if not isinstance(cell, Estimate):
        return "nan" if math.isnan(cell) else f"{cell:.{digits}f}"
    found = cell.interval
    if math.isnan(found.value):
        return "nan"
    ends = "" if math.isnan(found.low) else f" [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return f"{found.value:.{digits}f}{ends}{cell.mark}"


def _shown(cell: Cell, column: Heading) -> str:
    if column.count and isinstance(cell, float):
        return f"{cell:.0f}{SINGLE if cell == 1 else ''}"
    return shown(cell, column.digits)


def page(
    heading: str, sheets: Sequence[Sheet], foot: Sequence[str], figure: str | None = None, notes: Sequence[str] = ()
) -> str:
    """Sheets as one Markdown page, printed values in italics, with where they come from at the end."""
    parts = [f"# {heading}\n"]
    if figure:
        parts.append(f"![{heading}]({figure})\n")
    for sheet in sheets:
        head, *body = sheet.text()
        parts.append(f"## {sheet.title}\n")
        parts.append("| " + " | ".join(head) + " |")
        parts.append("|" + "|".join("---" if column.words else "---:" for column in sheet.columns) + "|")
        for line in body:
            cells = [f"*{cell}*" if c.printed and cell else cell for cell, c in zip(line, sheet.columns, strict=True)]
            parts.append("| " + " | ".join(cells) + " |")
        parts.append("\n" + "\n".join(f"- {note}" for note in sheet.remarks) + "\n")
    if notes:
        parts.append("Notes:\n\n" + "\n".join(f"- {note}" for note in notes) + "\n")
    return "\n".join([*parts, "Rows:\n", *(f"- {line}" for line in foot), ""])


def comma_separated(sheets: Sequence[Sheet]) -> str:
    """All sheets below each other, each with its title and headings; numbers unrounded, undefined is "nan".

    A column with intervals becomes four: value, low, high and n, how many there were to draw from.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, sheet in enumerate(sheets):
        if number:
            writer.writerow([])
        writer.writerow(["table", sheet.title])
        ranged = [sheet.ranged(i) for i in range(len(sheet.columns))]
        headings = [[c.text, *_ends(c.text, r)] for c, r in zip(sheet.columns, ranged, strict=True)]
        writer.writerow([text for texts in headings for text in texts])
        for line in sheet.lines:
            writer.writerow([value for cell, r in zip(line, ranged, strict=True) for value in _unrounded(cell, r)])
    return out.getvalue()


def _ends(text: str, ranged: bool) -> list[str]:
    return [f"{text} low", f"{text} high", f"{text} n"] if ranged else []


def _unrounded(cell: Cell, ranged: bool) -> list[str | float]:
    if isinstance(cell, Estimate):
        return [cell.interval.value, cell.interval.low, cell.interval.high, cell.interval.n]
    return ["" if cell is None else cell, *([""] * 3 if ranged else [])]
