"""`segbench predict`."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from segbench.cli.scans import raw_layout, voxel_edges
from segbench.cli.screen import NOTES, print_json, results
from segbench.engines import start
from segbench.errors import InputError, UnknownNameError
from segbench.foreign import Foreign
from segbench.io import open_volume
from segbench.predict.cluster import Start, over_dask
from segbench.predict.scan import Format, Outcome, Request, predict_scan
from segbench.predict.summary import Summary
from segbench.zoo import find
from segbench.zoo.findings import ConformalCard

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal


@dataclass(frozen=True)
class Asked:
    """The command line as it was typed; see `segbench predict --help`."""

    scan: str
    zoo: str
    out: Path
    samples: int
    seed: int
    engine: str
    precision: str
    threads: int | None
    device: str
    thin: bool | None
    voxel_um: str | None
    raw: dict[str, str | int | None]
    invert: bool
    keep_samples: int
    shard: str
    dask: str | None
    restart: bool
    format: str
    quiet: bool
    unverified: bool


def run_predict(asked: Asked, json: bool) -> None:
    """Predicts with a progress bar, or lines where there is no terminal, and prints the summary."""
    shard, form = _shard(asked.shard), _format(asked.format)
    model = find(asked.zoo)
    engine = start(
        model, asked.engine, asked.precision, asked.threads, device=asked.device, thin=asked.thin,
        unverified=asked.unverified,
    )  # fmt: skip
    volume = open_volume(asked.scan, voxel_edges(asked.voxel_um), raw=raw_layout(asked.raw))
    request = Request(
        volume, model, engine, asked.out, asked.samples, asked.seed, asked.invert, asked.keep_samples, shard,
        asked.restart, form,
    )  # fmt: skip
    how = Start(asked.zoo, engine.name, asked.precision, asked.threads, asked.device, asked.thin)
    compute = over_dask(asked.dask, request, how) if asked.dask else None
    if engine.note and not asked.quiet:
        NOTES.print(f"note: {engine.note}", soft_wrap=True, markup=False)
    with _progress(asked.quiet) as progress:
        outcome = predict_scan(request, progress, compute)
    _report(outcome, asked, shard, json)


def _report(outcome: Outcome, asked: Asked, shard: tuple[int, int], json: bool) -> None:
    summary = outcome.summary
    if json:
        print_json(
            {
                "out": str(asked.out),
                "complete": summary is not None,
                "missing_tiles": list(outcome.missing),
                "tiles": outcome.tiles,
                "computed": outcome.computed,
                "summary": None if summary is None else summary.model_dump(mode="json"),
            }
        )
    elif summary is None:
        NOTES.print(_missing(outcome, shard), soft_wrap=True, markup=False)
    elif not asked.quiet:
        show(summary)
    if summary is not None and not asked.quiet:
        for warning in summary.job.warnings:
            NOTES.print(f"warning: {warning}", style="yellow", soft_wrap=True, markup=False)
        done = "was there already" if not outcome.computed and shard[1] == 1 else "written"
        NOTES.print(f"{asked.out}: {done}", soft_wrap=True, markup=False)


def _missing(outcome: Outcome, shard: tuple[int, int]) -> str:
    if not outcome.missing:
        return "all tiles are there: another process is completing the result"
    count = shard[1]
    # tile k belongs to the shard i with i * tiles // n <= k < (i + 1) * tiles // n
    names = sorted({((k + 1) * count - 1) // outcome.tiles for k in outcome.missing})
    listed = ", ".join(f"{name}/{count}" for name in names)
    return (
        f"this shard is done; {len(outcome.missing)} of {outcome.tiles} tiles are missing, of shard {listed}: "
        "whoever comes last completes the result"
    )


def show(summary: Summary) -> None:
    """Phase fractions on the terminal."""
    wanted = summary.job.wanted
    rich = Table(title="Phase fractions", title_justify="left", title_style="bold", pad_edge=False)
    for name in ("class", "share", "mean of samples", "5 % to 95 % of samples"):
        rich.add_column(name, justify="left" if name == "class" else "right")
    for name, found in summary.fractions.items():
        rich.add_row(name, f"{found.labels:.4f}", f"{found.mean:.4f}", f"{found.low:.4f} to {found.high:.4f}")
    console = results()
    console.print(rich)
    if summary.job.conformal is not None and summary.conformal_assumes:
        show_bounds(summary, summary.job.conformal)
    voxels = " x ".join(str(n) for n in wanted.shape)
    console.print(
        f"{voxels} voxels (Z, Y, X), {wanted.model} {wanted.model_version}, {wanted.samples} samples, "
        f"seed {wanted.seed}, {wanted.engine}, {wanted.precision}; mean entropy {summary.entropy:.4f} nats",
        soft_wrap=True,
    )
    if summary.doubted is not None:
        console.print(f"the second network decided on {summary.doubted:.4f} of the voxels", soft_wrap=True)
    if summary.foreign is not None:
        console.print(_foreign(summary.foreign), soft_wrap=True)


def _foreign(found: Foreign) -> str:
    if found.score is None:
        return "foreign score: none; slices are too small, or no window is clear of the constant exterior"
    tiles = "" if found.tiles is None else f"; {100 * found.tiles:.0f} % of the tiles are above"
    seen = "" if found.features else "; grey values alone, no runtime for the network's features is installed"
    return f"foreign score {found.score:.4f}, warned of above {found.threshold:g}{tiles}{seen}"


def show_bounds(summary: Summary, fitted: ConformalCard) -> None:
    """Conformal intervals and masks on the terminal, and what they take for granted."""
    rich = Table(title="Conformal bounds", title_justify="left", title_style="bold", pad_edge=False)
    for name in ("class", f"{fitted.level:.0%} interval of the share", "surely", "possibly"):
        rich.add_column(name, justify="left" if name == "class" else "right")
    for name, found in summary.fractions.items():
        interval = f"{found.conformal_low:.4f} to {found.conformal_high:.4f}"
        rich.add_row(name, interval, f"{found.sure:.4f}", f"{found.possible:.4f}")
    console = results()
    console.print(rich)
    console.print(f"  The interval {summary.conformal_assumes}.", soft_wrap=True, markup=False)
    console.print(
        f"  Masks: what is possibly of a class misses at most {fitted.risk:.0%} of it on the mean, on such blocks.",
        soft_wrap=True,
        markup=False,
    )


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int, int], None]]:
    if quiet:
        yield lambda what, done, total, voxels: None
    elif not NOTES.is_terminal:
        yield _Lines()
    else:
        columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}")]
        left = [TextColumn("{task.fields[speed]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
        with Progress(*columns, *left, console=NOTES, transient=True) as bars:
            task, speed = bars.add_task("reading the scan", total=None, speed=""), _Speed()

            def step(what: str, done: int, total: int, voxels: int) -> None:
                bars.update(task, description=what, completed=done, total=total, speed=speed(voxels))

            yield step


class _Speed:
    """Voxels a second since the first tile was finished or found."""

    def __init__(self) -> None:
        self.start, self.voxels = time.monotonic(), 0

    def __call__(self, voxels: int) -> str:
        if not voxels:
            self.start, self.voxels = time.monotonic(), 0
            return ""
        self.voxels += voxels
        return f"{self.voxels / max(time.monotonic() - self.start, 1e-9):,.0f} voxels/s"


class _Lines:
    """A line now and then, for logs."""

    def __init__(self) -> None:
        self.last, self.speed, self.what = -PLAIN_EVERY, _Speed(), ""

    def __call__(self, what: str, done: int, total: int, voxels: int) -> None:
        speed, now = self.speed(voxels), time.monotonic()
        if what != self.what or done == total or now - self.last >= PLAIN_EVERY:
            self.last, self.what = now, what
            NOTES.print(f"{what}: {done} of {total}{', ' + speed if speed else ''}", soft_wrap=True, markup=False)


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None:
        raise InputError(f"--shard {text}: give i/n, counted from 0: 0/4 to 3/4 are four shards")
    return int(found[1]), int(found[2])


def _format(text: str) -> Format:
    if text not in get_args(Format):
        raise UnknownNameError("format", text, get_args(Format))
    return cast(Format, text)
