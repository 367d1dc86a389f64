"""Many clients in one process of their own: a closed loop, or arrivals that do not wait for answers.

python -m segbench.bench.serving.load < plan.json > answers.json
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import NamedTuple

from segbench.bench.serving.wire import Way, asker
from segbench.errors import EngineError
from segbench.recipe import Strict

GRACE_S = 60.0


class Plan(Strict):
    """What the clients do.

    Attributes:
        way: That they speak.
        port: Of the server, on loopback.
        request: File of the bytes that each of them sends: a whole HTTP request, or a gRPC message.
        clients: That there are, each with a connection of its own.
        requests: Closed loop: how many they send together, each the next as soon as it has the answer to the last.
        rate: Arrivals a second, their gaps exponential, whatever became of those before; None for a closed loop.
        seconds: How long they arrive.
        seed: Of the gaps.
        timeout_s: After which an answer is given up.
    """

    way: Way
    port: int
    request: Path
    clients: int
    requests: int = 0
    rate: float | None = None
    seconds: float = 0.0
    seed: int = 0
    timeout_s: float = 600.0


class Asked(NamedTuple):
    """One request.

    Attributes:
        client: Number of the client.
        due: When it was to be sent, in seconds from the start.
        begun: When it was.
        ended: When all of its answer was there.
        status: As HTTP has it; 0 where none came.
    """

    client: int
    due: float
    begun: float
    ended: float
    status: int


def run(plan: Plan) -> list[Asked]:
    """Lets all clients ask, in this process.

    Returns:
        Every request that was sent or due, in the order of their answers.
    """
    request = plan.request.read_bytes()
    askers = [asker(plan.way, plan.port, request, plan.timeout_s) for _ in range(plan.clients)]
    due: SimpleQueue[float | None] = SimpleQueue()
    found: list[Asked] = []
    begin = time.perf_counter()

    def client(number: int) -> None:
        while (planned := due.get()) is not None:
            begun = time.perf_counter() - begin
            status = askers[number].ask()
            ended = time.perf_counter() - begin
            found.append(Asked(number, begun if plan.rate is None else planned, begun, ended, status))

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(plan.clients)]
    if plan.rate is None:
        for _ in range(plan.requests):
            due.put(0.0)
    for thread in threads:
        thread.start()
    if plan.rate is not None:
        for at in arrivals(plan.rate, plan.seconds, plan.seed):
            time.sleep(max(0.0, at - (time.perf_counter() - begin)))
            due.put(at)
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    for one in askers:
        one.close()
    return found


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Moments of a Poisson process, in seconds from the start."""
    draw, at = Random(seed), 0.0
    while (at := at + draw.expovariate(rate)) < seconds:
        yield at


def loaded(plan: Plan) -> list[Asked]:
    """The same in a process of its own, so that the clients' interpreter is not that of whoever measures.

    Raises:
        EngineError: It died.
    """
    command = [sys.executable, "-m", "segbench.bench.serving.load"]
    limit = plan.seconds + plan.timeout_s * (1 + plan.requests / plan.clients) + GRACE_S
    done = subprocess.run(
        command, input=plan.model_dump_json(), capture_output=True, text=True, check=False, timeout=limit
    )
    if done.returncode:
        raise EngineError(f"the clients' process ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return [Asked(*line) for line in json.loads(done.stdout)]


def latencies(asked: Sequence[Asked], status: int, first: bool = True) -> list[float]:
    """Seconds from when a request was due to its answer, of those that were answered so.

    Args:
        asked: All of them.
        status: Of the answers that count.
        first: Whether each client's first counts, which found a server that others had not filled yet.
    """
    seen: set[int] = set()
    found = []
    for one in sorted(asked, key=lambda one: one.begun):
        if one.status == status and (first or one.client in seen):
            found.append(one.ended - one.due)
        seen.add(one.client)
    return found


if __name__ == "__main__":
    json.dump(run(Plan.model_validate_json(sys.stdin.read())), sys.stdout)
