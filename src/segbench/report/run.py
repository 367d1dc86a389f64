"""From the folders of runs to one page, in one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.errors import InputError, OutputError
from segbench.io import check_not_read, check_output_folder, write_bytes
from segbench.report.folder import read
from segbench.report.groups import group
from segbench.report.page import page

MOST = 12  # runs that a page can show side by side
PAGE_BYTES = 20_000_000


@dataclass(frozen=True)
class Written:
    """What a page shows: bytes of the file, how many runs, on how many sets of volumes, and what it could not show."""

    bytes: int
    runs: int
    groups: int
    remarks: tuple[str, ...]


def report(folders: Sequence[Path], out: Path) -> Written:
    """Writes one HTML file that shows runs, whole or not at all.

    Args:
        folders: What `segbench eval --out` wrote, one or several.
        out: The file.

    Raises:
        InputError: One line: no run, or a damaged one.
        OutputError: One line: `out` cannot be written, or is one of the files that the runs consist of.
    """
    if out.is_dir():
        raise OutputError(f"{out}: cannot be written, it is a folder: name a file")
    check_not_read(out, folders)
    runs = [run for folder in folders for run in read(folder)]
    if len(runs) > MOST:
        raise InputError(f"{len(runs)} runs: a page shows {MOST} at most: name fewer folders")
    check_output_folder(out.parent, need_bytes=PAGE_BYTES)
    groups = group(runs)
    text = page(groups).encode()
    write_bytes(out, text)
    lettered = [run for each in groups for run in each.runs]
    remarks = tuple(f"{run.folder}: {run.without}" for run in lettered if run.without)
    return Written(len(text), len(runs), len(groups), remarks)
