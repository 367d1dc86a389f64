"""`segbench report`."""

from collections.abc import Sequence
from pathlib import Path

from segbench.cli.screen import NOTES, results
from segbench.report.run import report


def run_report(runs: Sequence[Path], out: Path) -> None:
    """Writes the page, and says what it could not show."""
    written = report(runs, out)
    for remark in written.remarks:
        NOTES.print(f"note: {remark}", markup=False, soft_wrap=True)
    many = f"{written.runs} runs" if written.runs > 1 else "1 run"
    apart = f" on {written.groups} sets of volumes" if written.groups > 1 else ""
    words = f"{out}: {written.bytes / 1e6:.1f} MB, {many}{apart}; open it in a browser"
    results().print(words, markup=False, soft_wrap=True)
