"""The tables of a benchmark of a server, pure functions of its rows."""

import math
from collections.abc import Sequence

from segbench.bench.serving import summary
from segbench.bench.serving.row import ServingRow
from segbench.evaluate.sheet import Cell, Heading, Sheet

OVERHEAD_MS, SHARE, QUEUE, STEADY = 3.0, 0.95, 1.3, 1.05
"""Numbers to reach: overhead at most, share of bare inference's throughput at least, p99 over a queue's at most, and
memory in the last third over that in the first at most."""
NAMES = {"none": "bare inference", "segbench": "segbench", "mlserver": "MLServer"}


def sheets(rows: Sequence[ServingRow]) -> list[Sheet]:
    """What was to be reached, one request at a time, closed loops, overload."""
    made = [_reached(rows), _single(rows), _loops(rows)]
    return made + [_overload(row) for row in rows if row.kind == "overload"]


def _reached(rows: Sequence[ServingRow]) -> Sheet:
    columns = (
        Heading("what", words=True), Heading("wire", words=True), Heading("measured", 3),
        Heading("to reach", words=True), Heading("reached", words=True),
    )  # fmt: skip
    lines: list[tuple[Cell, ...]] = []

    def line(what: str, row: ServingRow, value: float, limit: float, most: bool = True) -> None:
        reached = value <= limit if most else value >= limit
        lines.append((what, _wire(row), value, f"{'<=' if most else '>='} {limit:g}", "yes" if reached else "no"))

    for row in rows:
        if row.kind == "single" and row.server == "segbench":
            line("overhead of a single request (ms)", row, summary.overhead_ms(row, rows), OVERHEAD_MS)
    for row in rows:
        if row.kind == "loop" and row.server == "segbench" and row.clients == summary.MANY:
            what = f"throughput of {row.clients} clients, of bare inference's"
            line(what, row, summary.share_of_bare(row, rows), SHARE, most=False)
    crowd = summary.find(rows, "loop", "segbench", "http binary", summary.CROWD)
    if crowd is not None:
        measured, predicted = summary.against_queue(crowd, rows, 0.99)
        line(f"p99 of {crowd.clients} clients, of a queue's", crowd, measured / predicted, QUEUE)
    for row in rows:
        if row.kind == "overload":
            early, late = summary.thirds_mib(row)
            line("overload: memory of the last third, of the first's", row, late / early, STEADY)
            line("overload: taken and not answered", row, summary.unanswered(row), 0)
    notes = (
        "overhead: median of what a request took longer than the bare inference beside it; throughput: answers a "
        "second, of rounds the median",
        "a queue's: sums of as many of bare inference's times as there are clients, which is what each waits before "
        "one server that is never idle (R = N S: Reiser and Lavenberg 1980, no think time)",
    )
    return Sheet(_title(rows[0]), columns, tuple(lines), notes)


def _wire(row: ServingRow) -> str:
    """How it was asked, and for what if that is one map of the four."""
    return f"{row.wire}, {row.outputs[0]} alone" if row.kind == "single" and row.outputs else row.wire


def _title(row: ServingRow) -> str:
    threads = f"{row.threads} threads" if row.threads != 1 else "1 thread"
    return f"{row.model}, images of {row.size}^3 voxels, T = {row.samples}, {row.engine} {row.precision}, {threads}"


def _single(rows: Sequence[ServingRow]) -> Sheet:
    columns = (
        Heading("one at a time", words=True), Heading("wire", words=True), Heading("ms", 1), Heading("25 %", 1),
        Heading("75 %", 1), Heading("overhead (ms)", 2), Heading("+- (ms)", 2),
        Heading("sent (MiB)", 2), Heading("answer (MiB)", 2), Heading("apart (1e-6)", 2),
    )  # fmt: skip
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        if row.kind == "single":
            low, middle, high = (1e3 * summary.quantile(summary.latencies(row), q) for q in (0.25, 0.5, 0.75))
            more: tuple[Cell, ...] = (None, None, None, None)
            if row.server != "none":
                extra = summary.overhead_ms(row, rows), summary.overhead_error_ms(row, rows)
                more = (*extra, row.sent_mib, row.answer_mib)
            lines.append((NAMES[row.server], _wire(row), middle, low, high, *more, 1e6 * row.apart))
    count = len(summary.latencies(rows[0]))
    notes = (
        f"median and quartiles of {count}, bare inference and requests in turn, another one first each time",
        "+-: half of the 95 % interval of that median, 1.57 IQR / sqrt(n) (McGill, Tukey and Larsen 1978)",
        "apart: largest difference of the probability from that of bare inference",
    )
    return Sheet("One request at a time", columns, tuple(lines), notes)


