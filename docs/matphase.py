"""Puts what was measured of the MatPhase paper's claims between the marks of a page.

    python docs/matphase.py --page docs/matphase.md                  # of the stored rows
    python docs/matphase.py --page docs/matphase.md --check          # exit code 1 where the page says otherwise

The numbers are those of `segbench tables matphase-claims`, a pure function of the rows in evaluate/results.
"""

import argparse
import sys
from pathlib import Path

import marked

from segbench.evaluate.definitions import definition
from segbench.evaluate.harness import make
from segbench.evaluate.sheet import Sheet

NAME = "matphase-claims"


def lines(sheets: tuple[Sheet, ...]) -> list[str]:
    """The claims as a Markdown table, with what a reader has to know below."""
    (sheet,) = sheets
    head, *body = sheet.text()
    table = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(line)} |" for line in body)]
    return [*table, "", *(f"- {note}" for note in sheet.remarks)]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    return marked.write(asked.page, lines(make(NAME, definition(NAME)).sheets), check=asked.check)


if __name__ == "__main__":
    sys.exit(main())
