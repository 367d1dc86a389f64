"""The `Service` of a server: models, queue and worker put together."""

import logging
import time
from concurrent.futures import Future
from itertools import count
from secrets import token_hex
from threading import Thread
from typing import Any

from segbench.errors import EngineError
from segbench.predict import passes
from segbench.serve.bounds import network
from segbench.serve.loaded import Loaded
from segbench.serve.logs import tell
from segbench.serve.measure import Measures, Took
from segbench.serve.models import Models
from segbench.serve.outputs import check, inputs, outputs, shapes
from segbench.serve.queue import Queue, Waiting
from segbench.serve.refusal import Refusal
from segbench.serve.request import Answer, Described, Listed, Request
from segbench.serve.settings import Settings
from segbench.serve.worker import TICK_S, Job, Worker

PLATFORMS = {
    "tensorrt": "tensorrt_plan",
    "tensorrt-rtx": "tensorrt_plan",
    "torch": "pytorch",
    "torch-compiled": "pytorch",
}
"""As the protocol spells what an engine runs; the others run ONNX graphs."""


class Server:
    """See `Service`. Models are loaded beside; until they are, it is not ready.

    Args:
        settings: Of the server.

    Raises:
        InputError: One line: a model that was asked for is not there, or may not be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._stopping = settings, False
        self._queue = Queue[Job](settings)
        self._measures = Measures(lambda: len(self._queue), lambda: self._queue.size, self.ready)
        self._models = Models(settings, lambda name, hit: self._measures.bound(name, hit=hit), self._changed)
        self._prefix, self._numbers = token_hex(3), count(1)
        self._worker = Worker(self._queue, lambda loaded, images: self._measures.batch(loaded.card, images))
        self._worker.start()
        self._loading = Thread(target=self._models.load_all, name="segbench-loading", daemon=True)
        self._loading.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until all models were loaded at the start; whether they are, in that time.

        Raises:
            EngineError: One of them cannot be.
        """
        self._loading.join(seconds)
        if failed := self._models.failed():
            raise EngineError(f"model {failed!r} could not be loaded; the log says why")
        return self.ready()

    def ready(self) -> bool:
        """See `Service.ready`."""
        return not self._stopping and self._models.ready()

    def model_ready(self, name: str, version: str = "") -> bool:
        """See `Service.model_ready`."""
        return self._models.answers(name, version) and not self._stopping

    def describe(self, name: str, version: str = "") -> Described:
        """See `Service.describe`."""
        loaded = self._models.get(name, version)
        card, platform = loaded.card, PLATFORMS.get(loaded.engine.name, "onnx_onnxv1")
        versions = self._models.versions(name)
        return Described(name, versions, card.version, platform, inputs(), outputs(len(card.classes)), max_batch=0)

    def submit(self, request: Request) -> Future[Answer]:
        """See `Service.submit`."""
        number, loaded = f"{self._prefix}-{next(self._numbers)}", None
        try:
            check(request, self._settings)
            loaded = self._models.enter(request.model, request.version)
            job = self._job(request, number, loaded)
            self._queue.put(job)
        except Refusal as refusal:
            if loaded is not None:
                self._models.leave(loaded)
            self._measures.refused(refusal.kind, None if loaded is None else loaded.card)
            self._log(request, number, refusal.kind)
            raise
        job.future.when_done(self._close, job)
        return job.future

    def statistics(self, name: str = "", version: str = "") -> list[dict[str, Any]]:
        """See `Service.statistics`."""
        if not name:
            return [self._measures.statistics(loaded.card) for loaded in self._models.all()]
        versions = (version,) if version else self._models.versions(name) or ("",)
        return [self._measures.statistics(self._models.get(name, each).card) for each in versions]

    def index(self) -> list[Listed]:
        """See `Service.index`."""
        return self._models.index()

    def load(self, name: str) -> None:
        """See `Service.load`."""
        self._control()
        self._models.load(name)

    def unload(self, name: str) -> None:
        """See `Service.unload`."""
        self._control()
        self._models.unload(name)

    def reload(self) -> None:
        """Loads anew what is loaded, as who runs the server may ask; what cannot be loaded stays as it was."""
        for name in dict.fromkeys(listed.name for listed in self.index() if listed.state == "READY"):
            try:
                self._models.load(name)
            except Refusal as refusal:
                tell("not reloaded", logging.WARNING, model=name, why=str(refusal))
        tell("reloaded")

    def metrics(self) -> bytes:
        """See `Service.metrics`."""
        return self._measures.text()

    def drain(self) -> bool:
        """See `Service.drain`; what is not answered in time is refused as "busy"."""
        self._queue.close()
        self._stopping = True  # last, so that what is not ready takes nothing
        done = self._models.idle(self._settings.drain_s)
        for job in self._queue.clear():
            if job.future.set_running_or_notify_cancel():
                job.refuse(Refusal("busy", "the server stopped before it came to this request", 1.0))
        if done:
            self._worker.join(TICK_S)
        tell("drained", all=done)
        return done

    def _job(self, request: Request, number: str, loaded: Loaded) -> Job:
        settings, card, images = self._settings, loaded.card, request.images
        passed = passes(card, request.samples)
        deadline = time.monotonic() + settings.timeout_s
        return Job(
            client=request.client,
            key=(loaded, network(card, request.samples, request.seed), images.shape[1:]),
            images=len(images),
            size=images.nbytes,
            deadline=deadline if request.deadline is None else min(deadline, request.deadline),
            ended=self._ended,
            request=request,
            id=number,
            loaded=loaded,
            shapes=shapes(request, len(card.classes), passed, settings),
        )

    def _ended(self, waiting: Waiting, refusal: Refusal | None) -> None:
        """Counts and logs a job, before whoever waits for it learns of its end."""
        assert isinstance(waiting, Job)
        job, now, card = waiting, time.monotonic(), waiting.loaded.card
        total = now - job.since
        took = Took(job.begun - job.since, job.times, total)
        if refusal is not None:
            self._measures.refused(refusal.kind, card, total)
            self._log(job.request, job.id, refusal.kind, total_s=total)
            return
        voxels = job.request.images.size
        self._measures.answered(card, took, job.images, voxels, job.batch)
        self._log(
            job.request,
            job.id,
            "ok",
            answered=card.version,
            batch=job.batch,
            queue_s=took.queued,
            compute_s=took.times.computing,
            total_s=total,
        )

    def _close(self, job: Job, future: Future[Answer]) -> None:
        if future.cancelled():
            self._ended(job, Refusal("cancelled", "nobody waits for the answer"))
        self._models.leave(job.loaded)

    def _log(self, request: Request, number: str, outcome: str, **more: Any) -> None:  # noqa: ANN401  (see `tell`)
        tell(
            "request",
            request=number,
            id=request.id,
            client=request.client,
            model=request.model,
            version=request.version,
            samples=request.samples,
            seed=request.seed,
            shape=list(request.images.shape),
            outcome=outcome,
            **more,
        )

    def _changed(self, loaded: Loaded, come: bool) -> None:
        (self._measures.loaded if come else self._measures.unloaded)(loaded.card, loaded.engine)

    def _control(self) -> None:
        if not self._settings.control:
            raise Refusal("forbidden", "this server does not let clients load and unload models (setting 'control')")