def _loops(rows: Sequence[ServingRow]) -> Sheet:
    columns = (
        Heading("server", words=True), Heading("wire", words=True), Heading("clients", 0), Heading("answers/s", 2),
        Heading("25 %", 2), Heading("75 %", 2), Heading("of bare (%)", 1), Heading("p50 (s)", 2), Heading("p90 (s)", 2),
        Heading("p99 (s)", 2), Heading("queue's p99 (s)", 2), Heading("ratio", 2), Heading("failed", 0),
        Heading("sent (MiB)", 2), Heading("answer (MiB)", 2), Heading("apart (1e-6)", 2),
    )  # fmt: skip
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        if row.kind != "loop":
            continue
        low, middle, high = summary.throughput(row)
        quantiles = [summary.quantile(summary.latencies(row), q) for q in (0.5, 0.9, 0.99)]
        measured, predicted = summary.against_queue(row, rows, 0.99)
        queue = (predicted, measured / predicted) if row.server == "segbench" else (None, None)
        failed = sum(part.failed + part.refused for part in row.rounds)
        share = 100 * summary.share_of_bare(row, rows)
        first = (NAMES[row.server], row.wire, row.clients, middle, low, high, share)
        lines.append((*first, *quantiles, *queue, failed, row.sent_mib, row.answer_mib, 1e6 * row.apart))
    notes = [
        f"each client sends the next request when it has the answer; median and quartiles of {len(rows[0].rounds)} "
        "rounds in which every line has a turn; latencies without each client's first: of "
        + ", ".join(f"{len(summary.latencies(row))}" for row in rows if row.kind == "loop"),
    ]
    if any(row.server == "mlserver" for row in rows):
        notes += [
            "MLServer runs the same weights with the same masks over the same window as one ONNX graph in ONNX Runtime "
            "on as many threads, one worker, batches off (the graph takes one image); its images come normalised, "
            "segbench normalises and looks whether the scan is foreign",
            "MLServer takes images as JSON over HTTP, raw over gRPC; 'http binary' is segbench alone. Outputs there, "
            f"and here with {summary.CROWD} clients over http json and grpc raw: probability, entropy, mutual "
            "information",
        ]
    return Sheet("Closed loops", columns, tuple(lines), tuple(notes))


def _overload(row: ServingRow) -> Sheet:
    columns = (
        Heading("arrivals/s", 2), Heading("seconds", 0), Heading("arrived", 0), Heading("answered", 0),
        Heading("refused (503)", 0), Heading("other", 0), Heading("answered, by the server's count", 0),
        Heading("left waiting", 0), Heading("p50 (s)", 2), Heading("p99 (s)", 2), Heading("refusal's p99 (ms)", 0),
        Heading("first third (MiB)", 0), Heading("last third (MiB)", 0),
    )  # fmt: skip
    (part,) = row.rounds
    arrived = part.answered + part.refused + part.failed
    counted, waiting = (math.nan if value is None else value for value in (part.counted, part.waiting))
    times = [summary.quantile(part.latencies_s, q) for q in (0.5, 0.99)]
    refused = 1e3 * summary.quantile(part.refused_s, 0.99)
    line: tuple[Cell, ...] = (
        math.nan if row.rate is None else row.rate, part.seconds, arrived, part.answered, part.refused, part.failed,
        counted, waiting, *times, refused, *summary.thirds_mib(row),
    )  # fmt: skip
    notes = (
        f"three times the throughput of {summary.MANY} clients, a Poisson process over {row.clients} connections; "
        "latencies count from when a request was due",
        "MiB: largest resident memory of the server's process in the first third of the time and in the last",
    )
    return Sheet("Overload", columns, (line,), notes)


def foot(rows: Sequence[ServingRow]) -> list[str]:
    """Where the rows come from, a sentence each."""
    row = rows[-1]
    versions: dict[str, str] = {name: found for one in rows for name, found in one.versions.items()}
    shown = ("openvino", "onnxruntime", "mlserver", "numpy", "python")
    named = ", ".join(f"{package} {versions[package]}" for package in shown if package in versions)
    kinds = {"in process" if one.server == "none" else one.kind: one.timed for one in rows}
    return [
        "servers and clients share the machine and ask over loopback; the image is synthetic (a gyroid with noise)",
        *(f"timed, {kind}: {timed}" for kind, timed in kinds.items()),
        f"{row.device}, {row.threads} threads; {named}",
        f"segbench {row.segbench}, commit {(row.git or 'unknown')[:12]}, masks of seed {row.seed}, {row.made}",
    ]
