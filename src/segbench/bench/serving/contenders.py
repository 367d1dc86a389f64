"""Who is asked, how, and what was found so far: servers that run, and contenders that ask them."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segbench.bench.row import provenance
from segbench.bench.scene import synthetic
from segbench.bench.serving import mlserver, payload
from segbench.bench.serving.load import Asked, Plan, latencies, loaded
from segbench.bench.serving.process import Server, free_ports, served
from segbench.bench.serving.row import Kind, Round, ServingRow, Wire
from segbench.bench.serving.row import Server as ServerName
from segbench.bench.serving.summary import CROWD, MANY, throughput
from segbench.bench.serving.wire import BUSY, OK, Way, asker
from segbench.bench.timing import rotated, whole
from segbench.errors import EngineError
from segbench.normalisation import fit
from segbench.predict import Predictor, tiles
from segbench.recipe import Strict
from segbench.volume import Float32, Volume
from segbench.zoo import Model

SINGLES = 8  # inferences of each kind, one at a time, before every loop
FEW = 2  # requests of each client of another server in a round: it may take ten times as long
OVERLOAD, POOL = 3, 192  # times the capacity; connections that overload comes over
MIB = 2**20
WAIT_S = 600.0
ONE = ("probability",)  # an answer as large as the request
SAME = ("probability", "entropy", "mutual_information")  # what MLServer's graph says
REQUESTS = "segbench_requests_total"
QUEUE = "segbench_queue_requests"
TIMED = {
    "none": "segbench.load(...).predict of the image in memory, in the benchmark's own process",
    "single": "request sent to answer received over an open connection; made beforehand, the answer not decoded",
    "loop": "likewise, each client sending the next when it has the answer; clients are threads of one other process",
    "overload": "from when a request was due to its answer; arrivals are a Poisson process",
}  # fmt: skip


class Request(Strict):
    """What to benchmark; the options of `segbench bench serve`."""

    zoo: str = "vnet-battery"
    samples: int = 16
    seed: int = 0
    size: int = 64
    repeats: int = 5
    threads: int | None = None
    engine: str = "auto"
    precision: str = "f32"
    against: tuple[str, ...] = ()
    overload_s: float = 60.0
    per_client: int = 4
    out: Path | None = None


@dataclass(eq=False)
class Contender:
    """Who is asked, how, and what was found so far: rounds, and of single requests the seconds of each round."""

    kind: Kind
    server: ServerName
    wire: Wire
    clients: int
    request: Path
    port: int
    outputs: tuple[str, ...]
    answer: int = 0
    apart: float = 0.0
    rate: float | None = None
    rounds: list[Round] = field(default_factory=list)
    times: list[list[float]] = field(default_factory=list)

    @property
    def way(self) -> Way:
        """What it speaks."""
        return "grpc" if self.wire == "grpc raw" else "http"

    @property
    def name(self) -> str:
        """In progress and messages."""
        return f"{self.server}, {self.wire}, {self.clients} client{'s' if self.clients > 1 else ''}"


class Bench:
    """Servers that run, contenders that ask them, and what they found."""

    def __init__(self, request: Request, model: Model, bare: Predictor, folder: Path) -> None:
        self.request, self.model, self.bare, self.folder = request, model, bare, folder
        self.image = synthetic(request.size)
        self.loops: list[Contender] = []
        self.singles: list[Contender] = []
        self.strained: Contender | None = None
        self._bare: list[list[float]] = [[] for _ in range(request.repeats)]
        self._probability: Float32 = np.zeros(0, np.float32)
        self._server: Server

    def start(self, stack: contextlib.ExitStack) -> None:
        """Starts the servers, which end with `stack`, and makes the requests."""
        request, engine = self.request, self.bare.engine
        ports = free_ports(5)
        root = self.model.path.parent
        command = served(request.zoo, root, engine.name, request.precision, engine.threads, ports[:2])
        self._server = stack.enter_context(Server("segbench serve", command, ports[0]))
        binary = self._contender("loop", "segbench", "http binary", MANY, ports[0])
        remote = self._contender("loop", "segbench", "grpc raw", MANY, ports[1])
        crowd = self._contender("loop", "segbench", "http binary", CROWD, ports[0])
        self.loops += [binary, remote, crowd]
        self.singles += [
            self._contender("single", "segbench", one.wire, 1, one.port, outputs)
            for outputs in ((), ONE)
            for one in (binary, remote)
        ]
        if request.overload_s > 0:
            self.strained = self._contender("overload", "segbench", "http binary", POOL, ports[0])
        if "mlserver" in request.against:
            self.loops += [
                self._contender("loop", "segbench", "http json", CROWD, ports[0], SAME),
                self._contender("loop", "segbench", "grpc raw", CROWD, ports[1], SAME),
                self._contender("loop", "mlserver", "http json", CROWD, ports[2], mlserver.OUTPUTS),
                self._contender("loop", "mlserver", "grpc raw", CROWD, ports[3], mlserver.OUTPUTS),
            ]
            (tile,) = tiles(self.model.card, self.image.shape)
            before = (-tile.read[0], -tile.read[1], -tile.read[2])
            z, y, x = (r + n - v for r, n, v in zip(tile.read, tile.shape, self.image.shape, strict=True))
            home = self.folder / "mlserver"
            home.mkdir()
            of = (self.model, request.samples, request.seed, engine.threads, (before, (z, y, x)), ports[2:], home)
            stack.enter_context(mlserver.start(*of))

    def _contender(
        self, kind: Kind, server: ServerName, wire: Wire, clients: int, port: int, outputs: tuple[str, ...] = ()
    ) -> Contender:
        image: Float32 = self.image
        parameters: dict[str, payload.Parameter] = {
            "segbench_samples": self.request.samples, "segbench_seed": self.request.seed,
        }  # fmt: skip
        if server == "mlserver":
            image, parameters = fit(self.model.card.input.normalisation, Volume(image))(image), {}
        tensor, name = image[None, None], self.model.card.name
        asked: Any = () if server == "mlserver" else outputs
        if wire == "grpc raw":
            made = payload.grpc_raw(name, tensor, parameters, asked)
        else:
            encode = payload.http_binary if wire == "http binary" else payload.http_json
            made = encode(port, name, tensor, parameters, asked)
        path = self.folder / f"{server}-{wire}-{len(outputs)}".replace(" ", "-")
        path.write_bytes(made)
        times: list[list[float]] = [[] for _ in range(self.request.repeats)]
        return Contender(kind, server, wire, clients, path, port, outputs, times=times)

    def warm(self) -> None:
        """Every contender once, its answer against that of bare inference."""
        for _ in range(2):
            found = self.bare.predict(self.image, samples=self.request.samples, seed=self.request.seed)
        self._probability = found.probability
        strained = [] if self.strained is None else [self.strained]
        for contender in (*self.singles, *self.loops, *strained):
            self._prove(contender)
        for contender in self.loops:
            if contender.server == "segbench":
                self._load(contender, contender.clients)

    def _prove(self, contender: Contender) -> None:
        one = asker(contender.way, contender.port, contender.request.read_bytes(), WAIT_S)
        try:
            status, body = one.ask(), one.body()
        finally:
            one.close()
        if status != OK:
            said = body[:200].decode(errors="replace") or "no answer"
            raise EngineError(f"{contender.name}: status {status or 'none'} where an answer was due: {said}")
        arrays = payload.grpc_arrays(body) if contender.way == "grpc" else payload.http_arrays(one.headers, body)
        name = "mean" if contender.server == "mlserver" else "probability"
        contender.answer = len(body)
        contender.apart = float(
            np.abs(arrays[name].reshape(self.image.shape).astype(np.float32) - self._probability).max()
        )

    def singles_once(self, number: int) -> None:
        """Bare inference and single requests in turn, for round `number`."""
        request = self.request
        runs: list[tuple[list[float], Callable[[], float]]] = [
            (self._bare[number], whole(lambda: self.bare.predict(self.image, request.samples, request.seed)))
        ]
        with contextlib.ExitStack() as stack:
            for contender in self.singles:
                one = asker(contender.way, contender.port, contender.request.read_bytes(), WAIT_S)
                stack.callback(one.close)
                one.ask()  # connects
                runs.append((contender.times[number], whole(one.ask)))
            for take in range(SINGLES):
                for seconds, once in rotated(runs, take):
                    seconds.append(once())

    def loop_once(self, contender: Contender) -> None:
        """One round of a closed loop."""
        each = self.request.per_client if contender.server == "segbench" else FEW
        asked = self._load(contender, contender.clients * each)
        contender.rounds.append(_round(asked, first=False))

    def _load(self, contender: Contender, requests: int) -> list[Asked]:
        plan = Plan(
            way=contender.way, port=contender.port, request=contender.request, clients=contender.clients,
            requests=requests, timeout_s=WAIT_S,
        )  # fmt: skip
        return loaded(plan)

    def overload(self) -> None:
        """Arrivals at three times the capacity that the closed loop of many clients found."""
        contender = self.strained
        assert contender is not None
        row = self._row(self.loops[0])
        contender.rate = OVERLOAD * throughput(row)[1]
        plan = Plan(
            way="http", port=contender.port, request=contender.request, clients=POOL, rate=contender.rate,
            seconds=self.request.overload_s, seed=self.request.seed, timeout_s=WAIT_S,
        )  # fmt: skip
        before = self._answered()
        with self._server.watched(max(0.1, self.request.overload_s / 600)) as seen:
            asked = loaded(plan)
        time.sleep(0.2)  # the last answer is counted once it has been sent
        waiting = int(sum(self._server.counts(QUEUE).values()))
        changes = {"counted": self._answered() - before, "waiting": waiting, "resident_mib": tuple(seen)}
        contender.rounds.append(_round(asked, first=True).model_copy(update=changes))

    def _answered(self) -> int:
        counts = self._server.counts(REQUESTS)
        return int(sum(value for labels, value in counts.items() if 'outcome="ok"' in labels))

    def rows(self) -> tuple[ServingRow, ...]:
        """All that was measured."""
        found = [self._bare_row()]
        for contender in self.singles:
            contender.rounds = [_timed(values) for values in contender.times]
        strained = [] if self.strained is None else [self.strained]
        return (*found, *(self._row(contender) for contender in (*self.singles, *self.loops, *strained)))

    def _bare_row(self) -> ServingRow:
        one = Contender("single", "none", "in process", 1, Path(), 0, ())
        one.rounds = [_timed(values) for values in self._bare]
        return self._row(one)

    def _row(self, contender: Contender) -> ServingRow:
        engine, request = self.bare.engine, self.request
        theirs = contender.server == "mlserver"
        facts = {
            "kind": contender.kind, "server": contender.server, "wire": contender.wire, "clients": contender.clients,
            "rate": contender.rate, "rounds": tuple(contender.rounds), "apart": contender.apart,
            "sent_mib": contender.request.stat().st_size / MIB if contender.port else self.image.nbytes / MIB,
            "answer_mib": contender.answer / MIB, "engine": "onnxruntime" if theirs else engine.name,
            "device": engine.device, "precision": "f32" if theirs else request.precision, "threads": engine.threads,
            "samples": request.samples, "size": request.size, "outputs": contender.outputs,
            "timed": TIMED["none" if contender.server == "none" else contender.kind], "model": self.model.card.name,
            "model_hash": self.model.hash, "seed": request.seed,
        }  # fmt: skip
        found = provenance()
        if theirs:
            found["versions"] = {**found["versions"], "mlserver": mlserver.VERSION}  # type: ignore[dict-item]
        return ServingRow.model_validate(facts | found)


def _timed(values: Sequence[float]) -> Round:
    return Round(seconds=math.fsum(values), answered=len(values), latencies_s=tuple(values))


def _round(asked: Sequence[Asked], first: bool) -> Round:
    answered = sum(one.status == OK for one in asked)
    refused = sum(one.status == BUSY for one in asked)
    return Round(
        seconds=max(one.ended for one in asked) - min(one.due for one in asked),
        answered=answered,
        latencies_s=tuple(latencies(asked, OK, first)),
        refused=refused,
        refused_s=tuple(latencies(asked, BUSY)),
        failed=len(asked) - answered - refused,
    )
