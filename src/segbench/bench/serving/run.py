"""One benchmark of a server from a request to rows, tables and a folder."""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import segbench
from segbench.bench.scene import LARGEST, SMALLEST
from segbench.bench.serving import chart, mlserver
from segbench.bench.serving.contenders import Bench, Request
from segbench.bench.serving.row import ServingRow, write_rows
from segbench.bench.serving.sheet import foot, sheets
from segbench.bench.timing import Progress, Steps, rotated
from segbench.errors import InputError, UnknownNameError
from segbench.evaluate.sheet import Sheet, comma_separated, page
from segbench.io import check_output_folder, write_bytes
from segbench.predict import tiles
from segbench.zoo import Model
from segbench.zoo import find as find_model

ROWS, PAGE, TABLE, CHART = "serve.json", "serve.md", "serve.csv", "serve.png"
AGAINST = ("mlserver",)


@dataclass(frozen=True)
class Result:
    """Rows, the tables made from them, and where they come from."""

    rows: tuple[ServingRow, ...]
    sheets: tuple[Sheet, ...]
    foot: tuple[str, ...]


def run(request: Request, progress: Progress | None = None) -> Result:
    """Benchmarks and, where a folder is named, writes the results into it.

    Args:
        request: What to benchmark.
        progress: Called with (steps done, steps, what is done).

    Raises:
        SegbenchError: The request cannot be met, or a server does not start or does not answer.
    """
    model = _check(request)
    ends = bool(request.against) + (request.overload_s > 0)
    steps = Steps(progress, 3 + ends + request.repeats * (3 + 4 * len(request.against)))
    if request.against:
        steps("an environment for MLServer")
        mlserver.environment(steps)
    steps("bare inference")
    bare = segbench.load(request.zoo, request.engine, request.precision, request.threads)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segbench-serve-")))
        bench = Bench(request, model, bare, folder)
        steps("starting servers")
        bench.start(stack)
        steps("warm-up")
        bench.warm()
        for number in range(request.repeats):
            for contender in rotated(bench.loops, number):
                steps(contender.name)
                bench.singles_once(number)
                bench.loop_once(contender)
        if request.overload_s > 0:
            steps(f"overload, {request.overload_s:.0f} s")
            bench.overload()
        rows = bench.rows()
    result = Result(rows, tuple(sheets(rows)), tuple(foot(rows)))
    if request.out is not None:
        write(request.out, result)
    return result


def _check(request: Request) -> Model:
    for name in ("samples", "repeats"):
        if getattr(request, name) < 1:
            raise InputError(f"{name} is {getattr(request, name)}; it must be at least 1")
    if request.per_client < 2:
        raise InputError(f"per-client is {request.per_client}; it must be at least 2: a client's first is not counted")
    if not SMALLEST <= request.size <= LARGEST:
        raise InputError(f"size is {request.size}; it must be from {SMALLEST} to {LARGEST}")
    for name in request.against:
        if name not in AGAINST:
            raise UnknownNameError("server", name, AGAINST)
    model = find_model(request.zoo)
    if request.against and len(tiles(model.card, (request.size,) * 3)) > 1:
        raise InputError(f"size is {request.size}: --against mlserver runs the graph once, so it must be a single tile")
    if request.against and model.card.cascade is not None:
        raise InputError(f"model {model.card.name!r} is of two networks; --against mlserver runs one graph")
    if request.out is not None:
        check_output_folder(request.out)
    return model


def write(out: Path, result: Result) -> None:
    """Rows, page, table and chart, each whole or not at all."""
    write_rows(out / ROWS, result.rows)
    chart.draw(result.rows, out / CHART)
    write_bytes(out / TABLE, comma_separated(result.sheets))
    write_bytes(out / PAGE, page(f"Serving {result.rows[0].model}", result.sheets, result.foot, CHART))
