"""The throughput of the metrics as tables, pure functions of its row, and their folder."""

from pathlib import Path
from statistics import median

from segbench.bench.throughput import MetricsRow, write_rows
from segbench.evaluate.sheet import Cell, Heading, Sheet, comma_separated, page
from segbench.io import write_bytes

ROWS, PAGE, TABLE = "metrics.json", "metrics.md", "metrics.csv"
MEGA, NANO = 1e6, 1e9


def sheets(row: MetricsRow) -> list[Sheet]:
    """The whole stream, and the parts."""
    return [_whole(row), _parts(row)]


def foot(row: MetricsRow) -> list[str]:
    """Where it comes from, a sentence each."""
    versions = ", ".join(f"{name} {row.versions[name]}" for name in ("numpy", "python") if name in row.versions)
    return [
        "the planes are synthetic: blobs, 16 samples that disagree near their boundaries; they lie in memory",
        f"{row.device}, {row.cores} cores; {versions}",
        f"segbench {row.segbench}, commit {(row.git or 'unknown')[:12]}, planes of seed {row.seed}, {row.made}",
    ]


def write(out: Path, row: MetricsRow) -> None:
    """Row, page and table, each whole or not at all."""
    write_rows(out / ROWS, row)
    write_bytes(out / TABLE, comma_separated(sheets(row)))
    write_bytes(out / PAGE, page("Speed of the metrics", sheets(row), foot(row)))


def _whole(row: MetricsRow) -> Sheet:
    columns = (
        Heading("voxels", 0), Heading("threads", 0), Heading("seconds"), Heading("Mvoxel/s", 1),
        Heading("Mvoxel/s a core", 1), Heading("ns a voxel", 1), Heading("early MiB", 0), Heading("peak MiB", 0),
    )  # fmt: skip
    rate = row.voxels / row.seconds
    line: tuple[Cell, ...] = (
        row.voxels, row.threads, row.seconds, rate / MEGA, row.voxels / row.core_s / MEGA,
        NANO * row.core_s / row.voxels, row.early_mib, row.peak_mib,
    )  # fmt: skip
    z, y, x = row.shape
    notes = (
        "seconds: wall time of all sums over the stream and all metrics of them, once; a core and ns: processor time",
        "early MiB: peak resident memory after the first tenth; peak MiB: after all of it, with Python, libraries and "
        "the synthetic planes",
    )
    return Sheet(f"All metrics of {z} x {y} x {x} voxels", columns, (line,), notes)


def _parts(row: MetricsRow) -> Sheet:
    columns = (
        Heading("part", words=True), Heading("alone (ns a voxel)", 2), Heading("share (%)", 1),
        Heading("saved without it (ns a voxel)", 2),
    )  # fmt: skip
    every, none = median(row.all_s), median(row.none_s)
    scale = NANO / row.sample
    alone = [median(part.alone_s) - none for part in row.parts]
    percent = 100 / (none + sum(alone))
    lines: list[tuple[Cell, ...]] = []
    for part, seconds in zip(row.parts, alone, strict=True):
        lines.append((part.name, scale * seconds, percent * seconds, scale * (every - median(part.without_s))))
    lines.append(("what all parts need", scale * none, percent * none, None))
    lines.append(("all at once", scale * every, None, None))
    notes = (
        f"processor time of one thread, medians of {len(row.all_s)} rounds over {row.sample} voxels; in a round every "
        "choice runs once",
        "alone: the part without the others; what all parts need (slabs, checks of each value, which voxels are wrong) "
        "is taken off and stands by itself; share: of the sum of these",
        "saved: how much faster all the others are without it. A processor does parts side by side, so this is less, "
        "and all at once less than the sum; what little there is drowns in noise on a busy machine",
    )
    return Sheet("What each part costs", columns, tuple(lines), notes)
