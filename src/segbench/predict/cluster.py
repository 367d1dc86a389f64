"""The tiles of a result on the workers of a Dask scheduler, each a task; a lost worker costs its tile."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from segbench.cascade import Cascade, cascade_of
from segbench.engines import Engine, start
from segbench.errors import InputError, OutputError, SegbenchError
from segbench.foreign import Look, look_of
from segbench.hardware import cores
from segbench.predict.folder import Folder
from segbench.predict.job import Job
from segbench.predict.result import Result
from segbench.predict.sampling import tiles
from segbench.predict.scan import Compute, Request, compute_tiles
from segbench.tiling import Tile
from segbench.volume import Volume
from segbench.zoo import find

LOCAL, MOST = "local:", 256


@dataclass(frozen=True)
class Start:
    """How a worker starts its engine: the arguments of `engines.start`.

    Attributes:
        zoo: Name or folder of the model, as the workers find it.
        engine: Name of the engine.
        precision: Of the convolutions.
        threads: Processor threads of each worker.
        device: "cpu" or "cuda".
        thin: Whether samples are thinner networks; None where that is possible.
    """

    zoo: str
    engine: str
    precision: str
    threads: int | None
    device: str
    thin: bool | None


@dataclass(frozen=True)
class _Context:
    """All that a worker needs, beside the tile."""

    volume: Volume
    how: Start
    job: Job
    folder: Folder


_STARTED: dict[tuple[str, str, Start], tuple[Engine, Result, Look | None, Cascade | None]] = {}
"""Of this worker, so that masks are bound and arrays opened once."""


def over_dask(address: str, request: Request, how: Start) -> Compute:
    """Computes tiles on the workers at `address`, or on new ones here: "local:N".

    Raises:
        InputError: Dask is not installed, or the address is none.
    """
    if find_spec("distributed") is None:
        raise InputError("--dask needs the package distributed: pip install 'segbench[dask]'")
    count = address.removeprefix(LOCAL)
    if address.startswith(LOCAL) and not (count.isdecimal() and 1 <= int(count) <= MOST):
        raise InputError(f"--dask {address}: give local:N with 1 to {MOST} workers, or a scheduler's address")

    def compute(job: Job, wanted: Sequence[tuple[int, Tile]], finished: Callable[[Tile], None]) -> None:
        from distributed import as_completed

        with _client(address, how.threads) as (client, threads):
            here = Start(how.zoo, how.engine, how.precision, threads, how.device, how.thin)
            context = client.scatter(_Context(request.volume, here, job, Folder(request.out)), broadcast=True)
            tasks = {client.submit(_compute, context, n, tile, pure=False): tile for n, tile in wanted}
            for task in as_completed(list(tasks)):
                _check(task)
                finished(tasks.pop(task))

    return compute


def _check(task: Any) -> None:  # noqa: ANN401
    try:
        task.result()
    except SegbenchError:
        raise
    except Exception as error:
        raise OutputError(f"a Dask worker failed: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _compute(context: _Context, number: int, tile: Tile) -> None:
    """One tile, in a worker."""
    job, how = context.job, context.how
    model = find(how.zoo)
    key = (str(context.folder.out.absolute()), job.model_dump_json(), how)
    if key not in _STARTED:
        # whoever asked has proved it, or insists
        engine = start(model, how.engine, how.precision, how.threads, device=how.device, thin=how.thin, unverified=True)
        grid = tiles(model.card, job.wanted.shape)
        result = Result(context.folder.result, grid, job.wanted.keep_samples, doubts=model.card.cascade is not None)
        _STARTED.clear()  # of another result
        _STARTED[key] = (engine, result, look_of(model, engine), cascade_of(model, engine))
    engine, result, seeing, cascade = _STARTED[key]
    one = [(number, tile)]
    compute_tiles(context.volume, model, engine, job, context.folder, result, one, seeing=seeing, cascade=cascade)


@contextmanager
def _client(address: str, threads: int | None) -> Iterator[tuple[Any, int | None]]:
    """A client, and the threads of each worker's engine."""
    from distributed import Client, LocalCluster

    if not address.startswith(LOCAL):
        try:
            client = Client(address, timeout="20s")
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(f"--dask {address}: no scheduler answers there ({error}): check the address") from error
        with client:
            yield client, threads
        return
    count = int(address.removeprefix(LOCAL))
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=40
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client, threads or max(1, cores() // count)
