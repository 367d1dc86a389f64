"""A table of several runs: unrounded cells, shown rounded on the terminal, in Markdown and in CSV."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | float | None
"""Words, an unrounded number (NaN where undefined), or None where a column does not apply."""


@dataclass(frozen=True)
class Heading:
    """A column: its heading, digits of its numbers, and whether its values come from the paper."""

    text: str
    digits: int = 3
    printed: bool = False
    words: bool = False


@dataclass(frozen=True)
class Sheet:
    """Lines of cells under headings; `notes` are what a reader has to know."""

    title: str
    columns: tuple[Heading, ...]
    lines: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def text(self) -> list[list[str]]:
        """Headings and lines as rounded text."""
        body = [[shown(cell, column.digits) for cell, column in zip(line, self.columns, strict=True)]
                for line in self.lines]  # fmt: skip
        return [[column.text for column in self.columns], *body]


def shown(cell: Cell, digits: int = 3) -> str:
    """A cell as rounded text: undefined is "nan", what does not apply is empty."""
    if isinstance(cell, str) or cell is None:
        return cell or ""
    return "nan" if math.isnan(cell) else f"{cell:.{digits}f}"


def page(heading: str, sheets: Sequence[Sheet], foot: Sequence[str], figure: str | None = None) -> str:
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
        parts.append("\n" + "\n".join(f"- {note}" for note in sheet.notes) + "\n")
    return "\n".join([*parts, "Rows:\n", *(f"- {line}" for line in foot), ""])


def comma_separated(sheets: Sequence[Sheet]) -> str:
    """All sheets below each other, each with its title and headings; numbers unrounded, undefined is "nan"."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, sheet in enumerate(sheets):
        if number:
            writer.writerow([])
        writer.writerow(["table", sheet.title])
        writer.writerow([column.text for column in sheet.columns])
        writer.writerows([["" if cell is None else cell for cell in line] for line in sheet.lines])
    return out.getvalue()
