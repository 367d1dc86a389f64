"""The one thread that computes: takes batches from the queue and runs them, whatever model they are of.

One for all models, for each engine uses all threads of the processor: two that run at once share them, take longer
together than one after the other, and answer both late.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread

import numpy as np

from segbench.errors import SegbenchError
from segbench.predict import Asked, Case, Prediction, Times, predict_cases, tiles
from segbench.serve.loaded import Loaded
from segbench.serve.logs import tell
from segbench.serve.outputs import PROBABILITIES, SAMPLE_LABELS, Shape
from segbench.serve.queue import Queue, Waiting
from segbench.serve.refusal import Refusal
from segbench.serve.request import SAMPLES, SEED, Answer, Array, Parameter, Request
from segbench.volume import Volume

FIELDS = {
    "labels": "labels",
    "probability": "probability",
    "entropy": "entropy",
    "mutual_information": "mutual",
    PROBABILITIES: "probabilities",
    SAMPLE_LABELS: "kept",
}
"""Output to attribute of `Prediction`."""
WARNINGS = "segbench_warnings"
TICK_S = 0.25  # how often what is overdue is looked for while a batch runs


@dataclass(eq=False, kw_only=True)
class Job(Waiting):
    """A request that waits for an inference.

    Attributes:
        request: As it came.
        id: Of the server's own, for the log.
        loaded: The model that answers it, whatever is loaded meanwhile.
        shapes: Of its outputs.
        begun: On the queue's clock, when its batch began; NaN before.
        batch: Images in its batch.
        times: That its images took.
        found: What was found of its images, by number.
    """

    request: Request
    id: str
    loaded: Loaded
    shapes: dict[str, Shape]
    begun: float = float("nan")
    batch: int = 0
    times: Times = field(default_factory=Times)
    found: dict[int, Prediction] = field(default_factory=dict)


class Worker:
    """Runs batches until the queue is closed and empty.

    Args:
        queue: Of jobs.
        batch: Told of each batch: the model, and its images.
    """

    def __init__(self, queue: Queue[Job], batch: Callable[[Loaded, int], None]) -> None:
        self._queue, self._batch, self._stopped = queue, batch, Event()
        self._threads = [
            Thread(target=work, name=f"segbench-{work.__name__}", daemon=True) for work in (self.work, self.watch)
        ]

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> None:
        """Waits for the end, which a closed queue brings."""
        self._threads[0].join(seconds)

    def work(self) -> None:
        """Batch after batch."""
        while jobs := self._queue.take():
            begun = time.monotonic()
            self._batch(jobs[0].loaded, sum(job.images for job in jobs))
            run(jobs)
            self._queue.served(len(jobs), time.monotonic() - begun)
            del jobs  # images, answers and a model that was reloaded, while it waits for the next ones
        self._stopped.set()

    def watch(self) -> None:
        """Refuses what is overdue while a batch runs."""
        while not self._stopped.wait(TICK_S):
            self._queue.expire()


def run(jobs: list[Job]) -> None:
    """Answers or refuses every job of a batch; they are of one model, one pair of samples and seed, and one shape.

    Where an engine fails, those that are left are tried once more, each alone: one does not harm the others.
    """
    loaded, begun = jobs[0].loaded, time.monotonic()
    for job in jobs:
        job.begun, job.batch, job.found, job.times = begun, sum(each.images for each in jobs), {}, Times()
    try:
        _predict(jobs)
    except Exception as error:  # an engine raises what it likes, and the server lives on
        loaded.bounds.clear()
        left = [job for job in jobs if not job.future.done()]
        if len(jobs) == 1:
            for job in left:
                _fail(job, error)
            return
        tell("batch failed", logging.WARNING, error=error, requests=len(left), model=loaded.card.name)
        for job in left:
            run([job])


def _predict(jobs: list[Job]) -> None:
    loaded, request = jobs[0].loaded, jobs[0].request
    card, whose = loaded.card, dict[Case, tuple[Job, int]]()

    def cases() -> Iterator[Case]:
        """One after the other, so that the maps of no more than are being worked on are held."""
        for job in jobs:
            of = job.request
            for number, image in enumerate(of.images):
                if job.future.done():
                    break
                volume = Volume(image, source=f"image {number + 1}")
                keep = job.shapes.get(SAMPLE_LABELS, (0, 0))[1]
                asked = Asked(card, of.samples, of.seed, of.invert, keep, loaded.engine.threads)
                case = Case(volume, asked, loaded.look, loaded.cascade, partial(_stop, job))
                whose[case] = job, number
                yield case

    def ended(case: Case) -> None:
        job, number = whose.pop(case)
        if job.future.done():
            return
        try:
            _keep(job, number, case)
        except Exception as error:  # beside the engine: of this job alone
            _fail(job, error)

    z, y, x = request.images.shape[1:]
    tile = tiles(card, (z, y, x)).shape
    predict_cases(cases(), loaded.bounds.get(request.samples, request.seed, tile), ended)


def _stop(job: Job) -> SegbenchError | None:
    """Why what is left of a job is not to be computed."""
    if job.future.done():
        return Refusal("cancelled", "another image of the same request was refused")
    if job.future.left:
        return Refusal("cancelled", "nobody waits for the answer")
    if time.monotonic() > job.deadline:
        return Refusal("late", "the time was up while the request was computed")
    return None


def _keep(job: Job, number: int, case: Case) -> None:
    """Keeps what was found of an image; the last one makes the answer."""
    if case.refused is not None:
        refused = case.refused
        job.refuse(refused if isinstance(refused, Refusal) else Refusal("invalid", str(refused)))
        return
    job.found[number] = case.found()
    job.times += case.times
    if len(job.found) == job.images:
        found, job.found = [job.found[i] for i in range(job.images)], {}
        job.answer(_answer(job, found))


def _answer(job: Job, found: list[Prediction]) -> Answer:
    outputs: dict[str, Array] = {}
    for name, shape in job.shapes.items():
        each = [getattr(one, FIELDS[name]) for one in found]
        outputs[name] = (each[0] if len(each) == 1 else np.stack(each)).reshape(shape)
    said: dict[str, Parameter] = {SAMPLES: found[0].samples, SEED: found[0].seed}
    if warnings := "\n".join(text for one in found for text in one.warnings):
        said[WARNINGS] = warnings
    return Answer(job.loaded.card.name, job.loaded.card.version, outputs, said)


def _fail(job: Job, error: Exception) -> None:
    """Refuses a job for what is no fault of its client; the log has the traceback."""
    tell("failed", logging.ERROR, error=error, request=job.id, model=job.loaded.card.name)
    job.refuse(Refusal("internal", f"the server failed on this request; its log says why under {job.id}"))
