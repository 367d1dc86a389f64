"""What is counted and timed: for Prometheus, and in the shape of Triton's ModelStatistics."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from segbench.engines import Engine
from segbench.predict import Times
from segbench.zoo.card import Card

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
IMAGES = (1, 2, 4, 8, 16, 32, 64)
STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
INFO = ("model", "version", "engine", "engine_version", "precision", "device", "threads")


@dataclass(frozen=True)
class Took:
    """Seconds of one request, from when it came to its answer; the stages overlap those of others.

    Attributes:
        queued: Until its batch began.
        times: In each stage, its images together.
        total: Of it all.
    """

    queued: float
    times: Times
    total: float

    @property
    def stages(self) -> tuple[float, float, float, float]:
        """In the order of `STAGES`."""
        return self.queued, self.times.reading, self.times.computing, self.times.finishing


@dataclass(eq=False)
class _Sum:
    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count, self.ns = self.count + 1, self.ns + round(seconds * 1e9)

    def told(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


@dataclass(eq=False)
class _Model:
    last_ms: int = 0
    images: int = 0
    batches: int = 0
    sums: dict[str, _Sum] = field(default_factory=lambda: defaultdict(_Sum))
    by_size: dict[int, dict[str, _Sum]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(_Sum)))


class Measures:
    """All of one server; any thread may call.

    Args:
        waiting: How many requests wait.
        waiting_bytes: Their images' size.
        ready: Whether the server is.
    """

    def __init__(
        self, waiting: Callable[[], float], waiting_bytes: Callable[[], float], ready: Callable[[], bool]
    ) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "segbench_requests", "Requests by what became of them", ("model", "version", "outcome"), registry=registry
        )
        self._batch = Histogram("segbench_batch_images", "Images in a batch", registry=registry, buckets=IMAGES)
        self._queued, self._computed, self._total = (
            Histogram(f"segbench_{name}_seconds", text, ("model",), registry=registry, buckets=SECONDS)
            for name, text in (
                ("queue", "Waiting for a batch to begin"),
                ("compute", "On the engine"),
                ("request", "From acceptance to answer"),
            )
        )
        self._voxels = Counter("segbench_voxels", "Voxels segmented", ("model",), registry=registry)
        self._bound = Counter(
            "segbench_bound", "Networks that were there or had to be compiled", ("model", "result"), registry=registry
        )
        self._info = Gauge("segbench_engine_info", "What runs a model", INFO, registry=registry)
        for name, text, value in (
            ("segbench_queue_requests", "Requests that wait", waiting),
            ("segbench_queue_bytes", "Bytes of images that wait", waiting_bytes),
            ("segbench_ready", "Whether all models are ready", lambda: float(ready())),
        ):
            Gauge(name, text, registry=registry).set_function(value)
        self._models: dict[tuple[str, str], _Model] = defaultdict(_Model)
        self._infos: dict[tuple[str, str], tuple[str, ...]] = {}
        self._lock = Lock()

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def loaded(self, card: Card, engine: Engine) -> None:
        """A model is there; it stands in place of one of the same version."""
        self.unloaded(card, engine)
        said = (engine.name, engine.version, engine.precision, engine.device, str(engine.threads))
        with self._lock:
            self._infos[card.name, card.version] = said
        self._info.labels(card.name, card.version, *said).set(1)
        for counter in (self._voxels.labels(card.name), *(self._bound.labels(card.name, r) for r in RESULTS)):
            counter.inc(0)

    def unloaded(self, card: Card, _: Engine) -> None:
        """A model is no more."""
        with self._lock:
            said = self._infos.pop((card.name, card.version), None)
        if said is not None:
            self._info.remove(card.name, card.version, *said)

    def bound(self, model: str, *, hit: bool) -> None:
        """Networks were asked for."""
        self._bound.labels(model, RESULTS[0] if hit else RESULTS[1]).inc()

    def batch(self, card: Card, images: int) -> None:
        """A batch began."""
        self._batch.observe(images)
        with self._lock:
            self._models[card.name, card.version].batches += 1

    def answered(self, card: Card, took: Took, images: int, voxels: int, batch: int) -> None:
        """A request was answered, in a batch of so many images."""
        self._requests.labels(card.name, card.version, "ok").inc()
        self._queued.labels(card.name).observe(took.queued)
        self._computed.labels(card.name).observe(took.times.computing)
        self._total.labels(card.name).observe(took.total)
        self._voxels.labels(card.name).inc(voxels)
        with self._lock:
            model = self._models[card.name, card.version]
            model.images += images
            model.last_ms = time.time_ns() // 1_000_000
            model.sums["success"].add(took.total)
            for stage, seconds in zip(STAGES, took.stages, strict=True):
                model.sums[stage].add(seconds)
                if stage != "queue":
                    model.by_size[batch][stage].add(seconds)

    def refused(self, outcome: str, card: Card | None = None, seconds: float = 0.0) -> None:
        """A request was not answered; `card` is None where it named no model that there is."""
        name, version = ("", "") if card is None else (card.name, card.version)
        self._requests.labels(name, version, outcome).inc()
        if card is not None:
            with self._lock:
                self._models[name, version].sums["fail"].add(seconds)

    def statistics(self, card: Card) -> dict[str, Any]:
        """Of a model, in the shape of Triton's ModelStatistics."""
        with self._lock:
            model = self._models[card.name, card.version]
            return {
                "name": card.name,
                "version": card.version,
                "last_inference": model.last_ms,
                "inference_count": model.images,
                "execution_count": model.batches,
                "inference_stats": {
                    part: model.sums[part].told() for part in ("success", "fail", *STAGES, "cache_hit", "cache_miss")
                },
                "batch_stats": [
                    {"batch_size": size, **{stage: sums[stage].told() for stage in STAGES[1:]}}
                    for size, sums in sorted(model.by_size.items())
                ],
                "memory_usage": [],
            }


RESULTS = ("hit", "compiled")
