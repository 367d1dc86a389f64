"""From a result to its page, in one file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segbench.errors import InputError, OutputError, SegbenchError
from segbench.io import check_output_folder, write_bytes
from segbench.io.message import printable
from segbench.view.grey import open_scan, reduced
from segbench.view.layers import PAGE_BYTES, Layer, carried, grey_layer
from segbench.view.page import page, resolution
from segbench.view.result import Level, Result, open_result
from segbench.volume import Volume

SMALLEST_EDGE = 16


@dataclass(frozen=True)
class Written:
    """What a page shows.

    Attributes:
        bytes: Of the file.
        resolution: Such as "1/4 resolution".
        warnings: Sentences that stand on the page, and that its maker should read too.
    """

    bytes: int
    resolution: str
    warnings: tuple[str, ...]


def view(
    folder: Path,
    out: Path,
    scan: str | None = None,
    edge: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Writes one HTML file that shows a result, whole or not at all.

    Args:
        folder: What `segbench predict` wrote.
        out: The file.
        scan: Path of the scan, where it is no longer where the result says.
        edge: Voxels that the longest edge may have; a coarser level is carried where the page would be too large.
        progress: Called with (slices of the scan read, slices).

    Raises:
        InputError: One line: no result, or a damaged one.
        OutputError: One line: `out` cannot be written.
    """
    if edge < SMALLEST_EDGE:
        raise InputError(f"edge is {edge}: give at least {SMALLEST_EDGE}")
    if out.is_dir():
        raise OutputError(f"{out}: cannot be written, it is a folder: name a file")
    result = open_result(folder)
    check_output_folder(out.parent, need_bytes=2 * PAGE_BYTES)
    volume, missing = _scan(result, scan)
    level, layers = carried(result, edge, grey=volume is not None)
    if volume is not None:
        grey, missing = _grey(volume, level, progress)
        layers += grey
    warnings = (missing,) if missing else ()
    text = page(result, level, layers, warnings).encode()
    write_bytes(out, text)
    return Written(len(text), resolution(level), (*warnings, *result.about.warnings))


def _scan(result: Result, given: str | None) -> tuple[Volume | None, str]:
    """The scan, or why there is none."""
    source = result.about.source
    # a path that is not absolute starts where predict was called, or where the scan and its result lie together
    paths = [path for path in (given or source,) if path]
    if source and not given and "://" not in source:
        paths.append(str(result.folder.parent / source))
    reasons = []
    for path in dict.fromkeys(paths):
        try:
            return open_scan(path, result.levels[0].shape, trusted=given is not None), ""
        except SegbenchError as error:
            reasons.append(printable(str(error)))
    return None, f"Without grey values: {[*reasons, 'the result does not say where its scan is.'][0]}"


def _grey(volume: Volume, level: Level, progress: Callable[[int, int], None] | None) -> tuple[list[Layer], str]:
    try:
        return [grey_layer(reduced(volume, level, progress))], ""
    except SegbenchError as error:
        return [], f"Without grey values: {printable(str(error))}"
