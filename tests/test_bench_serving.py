"""`segbench bench serve`: what a queue predicts, who is counted, what goes over the wire, and MLServer's runtime."""

import json
import math
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import onnxruntime
import pytest
from scipy import stats

import segbench
from segbench.bench.scene import synthetic
from segbench.bench.serving import contenders, mlserver, payload, summary
from segbench.bench.serving import run as serving
from segbench.bench.serving.load import Asked, Plan, arrivals, latencies, loaded, run
from segbench.bench.serving.process import Server, free_ports
from segbench.bench.serving.row import Round, ServingRow, read_rows, write_rows
from segbench.bench.serving.sheet import sheets
from segbench.bench.serving.wire import BUSY, LATE, LOST, OK, asker
from segbench.errors import EngineError, InputError, UnknownNameError
from segbench.export.kinds import graphs
from segbench.normalisation import fit
from segbench.predict import tiles
from segbench.volume import Volume

SERVICE_S = 0.02


class Stub(ThreadingHTTPServer):
    """Answers one request at a time, in the order of their coming, and refuses where too many wait.

    Args:
        most: Requests that may wait or be answered; None for any number.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, most=None):
        super().__init__(("127.0.0.1", 0), Answering)
        self.most, self.inside, self.answered, self.refused = most, 0, 0, 0
        self.turn, self.count = threading.Lock(), threading.Lock()
        self.answer = b"x" * 3_000_000  # more than a piece
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        server, body = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/drop":
            self.close_connection = True
            return
        with server.count:
            full = server.most is not None and server.inside >= server.most
            server.inside += not full
            server.refused += full
        if full:
            self.answered(503, b'{"error": "busy"}')
            return
        with server.turn:
            time.sleep(SERVICE_S)
        with server.count:
            server.inside -= 1
            server.answered += 1
        self.answered(200, body if self.path == "/echo" else server.answer)
        self.close_connection = self.path == "/last"  # without having said so, as after a long rest

    def answered(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def stub():
    servers = []

    def make(most=None):
        servers.append(Stub(most))
        return servers[-1]

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def request_file(tmp_path):
    def write(path="/", body=b"hello"):
        file = tmp_path / "request"
        file.write_bytes(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return file

    return write


def row(kind="single", server="segbench", wire="http binary", clients=1, rounds=((1.0,),), **other):
    parts = [Round(seconds=sum(times), answered=len(times), latencies_s=times) for times in rounds]
    facts = {
        "kind": kind, "server": server, "wire": wire, "clients": clients, "rounds": parts, "sent_mib": 1.0,
        "answer_mib": 3.25, "apart": 0.0, "engine": "openvino", "device": "a processor", "precision": "f32",
        "threads": 4, "samples": 16, "size": 64, "outputs": (), "timed": "it", "model": "tiny", "model_hash": "0",
        "seed": 0, "versions": {"python": "3"}, "git": None, "segbench": "0", "made": "now",
    }  # fmt: skip
    return ServingRow.model_validate(facts | other)


def bare(*rounds):
    return row(server="none", wire="in process", rounds=rounds)


# pure functions of rows


def test_a_queue_of_constant_service_predicts_n_times_it():
    assert summary.predicted([[0.5, 0.5]], 16, 0.99) == pytest.approx(8.0)
    assert summary.predicted([[0.5]], 1, 0.01) == 0.5


def test_a_queue_of_exponential_service_predicts_erlangs_quantiles():
    """The sum of N exponential times is Erlang distributed."""
    times = stats.expon.ppf((np.arange(20_000) + 0.5) / 20_000)
    for q in (0.5, 0.99):
        assert summary.predicted([times], 16, q) == pytest.approx(stats.gamma.ppf(q, 16), rel=0.015)


def test_a_round_that_was_slower_is_not_mixed_with_others():
    """One round of 1 s, one of 2 s: half of the clients wait for 4 s, half for 8, none for 6."""
    assert summary.predicted([[1.0], [2.0]], 4, 0.4) == 4.0
    assert summary.predicted([[1.0], [2.0]], 4, 0.6) == 8.0
    assert math.isnan(summary.predicted([], 4, 0.5))


def test_overhead_and_shares_are_taken_within_rounds():
    rows = [bare((1.0, 1.5), (3.0,)), row(rounds=((1.002, 1.503), (3.9,)))]
    assert summary.overhead_ms(rows[1], rows) == pytest.approx(3.0), "in pairs: a slow minute slows both"
    loop = row("loop", clients=32, rounds=((1.1, 1.1), (3.2, 3.2)))  # answers a second: 1 / 1.1, 1 / 3.2
    rows = [bare((1.0, 1.0), (3.0, 3.0)), loop]
    assert summary.share_of_bare(loop, rows) == pytest.approx((1 / 1.1 + 3 / 3.2) / 2)
    assert summary.throughput(bare((0.5, 0.5)))[1] == pytest.approx(2.0)
    assert math.isnan(summary.overhead_ms(loop, [loop]))
    rows = [bare((1.0,) * 4), row(rounds=((1.001, 1.002, 1.003, 1.004),))]  # quartiles 1.75 and 3.25 ms
    assert summary.overhead_error_ms(rows[1], rows) == pytest.approx(1.57 * 1.5 / 2)
    assert math.isnan(summary.overhead_error_ms(loop, [loop]))


def test_memory_is_compared_by_thirds_and_nothing_taken_may_be_lost():
    parts = {"seconds": 9.0, "answered": 3, "latencies_s": (1.0, 1.0, 1.0), "resident_mib": (5, 9, 6, 99, 7, 8, 10, 4)}
    strained = row("overload", clients=192, rate=3.0, rounds=((1.0,),)).model_copy(
        update={"rounds": (Round.model_validate(parts | {"failed": 2, "waiting": 1}),)}
    )
    assert summary.thirds_mib(strained) == (9, 10)
    assert summary.unanswered(strained) == 3


def full(overhead=0.002, crowd=16.0):
    strained = row("overload", clients=192, rate=3.0)
    part = Round(seconds=9.0, answered=3, latencies_s=(1.0,) * 3, refused=6, refused_s=(0.01,) * 6, counted=3,
                 waiting=0, resident_mib=(100.0,) * 9)  # fmt: skip
    return (
        bare((1.0,) * 5, (1.0,) * 5), row(rounds=((1 + overhead,) * 5,) * 2),
        row(wire="grpc raw", rounds=((1.004,) * 5,) * 2),
        row("loop", clients=32, rounds=((1.0,) * 3,) * 2), row("loop", clients=16, rounds=((crowd,),) * 2),
        row("loop", "mlserver", "http json", 16, ((60.0,),) * 2), strained.model_copy(update={"rounds": (part,)}),
    )  # fmt: skip


def test_tables_say_what_was_reached():
    reached, single, loops, overload = sheets(full())
    found = {line[0]: line[-1] for line in reversed(reached.text()[1:])}
    assert found == {
        "overhead of a single request (ms)": "yes", "throughput of 32 clients, of bare inference's": "yes",
        "p99 of 16 clients, of a queue's": "yes", "overload: memory of the last third, of the first's": "yes",
        "overload: taken and not answered": "yes",
    }  # fmt: skip
    assert [line[-1] for line in reached.text()[1:3]] == ["yes", "no"], "4 ms over gRPC"
    late = sheets(full(overhead=0.01, crowd=30.0))[0].text()
    assert [line[-1] for line in late[1:]] == ["no", "no", "yes", "no", "yes", "yes"]
    assert [line[0] for line in loops.text()[1:]] == ["segbench", "segbench", "MLServer"]
    assert overload.text()[1][2:8] == ["9", "3", "6", "0", "3", "0"]
    assert single.text()[2][5] == "2.00"
    alone = sheets((*full(), row(rounds=((1.001,) * 5,) * 2, outputs=("probability",))))
    assert alone[0].text()[3][1:3] == ["http binary, probability alone", "1.000"]
    assert alone[1].text()[4][1] == "http binary, probability alone"


def test_rows_survive_their_file_and_a_strange_key_does_not(tmp_path):
    write_rows(tmp_path / "serve.json", full())
    assert read_rows(tmp_path / "serve.json") == full()
    told = json.loads((tmp_path / "serve.json").read_text())
    told["rows"][0]["more"] = 1
    (tmp_path / "serve.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="more"):
        read_rows(tmp_path / "serve.json")


def test_a_result_is_a_page_a_table_and_a_picture(tmp_path):
    serving.write(tmp_path, serving.Result(full(), tuple(sheets(full())), ("where from",)))
    assert {path.name for path in tmp_path.iterdir()} == {"serve.json", "serve.md", "serve.csv", "serve.png"}
    assert "## Overload" in (tmp_path / "serve.md").read_text()


# clients


def test_a_closed_loop_waits_for_all_the_others(stub, request_file):
    """N clients before one server: a request takes N services, and all take as long as all services."""
    server = stub()
    plan = Plan(way="http", port=server.port, request=request_file(), clients=5, requests=30, timeout_s=30)
    asked = loaded(plan)
    assert [one.status for one in asked] == [OK] * 30
    assert server.answered == 30
    assert max(one.ended for one in asked) >= 30 * SERVICE_S
    times = latencies(asked, OK, first=False)
    assert len(times) == 25
    # a stub's lock is not fair, so this holds of the mean alone, but for the end, where clients have gone
    assert sum(times) / len(times) >= 0.8 * 5 * SERVICE_S
    assert len(latencies(asked, OK)) == 30


def test_arrivals_do_not_wait_for_answers_and_each_is_counted(stub, request_file):
    server = stub(most=3)
    rate = 4 / SERVICE_S
    plan = Plan(
        way="http", port=server.port, request=request_file(), clients=40, rate=rate, seconds=1, seed=3, timeout_s=30
    )
    asked = run(plan)
    statuses = [one.status for one in asked]
    assert len(asked) == len(list(arrivals(rate, 1, 3)))
    assert statuses.count(OK) == server.answered > 10
    assert statuses.count(BUSY) == server.refused > 10
    assert statuses.count(OK) + statuses.count(BUSY) == len(asked)
    found = contenders._round(asked, first=True)
    assert (found.answered, found.refused, found.failed) == (server.answered, server.refused, 0)


def test_arrivals_are_a_poisson_process():
    at = list(arrivals(50.0, 200.0, 1))
    assert at == sorted(at)
    assert at[-1] < 200
    assert len(at) == pytest.approx(10_000, abs=5 * 100)
    assert stats.kstest(np.diff(at), "expon", args=(0, 1 / 50)).pvalue > 1e-3


def test_a_latency_counts_from_when_a_request_was_due():
    asked = [Asked(0, 0.0, 0.5, 1.0, OK), Asked(0, 0.5, 1.0, 2.0, OK), Asked(1, 0.0, 0.0, 0.1, BUSY)]
    assert latencies(asked, OK) == [1.0, 1.5]
    assert latencies(asked, OK, first=False) == [1.5]
    assert latencies(asked, BUSY) == [0.1]


def test_an_answer_of_any_size_arrives_whole_and_a_dropped_one_is_lost(stub, request_file):
    server = stub()
    one = asker("http", server.port, request_file("/echo", b"e" * 2_500_000).read_bytes(), 30)
    assert one.ask() == OK
    assert one.body() == b"e" * 2_500_000
    one.close()
    dropped = asker("http", server.port, request_file("/drop").read_bytes(), 30)
    assert dropped.ask() == LOST
    dropped.close()
    (gone,) = free_ports(1)
    assert asker("http", gone, b"", 1).ask() == LOST


def test_a_connection_that_was_closed_while_it_rested_is_opened_again(stub, request_file):
    one = asker("http", stub().port, request_file("/last").read_bytes(), 30)
    for _ in range(3):
        assert one.ask() == OK
        time.sleep(0.2)  # until the other end has closed
    one.close()


def test_grpc_asks_with_bytes_and_tells_statuses_as_http_does():
    grpc = pytest.importorskip("grpc")
    from concurrent.futures import ThreadPoolExecutor

    codes = iter([None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL])

    def infer(message, context):
        code = next(codes)
        if code is not None:
            context.abort(code, "as asked")
        return message * 2

    service, method = payload.METHOD[1:].split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(infer)}
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(1), options=limits)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        one = asker("grpc", port, b"m" * 5_000_000, 30)
        assert [one.ask() for _ in range(4)] == [OK, BUSY, LATE, LOST]
        assert one.body() == b"m" * 10_000_000
        one.close()
    finally:
        server.stop(0).wait()


# what goes over the wire


def test_requests_are_what_tritonclient_makes():
    """Of another implementation: the same tensors, parameters and outputs, read from its own bytes."""
    http = pytest.importorskip("tritonclient.http")
    from tritonclient.grpc import service_pb2

    image = synthetic(16)[None, None]
    parameters = {"segbench_samples": 4, "segbench_seed": 7}
    tensor = http.InferInput("image", list(image.shape), "FP32")
    tensor.set_data_from_numpy(image, binary_data=True)
    wanted = [http.InferRequestedOutput(name, binary_data=True) for name in ("probability", "labels")]
    body, length = http.InferenceServerClient.generate_request_body([tensor], outputs=wanted, parameters=parameters)
    theirs = json.loads(body[:length])
    head, _, mine = payload.http_binary(1, "m", image, parameters, ("probability", "labels")).partition(b"\r\n\r\n")
    told = dict(line.split(": ") for line in head.decode().split("\r\n")[1:])
    cut = int(told["Inference-Header-Content-Length"])
    ours = json.loads(mine[:cut])
    assert int(told["Content-Length"]) == len(mine)
    assert mine[cut:] == bytes(body[length:]) == image.tobytes()
    assert ours["inputs"] == theirs["inputs"]
    assert [one["name"] for one in ours["outputs"]] == [one["name"] for one in theirs["outputs"]]
    assert ours["parameters"] == parameters | {"binary_data_output": True}
    message = service_pb2.ModelInferRequest.FromString(payload.grpc_raw("m", image, parameters, ("labels",)))
    assert message.raw_input_contents[0] == image.tobytes()
    assert (list(message.inputs[0].shape), message.outputs[0].name) == (list(image.shape), "labels")
    assert {name: value.int64_param for name, value in message.parameters.items()} == parameters


def test_answers_are_read_back_raw_and_as_json():
    from tritonclient.grpc import service_pb2

    values = np.linspace(0, 1, 8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
    labels = np.arange(8, dtype=np.uint8).reshape(values.shape)
    listed = [
        {"name": "p", "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()},
        {"name": "l", "datatype": "UINT8", "shape": list(values.shape), "parameters": {"binary_data_size": 8}},
    ]
    head = json.dumps({"outputs": listed}).encode()
    found = payload.http_arrays({payload.LENGTH: str(len(head))}, head + labels.tobytes())
    np.testing.assert_array_equal(found["p"], values)
    np.testing.assert_array_equal(found["l"], labels)
    message = service_pb2.ModelInferResponse()
    message.outputs.add(name="p", datatype="FP32", shape=values.shape).contents.fp32_contents.extend(values.ravel())
    np.testing.assert_array_equal(payload.grpc_arrays(message.SerializeToString())["p"], values)
    del message.outputs[0].contents.fp32_contents[:]
    message.raw_output_contents.append(values.tobytes())
    np.testing.assert_array_equal(payload.grpc_arrays(message.SerializeToString())["p"], values)


# processes


SPEAKING = """
import sys, http.server
class H(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_GET(self):
        body = b'# TYPE a counter\\na{model="m",outcome="ok"} 3.0\\na{model="m",outcome="busy"} 2.0\\nab 9\\nq 4.0\\n'
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""


def test_a_server_is_waited_for_counted_watched_and_stopped():
    (port,) = free_ports(1)
    with Server("a stub", [sys.executable, "-c", SPEAKING, str(port)], port) as server:
        assert server.counts("a") == {'model="m",outcome="ok"': 3.0, 'model="m",outcome="busy"': 2.0}
        assert server.counts("q") == {"": 4.0}
        with server.watched(0.02) as seen:
            time.sleep(0.2)
        if sys.platform == "linux":
            assert len(seen) > 1
            assert all(1 < value < 1000 for value in seen)
    assert server.status("/") == 0, "stopped"


def test_a_server_that_does_not_start_is_one_line():
    (port,) = free_ports(1)
    code = "import sys; print('first'); sys.exit('no such model')"
    with pytest.raises(EngineError, match="a stub ended with 1 at its start: no such model"):
        Server("a stub", [sys.executable, "-c", code], port).__enter__()


# MLServer


def test_the_runtime_for_mlserver_says_what_predict_says(tiny, tmp_path, monkeypatch):
    """Its code runs here with stand-ins for MLServer's few names."""
    ((_, graph),) = graphs(tiny, ["aggregated"])
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    image = synthetic(24)
    (tile,) = tiles(tiny.card, image.shape)
    before = [-read for read in tile.read]
    after = [read + n - v for read, n, v in zip(tile.read, tile.shape, image.shape, strict=True)]
    codec = types.SimpleNamespace(decode_input=lambda tensor: tensor, encode_output=lambda name, array: (name, array))
    answer = types.SimpleNamespace
    for name, module in {
        "mlserver": types.SimpleNamespace(MLModel=object),
        "mlserver.codecs": types.SimpleNamespace(NumpyCodec=codec),
        "mlserver.types": types.SimpleNamespace(InferenceResponse=answer),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    space: dict = {}
    exec(mlserver.RUNTIME, space)
    model = space["Aggregated"]()
    extra = {"samples": 5, "seed": 3, "threads": 1, "before": before, "after": after, "outputs": mlserver.OUTPUTS}
    model.settings = types.SimpleNamespace(parameters=types.SimpleNamespace(uri=str(path), extra=extra))
    model.name = "tiny"

    def done(coroutine):
        with pytest.raises(StopIteration) as end:
            coroutine.send(None)
        return end.value.value

    assert done(model.load())
    scaled = fit(tiny.card.input.normalisation, Volume(image))(image)[None, None]
    outputs = dict(done(model.predict(types.SimpleNamespace(inputs=[scaled]))).outputs)
    expected = segbench.load(str(tiny.path), "onnxruntime", threads=1).predict(image, samples=5, seed=3)
    for name, array in (("mean", expected.probability), ("entropy", expected.entropy)):
        np.testing.assert_allclose(outputs[name].reshape(image.shape), array, atol=2e-5)
    assert onnxruntime.__version__


def test_an_environment_is_made_once_and_a_failure_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path))
    ran = []

    def ended(command, **_):
        ran.append(command)
        return types.SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(mlserver.subprocess, "run", ended)

    def made(command, **more):
        if "venv" in command:
            (tmp_path / command[-1]).mkdir(parents=True)
        return ended(command, **more)

    monkeypatch.setattr(mlserver.subprocess, "run", made)
    python = mlserver.environment()
    assert f"mlserver=={mlserver.VERSION}" in ran[1]
    assert ran[1][0] == str(python)
    assert mlserver.environment() == python
    assert len(ran) == 2
    (python.parent.parent / "installed").unlink()
    failed = types.SimpleNamespace(returncode=1, stderr="a warning\nERROR: No matching distribution\n\n")
    monkeypatch.setattr(mlserver.subprocess, "run", lambda command, **_: failed)
    with pytest.raises(EngineError, match=r"cannot install mlserver==.*No matching distribution"):
        mlserver.environment()


