"""`segbench view`."""

from pathlib import Path

from segbench.cli.screen import NOTES, progress_bar, results
from segbench.view.run import view


def run_view(folder: Path, out: Path, scan: str | None, edge: int) -> None:
    """Writes the page, and says what it could not show."""
    with progress_bar() as bars:
        task = bars.add_task("reading the scan", total=None)
        written = view(folder, out, scan, edge, lambda done, total: bars.update(task, completed=done, total=total))
    for warning in written.warnings:
        NOTES.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    results().print(
        f"{out}: {written.bytes / 1e6:.1f} MB, at {written.resolution}; open it in a browser",
        markup=False, soft_wrap=True,
    )  # fmt: skip
