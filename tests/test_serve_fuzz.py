"""Requests that are nearly right: headers, JSON, binary lengths and shapes, each changed at random.

No answer is a 500, each has the one form of errors, none takes long, and afterwards the server is as it was.
"""

import gzip
import json
import os
import socket
import subprocess
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from serving_http import INFER, read_answer, request, told, told_raw

from segbench.serve.request import INVERT, OUTPUTS, SAMPLES, SEED

COUNT = 300
LONG = int(os.environ.get("SEGBENCH_FUZZ", "10000"))
KIB = 1024
GROWTH_KIB = 32 * KIB
"""Of the process, from after the first cases to after all: what allocators keep."""
WORDS = [
    "",
    "image",
    "labels",
    "entropy",
    "samples",
    "FP32",
    "UINT8",
    "BYTES",
    "tiny",
    "binary_data",
    "\x00",
    "é",
    "\U0001d7d9",
]

numbers = some.one_of(
    some.integers(-3, 9), some.integers(), some.floats(), some.sampled_from([2**31, 2**63, 2**64, -(2**63), 1e308]),
)  # fmt: skip
scalars = some.one_of(some.none(), some.booleans(), numbers, some.sampled_from(WORDS), some.text(max_size=8))
anything = some.recursive(
    scalars,
    lambda inner: (
        some.lists(inner, max_size=4) | some.dictionaries(some.sampled_from(WORDS) | some.text(), inner, max_size=3)
    ),
    max_leaves=8,
)
names = some.sampled_from(["labels", "probability", "entropy", "samples", "probabilities", "none"])
parameters = some.dictionaries(
    some.sampled_from([SAMPLES, SEED, OUTPUTS, INVERT, "timeout", "binary_data_output", "segbench_x", "priority"]),
    some.one_of(some.integers(0, 4), scalars, names),
    max_size=3,
)
flags = some.dictionaries(some.just("binary_data"), some.booleans() | scalars, max_size=1)
outputs = some.lists(some.fixed_dictionaries({"name": names}, optional={"parameters": flags}), max_size=3)
shapes = some.one_of(
    some.tuples(some.integers(1, 2), some.just(1), *[some.integers(1, 4)] * 3).map(list),
    some.tuples(some.integers(1, 2), some.just(1), *[some.integers(1, 4)] * 2).map(list),
    some.lists(some.integers(-1, 4) | numbers, max_size=6),
)
headers = some.dictionaries(
    some.sampled_from(
        ["Content-Type", "Content-Encoding", "Accept-Encoding", "Inference-Header-Content-Length", "X-Request-Id",
         "Accept", "Authorization", "Expect", "Connection", "Upgrade", "Origin", "Range", "If-Match", "Cookie",
         "X-Forwarded-For"]
    ),
    some.one_of(
        some.sampled_from(["gzip", "deflate", "identity", "gzip;q=x", "*", "Bearer x", "websocket", "Upgrade", "-1"]),
        some.integers(0, 500).map(str),
        some.text(some.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=20),
    ),
    max_size=3,
)  # fmt: skip
METHODS = ["POST"] * 40 + ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"]
PATHS = [INFER] * 40 + [
    "/v2/models/tiny/versions/2/infer", "/v2/models/three/infer", "/v2/models/none/infer",
    "/v2/models/tiny/versions//infer",
    "/v2/repository/index", "/v2/repository/models/tiny/load", "/v2/models/tiny/config", "/v2/models/%00/stats", "//",
    "*",     "/v2/models/tiny/infer?version=1&version=2", "/metrics", "/v2/health/ready", "http://x/v2",
]  # fmt: skip


