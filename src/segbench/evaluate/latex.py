r"""Sheets as LaTeX: a `table` with a plain `tabular` each, to be read by `\input`; no package is needed."""

import re
from collections.abc import Sequence

from segbench.evaluate.estimates import BLOCKS, SINGLE
from segbench.evaluate.sheet import Heading, Sheet

# "[" and "*" right after the end of a line would be read as its options
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", "`": r"\textasciigrave{}", BLOCKS: r"\dag{}",
    SINGLE: r"\ddag{}", "²": "$^2$", "³": "$^3$", "µ": r"$\mu$", "×": r"$\times$", "·": r"$\cdot$", "≥": r"$\geq$",  # noqa: RUF001
    "≤": r"$\leq$", "±": r"$\pm$", "°": r"$^\circ$", "…": r"\ldots{}", "–": "--", "—": "---",  # noqa: RUF001
}  # fmt: skip
LONG = 30
"""Words of more letters than this wrap."""


def escaped(text: str) -> str:
    """`text` as LaTeX prints it letter for letter: quotes are paired, `names` in typewriter."""
    parts = re.split(r'(`[^`]+`|"[^"]*")', text)
    return "".join(_piece(part) for part in parts)


def _piece(part: str) -> str:
    inner = part[1:-1]
    if len(part) > 2 and part[0] == part[-1] == "`":
        return rf"\texttt{{{_letters(inner)}}}"
    if len(part) > 1 and part[0] == part[-1] == '"':
        return f"``{_letters(inner)}''"
    return _letters(part)


def _letters(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text).replace('"', "''")


def latex(
    heading: str, sheets: Sequence[Sheet], foot: Sequence[str], name: str = "table", notes: Sequence[str] = ()
) -> str:
    """Sheets as LaTeX, printed values emphasised, notes below each; where they come from is a comment at the end.

    Args:
        heading: What all sheets are of.
        sheets: The sheets.
        foot: Where they come from, a line each.
        name: Begins the label of each sheet, `tab:NAME-1` and so on.
        notes: Of all sheets.
    """
    parts = [f"% {_comment(heading)}; made by segbench tables"]
    for number, sheet in enumerate(sheets, start=1):
        parts += _table(sheet, f"tab:{name}-{number}")
    return "\n".join([*parts, *(f"% {_comment(line)}" for line in (*notes, *foot)), ""])


def _table(sheet: Sheet, label: str) -> list[str]:
    head, *body = sheet.text()
    columns = [_kind(column, [line[i] for line in body]) for i, column in enumerate(sheet.columns)]
    lines = [_line([escaped(text) for text in head])]
    for cells in body:
        text = [escaped(cell) for cell in cells]
        lines.append(
            _line([rf"\emph{{{t}}}" if c.printed and t else t for t, c in zip(text, sheet.columns, strict=True)])
        )
    return [
        "",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(sheet.title)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{''.join(columns)}}}",
        r"\hline",
        lines[0],
        r"\hline",
        *lines[1:],
        r"\hline",
        r"\end{tabular}",
        *(rf"\par\footnotesize {escaped(note)}" for note in sheet.remarks),
        r"\end{table}",
    ]


def _kind(column: Heading, texts: Sequence[str]) -> str:
    if not column.words:
        return "r"
    return r"p{0.2\linewidth}" if max((len(text) for text in texts), default=0) > LONG else "l"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _comment(text: str) -> str:
    return " ".join(text.split())
