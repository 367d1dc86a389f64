"""Puts what was measured of the MatPhase paper's claims between the marks of a page.

    python docs/matphase.py --page docs/matphase.md                  # of the stored rows
    python docs/matphase.py --page docs/matphase.md --check          # exit code 1 where the page says otherwise

The numbers are those of `segbench tables matphase-claims`, a pure function of the rows in evaluate/results.
"""

import argparse
import sys
from pathlib import Path

from segbench.evaluate.definitions import definition
from segbench.evaluate.harness import make
from segbench.evaluate.sheet import Sheet

BEGIN, END = "<!-- table -->", "<!-- /table -->"
NAME = "matphase-claims"


def lines(sheets: tuple[Sheet, ...]) -> list[str]:
    """The claims as a Markdown table, with what a reader has to know below."""
    (sheet,) = sheets
    head, *body = sheet.text()
    table = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(line)} |" for line in body)]
    return [*table, "", *(f"- {note}" for note in sheet.remarks)]


def written(text: str) -> str:
    """A page with its block made again."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *lines(make(NAME, definition(NAME)).sheets), "", END + after])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    text = asked.page.read_text(encoding="utf-8")
    if asked.check:
        return int(written(text) != text)
    asked.page.write_text(written(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
