"""A scan of any size into a result on disk: resumed where it was left, by one process or by many."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segbench.cascade import Cascade, Refined, cascade_of
from segbench.engines import Engine
from segbench.errors import InputError, OutputError
from segbench.foreign import Look, look_of, looked_at
from segbench.io import telling
from segbench.predict import pyramid
from segbench.predict.bounds import masked
from segbench.predict.folder import Folder
from segbench.predict.job import Job, Wanted, check_same, start, wanted
from segbench.predict.result import MAPS, Result
from segbench.predict.said import said
from segbench.predict.sampling import sample_masks, stream, tiles
from segbench.predict.summary import Summary, read_result, summarise
from segbench.predict.tiff import write_tiffs
from segbench.tiling import Tile
from segbench.volume import Float32, Volume
from segbench.zoo import Model

Format = Literal["zarr", "tiff"]
Progress = Callable[[str, int, int, int], None]
"""Called with what is being done, steps done, steps in all and the voxels of this step."""
Compute = Callable[[Job, Sequence[tuple[int, Tile]], Callable[[Tile], None]], None]
"""Computes numbered tiles of a job, in this process or in others, and calls back after each."""
COMPRESSED = 0.5
"""Of what the arrays take uncompressed: more than any measured result did (a third)."""


@dataclass(frozen=True)
class Request:
    """What is predicted, and how.

    Attributes:
        volume: Grey values (Z, Y, X).
        model: Of the zoo or a folder.
        engine: A started engine.
        out: Final name of the result.
        samples: Monte-Carlo samples; 0 for the network without dropout.
        seed: Of the masks.
        invert: Segment the image's negative.
        keep_samples: How many samples' own labels are kept.
        shard: (i, n): this process does the i-th of n parts, counted from 0.
        restart: Throw away what was computed before.
        format: "zarr", or "tiff" for a folder of BigTIFF files.
    """

    volume: Volume
    model: Model
    engine: Engine
    out: Path
    samples: int = 16
    seed: int = 0
    invert: bool = False
    keep_samples: int = 0
    shard: tuple[int, int] = (0, 1)
    restart: bool = False
    format: Format = "zarr"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        summary: Of the whole result, or None while tiles of other shards are missing.
        missing: Numbers of the tiles that are.
        tiles: How many there are in all.
        computed: How many this process computed.
    """

    summary: Summary | None
    missing: tuple[int, ...]
    tiles: int
    computed: int


def predict_scan(request: Request, progress: Progress, compute: Compute | None = None) -> Outcome:
    """Computes what is not there yet of a result, and completes it once all of it is.

    Raises:
        InputError: The scan cannot be segmented, or something asked for is out of range.
        OutputError: The result cannot be written, another process writes it, or it is of something else.
    """
    number, count = request.shard
    if not 0 <= number < count:
        raise InputError(f"--shard {number}/{count}: shards of {count} are 0/{count} to {count - 1}/{count}")
    if request.restart and count > 1:
        raise InputError("--restart would throw away what other shards computed: use it without --shard")
    asked = wanted(
        request.volume, request.model, request.engine, request.samples, request.seed,
        invert=request.invert, keep=request.keep_samples, form=request.format,
    )  # fmt: skip
    grid = tiles(request.model.card, request.volume.shape)
    folder, there = Folder(request.out), _finished(request, asked)
    if there is not None:
        folder.tidy()
        return Outcome(there, (), len(grid), 0)
    seeing = look_of(request.model, request.engine)  # what cannot be read is said before anything is there
    cascade = cascade_of(request.model, request.engine)
    result = Result(folder.result, grid, request.keep_samples, doubts=cascade is not None)
    folder.make(int(COMPRESSED * _bytes(result)))
    with folder.held(request.shard):
        with folder.making(), folder.unless_begun(alone=count == 1):
            job = _job(folder, request, asked, seeing)
            with telling(folder.result):
                result.make()
        own = _share(list(enumerate(grid)), request.shard)
        computed = _tiles(folder, job, own, progress, compute or _here(request, folder, result, seeing, cascade))
        return _complete(folder, job, result, request, progress, computed)


def _finished(request: Request, asked: Wanted) -> Summary | None:
    """The summary of a result that is there and is what was asked for."""
    if not request.out.exists():
        return None
    found = read_result(request.out)
    if found is None:
        raise OutputError(f"{request.out}: is there and is no result of segbench predict: choose another --out")
    if request.restart:
        return None
    check_same(found.job.wanted, asked, request.out)
    return found


def _job(folder: Folder, request: Request, asked: Wanted, seeing: Look | None) -> Job:
    if request.restart:
        folder.clear()
    job = folder.read_job()
    if job is None:
        job = start(request.volume, request.model, asked, seeing)
        folder.write_job(job)
    check_same(job.wanted, asked, folder.path)
    return job