# all of it


def test_a_server_is_benchmarked_as_users_start_it(tiny, tmp_path, monkeypatch):
    """With fewer clients, and the tiny model; its answers are those of predict, bit for bit."""
    monkeypatch.setattr(contenders, "MANY", 3)
    monkeypatch.setattr(contenders, "CROWD", 2)
    request = contenders.Request(
        zoo=str(tiny.path), engine="onnxruntime", samples=2, size=16, repeats=1, threads=1, per_client=2,
        overload_s=1.0, out=tmp_path / "out",
    )  # fmt: skip
    said = []
    result = serving.run(request, lambda done, total, what: said.append((done, total)))
    assert [(row.kind, row.wire, row.clients) for row in result.rows] == [
        ("single", "in process", 1), *2 * [("single", "http binary", 1), ("single", "grpc raw", 1)],
        ("loop", "http binary", 3), ("loop", "grpc raw", 3), ("loop", "http binary", 2),
        ("overload", "http binary", contenders.POOL),
    ]  # fmt: skip
    assert [row.outputs for row in result.rows[1:5]] == [(), (), ("probability",), ("probability",)]
    assert result.rows[3].answer_mib < result.rows[1].answer_mib / 2
    assert [row.apart for row in result.rows] == [0.0] * 9
    assert [part.answered for row in result.rows[5:8] for part in row.rounds] == [6, 6, 4]
    assert [len(part.latencies_s) for row in result.rows[5:8] for part in row.rounds] == [3, 3, 2]
    (strained,) = result.rows[-1].rounds
    assert strained.answered == strained.counted > 0
    assert (strained.failed, strained.waiting) == (0, 0)
    assert result.rows[-1].rate == pytest.approx(3 * summary.throughput(result.rows[5])[1])
    assert said[-1][0] == said[-1][1] - 1, "as many steps as were promised"
    assert read_rows(tmp_path / "out" / serving.ROWS) == result.rows


# requests that cannot be met


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"samples": 0}, InputError, "samples is 0"),
        ({"per_client": 1}, InputError, "at least 2"),
        ({"size": 8}, InputError, "from 16 to 1024"),
        ({"against": ("triton",)}, UnknownNameError, "mlserver"),
        ({"zoo": "nothing"}, UnknownNameError, "vnet-battery"),
        ({"against": ("mlserver",), "size": 512}, InputError, "single tile"),
    ],
)
def test_what_cannot_be_met_is_said_before_anything_starts(wrong, kind, said):
    with pytest.raises(kind, match=said):
        serving.run(contenders.Request(**wrong))
