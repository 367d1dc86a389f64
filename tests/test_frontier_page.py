"""docs/frontier.md: its tables are of the rows beside it."""

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
COMMAND = [sys.executable, str(DOCS / "frontier.py"), "--check", "--page"]


def test_the_page_is_of_its_record():
    assert subprocess.run([*COMMAND, str(DOCS / "frontier.md")], check=False).returncode == 0, (
        "python docs/frontier.py --page docs/frontier.md"
    )


def test_another_figure_on_the_page_is_seen(tmp_path):
    page = tmp_path / "frontier.md"
    page.write_text((DOCS / "frontier.md").read_text().replace("| 1.00 |", "| 1.01 |", 1))
    page.with_suffix(".json").write_text((DOCS / "frontier.json").read_text())
    assert subprocess.run([*COMMAND, str(page)], check=False).returncode == 1


@pytest.mark.parametrize("asked", [[], ["--check"]])
def test_nothing_asked_is_one_line(asked):
    done = subprocess.run([*COMMAND[:2], *asked], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "nothing asked" in done.stderr
