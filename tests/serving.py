"""A `Service` without engines, for tests of what stands before it; it honours every rule of outputs and shapes."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np

from segbench.serve.outputs import check, inputs, outputs, shapes
from segbench.serve.refusal import Refusal
from segbench.serve.request import Answer, Described, Listed, Request
from segbench.serve.settings import Settings

STAGES = ("success", "queue", "compute_input", "compute_infer", "compute_output")


class FakeService:
    """Labels are 1 above the mean of each image; a sample's labels are those of the image moved by its number.

    Args:
        models: By name, (versions, the newest last; classes). "tiny" has two classes, "three" three.
        settings: Limits and defaults; those of `Settings` if not given.

    Attributes:
        seconds: That each inference takes.
        refusal: Raised by every `submit`, where it is set.
        broken: Every inference fails as "internal".
        gate: Inferences wait until it is set; it is set at first.
        requests: All that were submitted and not refused.
        started: The same, of those whose inference began.
    """

    def __init__(
        self,
        models: dict[str, tuple[Sequence[str], int]] | None = None,
        settings: Settings | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.models = dict({"tiny": (("1", "2"), 2), "three": (("1",), 3)} if models is None else models)
        self.settings = settings or Settings()
        self.seconds, self.refusal, self.broken = seconds, None, False
        self.gate = Event()
        self.gate.set()
        self.requests: list[Request] = []
        self.started: list[Request] = []
        self.futures: list[Future[Answer]] = []
        self.unloaded: set[str] = set()
        self.draining = False
        self._pool = ThreadPoolExecutor(1)

    def ready(self) -> bool:
        return not self.unloaded and not self.draining

    def model_ready(self, name: str, version: str = "") -> bool:
        self._known(name, version)
        return name not in self.unloaded

    def describe(self, name: str, version: str = "") -> Described:
        versions, classes = self._known(name, version)
        return Described(
            name, tuple(versions), version or versions[-1], "fake", inputs(), outputs(classes), max_batch=0
        )

    def submit(self, request: Request) -> Future[Answer]:
        if self.refusal is not None:
            raise self.refusal
        if self.draining:
            raise Refusal("busy", "the server is stopping", 1.0)
        versions, classes = self._known(request.model, request.version)
        if request.model in self.unloaded:
            raise Refusal("unknown", f"model {request.model!r} is not loaded")
        check(request, self.settings)
        wanted = shapes(request, classes, max(1, request.samples), self.settings)
        self.requests.append(request)
        future = self._pool.submit(self._infer, request, request.version or versions[-1], classes, wanted)
        self.futures.append(future)
        return future

    def statistics(self, name: str = "", version: str = "") -> list[dict[str, Any]]:
        if name:
            self._known(name, version)
        took = {"count": len(self.started), "ns": 1000 * len(self.started)}
        return [
            {
                "name": model,
                "version": each,
                "last_inference": 0,
                "inference_count": len(self.started),
                "execution_count": len(self.started),
                "inference_stats": dict.fromkeys(STAGES, took),
                "batch_stats": [],
            }
            for model, (versions, _) in self.models.items()
            for each in versions
            if name in ("", model) and version in ("", each)
        ]

    def index(self) -> list[Listed]:
        return [
            Listed(name, each, *(("UNAVAILABLE", "unloaded") if name in self.unloaded else ("READY",)))
            for name, (versions, _) in self.models.items()
            for each in versions
        ]

    def load(self, name: str) -> None:
        self._control(name)
        self.unloaded.discard(name)

    def unload(self, name: str) -> None:
        self._control(name)
        self.unloaded.add(name)

    def metrics(self) -> bytes:
        return b"# TYPE segbench_ready gauge\nsegbench_ready 1.0\n"

    def drain(self) -> bool:
        self.draining = True
        end = time.monotonic() + self.settings.drain_s
        while not all(future.done() for future in self.futures):
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def close(self) -> None:
        """Ends its thread; of the fake alone."""
        self.gate.set()
        self._pool.shutdown(cancel_futures=True)

    def _known(self, name: str, version: str) -> tuple[Sequence[str], int]:
        if name not in self.models or (version and version not in self.models[name][0]):
            raise Refusal("unknown", f"unknown model {name[:80]!r}; there are {', '.join(self.models)}")
        return self.models[name]

    def _control(self, name: str) -> None:
        if not self.settings.control:
            raise Refusal("forbidden", "this server does not let clients load and unload models")
        self._known(name, "")

    def _infer(self, request: Request, version: str, classes: int, wanted: dict[str, tuple[int, ...]]) -> Answer:
        self.started.append(request)
        self.gate.wait(60)
        time.sleep(self.seconds)
        if request.deadline is not None and time.monotonic() > request.deadline:
            raise Refusal("late", "the deadline passed while the request was waiting")
        if self.broken:
            raise Refusal("internal", "internal error, request 00000000")
        if not np.isfinite(request.images).all():
            raise Refusal("invalid", "image 1: voxels are NaN or infinite: replace them by numbers")
        images = -request.images if request.invert else request.images
        found: dict[str, np.ndarray] = {}
        for name, shape in wanted.items():
            if name == "labels":
                found[name] = expected_labels(images).reshape(shape)
            elif name == "samples":
                each = [expected_labels(images, t) for t in range(shape[1])]
                found[name] = np.stack(each, axis=1).reshape(shape)
            elif name == "probabilities":
                found[name] = np.full(shape, 1 / classes, dtype=np.float32)
            else:
                found[name] = (images * np.float32(0.5)).reshape(shape)
        parameters = {"segbench_samples": request.samples, "segbench_seed": request.seed}
        return Answer(request.model, version, found, parameters)


def expected_labels(images: np.ndarray, sample: int = 0) -> np.ndarray:
    """What `FakeService` calls 1 in images (N, Z, Y, X), uint8 of the same shape."""
    return (images > images.mean(axis=(1, 2, 3), keepdims=True) + 0.1 * sample).astype(np.uint8)
