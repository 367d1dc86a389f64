"""How fast all metrics are at any number of voxels, what each of them costs, and in how much memory."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from segbench.bench.memory import own_peak_mib
from segbench.bench.row import Finite, Seconds, Triple, provenance
from segbench.bench.synthetic import labelled, repeated
from segbench.bench.timing import Progress, Steps, interleaved, whole
from segbench.errors import InputError
from segbench.evaluate import tallied
from segbench.hardware import cores, processor
from segbench.io import check_output_folder, write_bytes
from segbench.metrics import slabs
from segbench.recipe import Strict, read_json
from segbench.tally import ALL, PARTS, Maps, Tally, tally
from segbench.volume import LazyArray

FORMAT = "segbench bench metrics 1"
EDGE = 512  # voxels of a plane's edge
MOST = 10**11
PIECES = 10  # memory is looked at after the first of so many, and after the last


class Request(Strict):
    """What to measure; the options of `segbench bench metrics`."""

    voxels: float = 1e8
    threads: int = 1
    seed: int = 0
    repeats: int = 5
    out: Path | None = None


class Part(Strict):
    """What one part of the metrics costs, by the rounds.

    Attributes:
        name: Of `tally.PARTS`.
        without_s: Processor seconds of everything else.
        alone_s: Processor seconds of this part and of what no part does without.
    """

    name: str
    without_s: tuple[Seconds, ...] = Field(min_length=1)
    alone_s: tuple[Seconds, ...] = Field(min_length=1)


class MetricsRow(Strict):
    """One measurement with its provenance.

    Attributes:
        shape: Voxels (Z, Y, X) of the stream.
        voxels: Of the stream.
        threads: That take a slab each.
        seed: Of the synthetic planes.
        seconds: Wall time of the whole stream: reading planes that are in memory, all sums, all metrics of them.
        core_s: Processor time of the same, over all threads: what others do on the machine is not in it.
        sample: Voxels that the parts are measured with.
        all_s: Processor seconds of everything, on those.
        none_s: Processor seconds of what no part does without: slabs, checks of every value, which voxels are wrong.
        parts: Each part left out, and alone.
        early_mib: Largest resident memory of the process after the first tenth of the stream.
        peak_mib: After all of it, Python and libraries and the synthetic planes included.
        device: Processor.
        cores: That this process may use.
        versions: Of Python and of the packages that computed it.
        git: Commit of the source checkout, "-dirty" where its code differs from it; None outside a checkout.
        segbench: Version of segbench.
        made: When, ISO 8601 in UTC.
    """

    shape: Triple
    voxels: int = Field(ge=1)
    threads: int = Field(ge=1)
    seed: int
    seconds: Seconds
    core_s: Seconds
    sample: int = Field(ge=1)
    all_s: tuple[Seconds, ...] = Field(min_length=1)
    none_s: tuple[Seconds, ...] = Field(min_length=1)
    parts: tuple[Part, ...]
    early_mib: Finite
    peak_mib: Finite
    device: str
    cores: int
    versions: dict[str, str]
    git: str | None
    segbench: str
    made: str


class _File(Strict):
    format: Literal["segbench bench metrics 1"]
    rows: tuple[MetricsRow, ...]


def check(request: Request) -> None:
    """Proves the request before anything runs.

    Raises:
        InputError: A number is out of range.
        OutputError: The folder cannot be written.
    """
    if not 1 <= request.voxels <= MOST:
        raise InputError(f"voxels is {request.voxels:g}; it must be from 1 to {MOST:g}")
    for name in ("threads", "repeats"):
        if getattr(request, name) < 1:
            raise InputError(f"{name} is {getattr(request, name)}; it must be at least 1")
    if request.seed < 0:
        raise InputError(f"seed {request.seed}: it must be at least 0")
    if request.out is not None:
        check_output_folder(request.out)


def measure(request: Request, progress: Progress | None = None) -> MetricsRow:
    """Streams synthetic planes through all metrics, then times each part.

    Args:
        request: What to measure.
        progress: Called with (steps done, steps, what is done).

    Raises:
        InputError: A number is out of range; said before anything runs.
        OutputError: The folder cannot be written; likewise.
    """
    check(request)
    steps = Steps(progress, 1 + PIECES + (2 + 2 * len(PARTS)) * (1 + request.repeats))
    steps("making planes")
    depth = -(-int(request.voxels) // EDGE**2)
    planes, phases = labelled((max(1, min(slabs.SLAB // EDGE**2, depth)), EDGE, EDGE), request.seed)
    runs = {bits: whole(partial(tally, planes, phases, parts=bits), time.process_time) for bits in _choices()}
    for run in runs.values():  # compiles, and fetches the pages
        steps("warm-up")
        run()
    maps, reference = repeated(planes, phases, depth)
    seconds, core_s, early = _stream(maps, reference, len(phases), request.threads, steps)
    peak = own_peak_mib()
    times = interleaved(runs, request.repeats, lambda _: steps("each part"))
    parts = tuple(
        Part(name=name, without_s=times[ALL - bits], alone_s=times[bits]) for name, bits in PARTS.items()
    )  # fmt: skip
    found = provenance() | {"shape": reference.shape, "voxels": depth * EDGE**2, "threads": request.threads}
    found |= {
        "seed": request.seed,
        "seconds": seconds,
        "core_s": core_s,
        "sample": phases.size,
        "all_s": times[ALL],
        "none_s": times[0],
    }
    found |= {"parts": parts, "early_mib": early, "peak_mib": peak, "device": processor(), "cores": cores()}
    return MetricsRow.model_validate(found)


def write_rows(path: Path, row: MetricsRow) -> None:
    """Writes the measurement as JSON, whole or not at all."""
    check_output_folder(path.parent)
    write_bytes(path, json.dumps({"format": FORMAT, "rows": [row.model_dump(mode="json")]}, indent=1) + "\n")


def read_rows(path: Path) -> tuple[MetricsRow, ...]:
    """The rows of a file that `write_rows` wrote.

    Raises:
        InputError: One line that names the file, the key and what is wrong with it.
    """
    return read_json(path, _File).rows


def _choices() -> tuple[int, ...]:
    """All parts, none, each alone, and all but each."""
    return tuple(dict.fromkeys((ALL, 0, *PARTS.values(), *(ALL - bits for bits in PARTS.values()))))


def _stream(
    maps: Maps, reference: LazyArray, period: int, threads: int, step: Callable[[str], None]
) -> tuple[float, float, float]:
    """Wall and processor seconds of the whole stream with all its metrics, and peak memory after its first tenth."""
    depth = reference.shape[0]
    # whole periods, so that a slab is planes as they lie in memory, and no copy of them is timed
    cuts = [*(depth * n // PIECES // period * period for n in range(PIECES)), depth]
    early, total, begun, core = 0.0, Tally(), time.perf_counter(), time.process_time()
    for start, stop in zip(cuts, cuts[1:], strict=False):
        step("streaming")
        if stop > start:
            total += tally(maps, reference, part=slice(start, stop), threads=threads)
            early = early or own_peak_mib()
    tallied.scores(total, "truth")
    tallied.curves(total, "truth")
    return time.perf_counter() - begun, time.process_time() - core, early