@some.composite
def bodies(draw):
    """JSON and what follows it, with the headers that say so, right more often than not."""
    shape = [1, 1, 2, 3, 4] if draw(some.booleans()) else draw(shapes)
    datatype = draw(some.sampled_from(["FP32"] * 4 + ["UINT8", "FP64", "INT16", "FP16", "BOOL", "X"]))
    extents = [n if type(n) is int and 0 < n < 5 else 1 for n in shape]
    array = np.ones(extents, {"UINT8": "u1", "FP64": "f8", "INT16": "i2", "FP16": "f2"}.get(datatype, "f4"))
    raw, lengths = b"", {}
    if draw(some.booleans()):
        record, raw = told_raw(array, datatype), array.tobytes()
    else:
        record = told(array, datatype)
    record["inputs"][0]["shape"] = shape
    if draw(some.booleans()):
        record |= draw(
            some.fixed_dictionaries({}, optional={"parameters": parameters, "outputs": outputs, "id": some.text()})
        )
    if draw(some.integers(0, 3)) == 0:
        place = draw(some.sampled_from([record, record["inputs"][0]]))
        place[draw(some.sampled_from([*place, "x"]))] = draw(anything)
    text = json.dumps(record).encode()
    if draw(some.integers(0, 7)) == 0:
        at = draw(some.integers(0, len(text)))
        text = text[:at] + draw(some.binary(max_size=6)) + text[at + draw(some.integers(0, 6)) :]
    if raw:
        raw = raw[: draw(some.sampled_from([len(raw)] * 4 + [0, 1, len(raw) - 1]))] + draw(
            some.sampled_from([b""] * 4 + [b"x"])
        )
        lengths["Inference-Header-Content-Length"] = len(text) + draw(some.sampled_from([0] * 6 + [1, -1, 10**9]))
    body = text + raw
    coding = draw(some.sampled_from([None] * 4 + ["gzip", "deflate"]))
    if coding:
        body = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](body)
        lengths["Content-Encoding"] = coding
    return body, lengths


cases = some.tuples(some.sampled_from(METHODS), some.sampled_from(PATHS), bodies(), headers)
torn = some.binary(max_size=60) | some.tuples(some.integers(0, 400), some.binary(max_size=4))


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from serving import FakeService
from serving_http import served

class Forgetful(FakeService):
    def submit(self, request):
        for kept in (self.requests, self.started, self.futures):
            kept.clear()
        return super().submit(request)

with served(service=Forgetful(), max_request_mib=1, timeout_s=10) as server:
    print(server.port, flush=True)
    sys.stdin.readline()
    print(server.budget.used, flush=True)
"""


def resident_kib(process):
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // KIB


@contextmanager
def program():
    """A server in a process of its own, so that its memory is not that of hypothesis; and its port."""
    words = [sys.executable, "-c", SCRIPT.format(tests=str(Path(__file__).parent))]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=20)


def fuzz(count):
    """Statuses that came, by how often; and the server's memory, after a third and after all."""
    seen, memory = {}, []
    with program() as (process, port):

        @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(cases, some.none() | some.none() | some.none() | torn)
        def ask(case, broken):
            method, path, (body, lengths), more = case
            data = request(method, path, body, lengths | more)
            if isinstance(broken, bytes):
                data = broken + data
            elif broken:
                at, what = broken
                data = data[:at] + what + data[at + 1 :]
            status, _, said = exchange(port, data, method == "HEAD", broken is not None)
            seen[status] = seen.get(status, 0) + 1
            own = status == 504 and b"deadline" in said  # its own, in microseconds
            assert (status == 0 and broken is not None) or 100 <= status < 500 or status == 503 or own, (
                status,
                data,
                said,
            )
            if status >= 400 and method != "HEAD":
                assert "error" in json.loads(said), said
            if sum(seen.values()) == count // 3:
                memory.append(resident_kib(process))

        ask()
        memory.append(resident_kib(process))
        assert exchange(port, request("POST", INFER, json.dumps(told()).encode()), False, False)[0] == 200
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "0\n"  # of the budget is still held
    assert memory[-1] - memory[0] < GROWTH_KIB, memory
    print(seen, memory)
    return seen


def exchange(port, data, without_body, broken):
    """The answer; status 0 for none, where the server waits for the rest of a request that was broken."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        if broken:
            connection.shutdown(socket.SHUT_WR)  # so that it need not wait
        try:
            if without_body:
                return int(connection.recv(4096).split(maxsplit=2)[1]), {}, b""
            answer = read_answer(connection)
            while answer[0] < 200:
                answer = read_answer(connection)
        except (ConnectionError, IndexError):
            return 0, {}, b""
        return answer


def test_requests_that_are_nearly_right():
    seen = fuzz(COUNT)
    assert seen.get(200, 0) > COUNT / 30  # they go deep
    assert seen.get(400, 0) > COUNT / 10


@pytest.mark.long
def test_ten_thousand_requests_that_are_nearly_right():
    seen = fuzz(LONG)
    assert sum(seen.values()) >= min(LONG, 10_000) * 0.99
