"""What rows of a server say: pure functions. Undefined is NaN.

What a queue predicts of a closed loop: N clients, each with one request under way and none of them ever idle, before
one server that takes requests in the order of their coming. Whoever comes finds the N - 1 others before it, so that
its time is the sum of N service times: their mean is N S, which is what mean value analysis gives for one station
without think time (Reiser and Lavenberg, J. ACM 27(2), 1980, 313-322: R(n) = S (1 + Q(n - 1)), Q(n) = n), and by
Little's law the throughput is 1 / S. Requests that run as batches change nothing of that as long as a batch of k
takes k S. Service times are those of bare inference in the same round; quantiles are those of sums of N of them,
drawn from one round at a time, because a busy machine is slower in one than in another.
"""

import math
from collections.abc import Sequence

import numpy as np

from segbench.bench.serving.row import Kind, Server, ServingRow, Wire
from segbench.bench.summary import quartiles

DRAWS = 20_000
MANY, CROWD = 32, 16  # clients of the numbers: throughput, and latency against what a queue predicts


def find(
    rows: Sequence[ServingRow], kind: Kind, server: Server, wire: Wire, clients: int | None = None
) -> ServingRow | None:
    """The contender."""
    return next(
        (
            row
            for row in rows
            if (row.kind, row.server, row.wire) == (kind, server, wire) and clients in (None, row.clients)
        ),
        None,
    )


def bare(rows: Sequence[ServingRow]) -> ServingRow | None:
    """Inference in the benchmark's own process."""
    return find(rows, "single", "none", "in process")


def latencies(row: ServingRow) -> list[float]:
    """Of all rounds."""
    return [value for part in row.rounds for value in part.latencies_s]


def quantile(values: Sequence[float], q: float) -> float:
    """Linear between order statistics; NaN of nothing."""
    return float(np.quantile(np.asarray(values, dtype=np.float64), q)) if values else math.nan


def overhead_ms(row: ServingRow, rows: Sequence[ServingRow]) -> float:
    """Median of what a request took longer than the bare inference of the same turn, in ms."""
    base = bare(rows)
    if base is None:
        return math.nan
    pairs = zip(latencies(row), latencies(base), strict=True)
    return 1e3 * quantile([a - b for a, b in pairs], 0.5)


def overhead_error_ms(row: ServingRow, rows: Sequence[ServingRow]) -> float:
    """Half of the 95 % interval of that median, in ms: 1.57 IQR / sqrt(n) (McGill, Tukey and Larsen 1978)."""
    base = bare(rows)
    if base is None:
        return math.nan
    extra = [a - b for a, b in zip(latencies(row), latencies(base), strict=True)]
    return 1e3 * 1.57 * (quantile(extra, 0.75) - quantile(extra, 0.25)) / math.sqrt(len(extra))


def throughput(row: ServingRow) -> tuple[float, float, float]:
    """Answers a second of each round: lower quartile, median, upper quartile."""
    if row.server == "none":
        # between two inferences there is what is timed of others
        rates = [len(part.latencies_s) / math.fsum(part.latencies_s) for part in row.rounds]
    else:
        rates = [part.answered / part.seconds for part in row.rounds]
    return quartiles(rates)


def share_of_bare(row: ServingRow, rows: Sequence[ServingRow]) -> float:
    """Throughput over that of bare inference in the same round; of rounds, the median."""
    base = bare(rows)
    if base is None:
        return math.nan
    pairs = zip(row.rounds, base.rounds, strict=True)
    shares = [a.answered / a.seconds * math.fsum(b.latencies_s) / len(b.latencies_s) for a, b in pairs]
    return quantile(shares, 0.5)


def predicted(services: Sequence[Sequence[float]], clients: int, q: float, seed: int = 0) -> float:
    """Quantile of a client's time in a closed loop before one server; see above.

    Args:
        services: Service times in seconds, by round.
        clients: N.
        q: From 0 to 1.
        seed: Of the draws.
    """
    draw = np.random.default_rng(seed)
    each = -(-DRAWS // max(1, len(services)))
    sums = [draw.choice(np.asarray(times), (each, clients)).sum(axis=1) for times in services if len(times)]
    return float(np.quantile(np.concatenate(sums), q)) if sums else math.nan


def against_queue(row: ServingRow, rows: Sequence[ServingRow], q: float) -> tuple[float, float]:
    """Measured quantile, and the one that a queue of bare inference's service time predicts, in seconds."""
    base = bare(rows)
    services = [] if base is None else [part.latencies_s for part in base.rounds]
    return quantile(latencies(row), q), predicted(services, row.clients, q)


def thirds_mib(row: ServingRow) -> tuple[float, float]:
    """Largest memory of the server in the first third of the time and in the last."""
    seen = [value for part in row.rounds for value in part.resident_mib]
    third = len(seen) // 3
    return (max(seen[:third]), max(seen[-third:])) if third else (math.nan, math.nan)


def unanswered(row: ServingRow) -> int:
    """Requests that were taken and not answered: neither answered nor refused, or left in the queue."""
    return sum(part.failed + (part.waiting or 0) for part in row.rounds)