def _share(numbered: Sequence[tuple[int, Tile]], shard: tuple[int, int]) -> Sequence[tuple[int, Tile]]:
    """The tiles of one shard: neighbours, so that few slices are read by two."""
    number, count = shard
    total = len(numbered)
    return numbered[number * total // count : (number + 1) * total // count]


def _tiles(folder: Folder, job: Job, own: Sequence[tuple[int, Tile]], progress: Progress, compute: Compute) -> int:
    done = folder.done()
    missing = [(number, tile) for number, tile in own if number not in done]
    count = len(own) - len(missing)
    progress("segmenting", count, len(own), 0)

    def finished(tile: Tile) -> None:
        nonlocal count
        count += 1
        progress("segmenting", count, len(own), int(np.prod(np.subtract(tile.stop, tile.start))))

    if missing:
        compute(job, missing, finished)
    return len(missing)


def _here(request: Request, folder: Folder, result: Result, seeing: Look | None, cascade: Cascade | None) -> Compute:
    """Computes tiles in this process."""

    def compute(job: Job, wanted: Sequence[tuple[int, Tile]], finished: Callable[[Tile], None]) -> None:
        model, engine = request.model, request.engine
        compute_tiles(request.volume, model, engine, job, folder, result, wanted, finished, seeing, cascade)

    return compute


def compute_tiles(
    volume: Volume,
    model: Model,
    engine: Engine,
    job: Job,
    folder: Folder,
    result: Result,
    wanted: Iterable[tuple[int, Tile]],
    finished: Callable[[Tile], None] | None = None,
    seeing: Look | None = None,
    cascade: Cascade | None = None,
) -> None:
    """Computes and writes numbered tiles; each is recorded once its files are written.

    Where `seeing` is given, the records of some tiles say how foreign they are.

    Raises:
        OutputError: They cannot be written.
    """
    numbers = {tile: number for number, tile in wanted}
    card, asked = model.card, job.wanted
    run = engine.bind(sample_masks(card, asked.samples, asked.seed))
    foreign: dict[Tile, float | None] = {}
    seen = frozenset() if seeing is None else looked_at(result.grid)

    def looked(tile: Tile, image: Float32) -> None:
        if seeing is not None and tile in seen:
            foreign[tile] = seeing.tile(image, tile, job.scaling).score

    def finish(tile: Tile, logits: Float32, refined: Refined | None) -> None:
        found = said(logits, card, asked.keep_samples, engine.threads, refined)
        with telling(folder.result):
            result.write(tile, found)
        folder.record(
            numbers[tile],
            {
                "labels": np.bincount(found.labels.ravel(), minlength=len(job.classes)).tolist(),
                "active": found.active.tolist(),
                "entropy": float(found.entropy.sum(dtype=np.float64)),
                "mutual_information": float(found.mutual.sum(dtype=np.float64)),
                "foreign": foreign.pop(tile, None),
                "doubted": None if found.doubted is None else int(np.count_nonzero(found.doubted)),
            }
            | masked(job.conformal, found.probability),
        )

    stream(volume, run, job.scaling, numbers, finish, finished, looked if seeing is not None else None, cascade)


def _complete(folder: Folder, job: Job, result: Result, request: Request, progress: Progress, computed: int) -> Outcome:
    """Completes the result where all of its tiles are there; else says which are missing."""
    total = len(result.grid)
    with folder.finishing() as alone:
        found = read_result(request.out) if not request.restart and request.out.exists() else None
        if found is not None:  # another shard was quicker
            return Outcome(found, (), total, computed)
        missing = tuple(sorted(set(range(total)) - folder.done()))
        if missing or not alone:
            return Outcome(None, missing, total, computed)
        step, steps = 0, pyramid.chunks(result)

        def built() -> None:
            nonlocal step
            step += 1
            progress("coarser levels", step, steps, 0)

        summary = summarise(job, list(folder.records(range(total))))
        with telling(folder.result):
            pyramid.build(result, len(job.classes), built)
            result.describe(job, summary.attributes())
            folder.sweep()
        whole = folder.result
        if request.format == "tiff":
            written = folder.path / "tiff"
            whole = write_tiffs(result, job, summary, written, lambda n, of: progress("writing TIFF", n, of, 0))
        folder.publish(whole)
        return Outcome(summary, (), total, computed)


def _bytes(result: Result) -> int:
    """Of a result, uncompressed, its coarser levels included."""
    return int(np.prod(result.grid.volume) * (2 * len(MAPS) + len(result.labels)) * 8 / 7)
