"""The gRPC service, asked by tritonclient's own client and, where that one is too polite, by bare messages."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import blobs
from serving import FakeService, expected_labels
from started import certificates
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from segbench import load
from segbench.errors import InputError
from segbench.serve import grpc_messages
from segbench.serve.grpc import serve
from segbench.serve.guard import Guard
from segbench.serve.refusal import GRPC, Refusal
from segbench.serve.request import Answer
from segbench.serve.service import Server
from segbench.serve.settings import Settings

TOKEN = "a-token-of-thirty-two-characters"
UNSERVED = sorted(
    {"ModelStreamInfer", "TraceSetting", "LogSettings"}
    | {f"{kind}SharedMemory{verb}" for kind in ("System", "Cuda") for verb in ("Status", "Register", "Unregister")}
)
SMALL = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 1, 2, 3, 4)


class Running:
    """A server on a free port, with a client."""

    def __init__(self, service=None, guard=None, **settings):
        self.settings = Settings(grpc_port=0, http_port=None, **settings)
        self.service = service or FakeService(settings=self.settings)
        self.server = serve(self.service, self.settings, guard or Guard())
        self.url = f"127.0.0.1:{self.server.port}"
        self.client = triton.InferenceServerClient(self.url)
        self.channel = grpc.insecure_channel(self.url, options=[("grpc.max_send_message_length", -1)])
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def stop(self):
        self.client.close()
        self.channel.close()
        self.service.close()
        self.server.stop(0)


@pytest.fixture
def start():
    running = []

    def begin(*args, **kwargs):
        running.append(Running(*args, **kwargs))
        return running[-1]

    yield begin
    for each in running:
        each.stop()


@pytest.fixture(scope="module")
def running():
    """One server for tests that leave it as it was."""
    each = Running()
    yield each
    each.stop()


def tensor(array, datatype="FP32"):
    given = triton.InferInput("image", list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


def message(array=SMALL, **changes):
    """A ModelInferRequest, raw; `changes` go over it."""
    request = service_pb2.ModelInferRequest(model_name="tiny", raw_input_contents=[array.tobytes()])
    request.inputs.add(name="image", datatype="FP32", shape=array.shape)
    for name, value in changes.items():
        if name in ("datatype", "shape", "name"):
            setattr(request.inputs[0], name, value) if name != "shape" else request.inputs[0].ClearField("shape")
            if name == "shape":
                request.inputs[0].shape.extend(value)
        else:
            request.ClearField(name)
            request.MergeFrom(service_pb2.ModelInferRequest(**{name: value}))
    return request


def refused(call, *args, **kwargs):
    """Status and line of a call that is refused."""
    with pytest.raises((grpc.RpcError, InferenceServerException)) as caught:
        call(*args, **kwargs)
    error = caught.value
    if isinstance(error, InferenceServerException):
        return error.status().removeprefix("StatusCode."), error.message()
    assert "\n" not in error.details()
    return error.code().name, error.details()


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_health_metadata_config_statistics_and_index(running):
    client = running.client
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "2")
    told = client.get_server_metadata()
    assert told.name == "segbench"
    assert {"statistics", "model_repository"} <= set(told.extensions)
    told = client.get_model_metadata("three")
    assert (told.name, list(told.versions), told.platform) == ("three", ["1"], "fake")
    assert [(t.name, t.datatype, list(t.shape)) for t in told.inputs] == [("image", "FP32", [-1, 1, -1, -1, -1])]
    assert [t.name for t in told.outputs][:4] == ["labels", "probability", "entropy", "mutual_information"]
    assert {t.name: t.datatype for t in told.outputs}["labels"] == "UINT8"
    config = client.get_model_config("tiny", as_json=True)["config"]
    assert config["input"][0] == {"name": "image", "data_type": "TYPE_FP32", "dims": ["1", "-1", "-1", "-1"]}
    client.infer("tiny", [tensor(SMALL)])
    (told,) = client.get_inference_statistics("tiny", "2").model_stats
    assert (told.name, told.version) == ("tiny", "2")
    assert told.inference_count == told.inference_stats.success.count >= 1
    assert len(client.get_inference_statistics().model_stats) == 3
    models = client.get_model_repository_index().models
    assert {(m.name, m.version, m.state) for m in models} == {
        ("tiny", "1", "READY"), ("tiny", "2", "READY"), ("three", "1", "READY")
    }  # fmt: skip


@pytest.mark.parametrize("datatype", ["UINT8", "UINT16", "INT16", "FP16", "FP32", "FP64"])
def test_an_inference_of_every_datatype_that_images_have(running, datatype):
    values = np.arange(2 * 3 * 4 * 5).reshape(2, 1, 3, 4, 5).astype(triton._utils.triton_to_np_dtype(datatype))
    answer = running.client.infer("tiny", [tensor(values, datatype)], request_id="mine")
    exact = values[:, 0].astype(np.float32)
    np.testing.assert_array_equal(answer.as_numpy("labels")[:, 0], expected_labels(exact))
    np.testing.assert_array_equal(answer.as_numpy("entropy")[:, 0], exact / 2)
    told = answer.get_response()
    assert (told.model_name, told.model_version, told.id) == ("tiny", "2", "mine")
    assert told.parameters["segbench_samples"].int64_param == 16
    assert [(t.name, t.datatype, list(t.shape)) for t in told.outputs][:1] == [("labels", "UINT8", [2, 1, 3, 4, 5])]


def test_flat_images_versions_parameters_and_chosen_outputs(running):
    flat = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    told = {"segbench_samples": 3, "segbench_seed": 7, "segbench_invert": True}
    wanted = [triton.InferRequestedOutput(name) for name in ("samples", "labels")]
    answer = running.client.infer("tiny", [tensor(flat)], "1", wanted, parameters=told)
    asked = running.service.requests[-1]
    assert (asked.samples, asked.seed, asked.invert, asked.flat, asked.version) == (3, 7, True, True, "1")
    assert asked.client == "127.0.0.1"
    assert [t.name for t in answer.get_response().outputs] == ["samples", "labels"]
    assert answer.as_numpy("samples").shape == (1, 3, 3, 4)
    np.testing.assert_array_equal(answer.as_numpy("labels"), expected_labels(-flat))
    assert answer.get_response().model_version == "1"
    answer = running.client.infer("three", [tensor(flat)], parameters={"segbench_outputs": "probabilities"})
    assert answer.as_numpy("probabilities").shape == (1, 3, 3, 4)


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("FP32", "fp32_contents", [0.5, 1.5]), ("FP64", "fp64_contents", [0.5, 1.5]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT64", "uint64_contents", [1, 2]), ("INT16", "int_contents", [-5, 5]), ("INT64", "int64_contents", [-5, 5]),
    ],
)  # fmt: skip
def test_typed_contents_are_the_same_as_raw_ones(running, datatype, field, values):
    request = service_pb2.ModelInferRequest(model_name="tiny")
    given = request.inputs.add(name="image", datatype=datatype, shape=[1, 1, 1, 1, 2])
    getattr(given.contents, field).extend(values)
    running.stub.ModelInfer(request)
    np.testing.assert_array_equal(running.service.requests[-1].images.ravel(), np.float32(values))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_messages(running, algorithm):
    answer = running.client.infer("tiny", [tensor(SMALL)], compression_algorithm=algorithm)
    np.testing.assert_array_equal(answer.as_numpy("entropy"), SMALL / 2)


def test_a_tile_of_240_cubed(running):
    tile = np.random.default_rng(0).random((1, 1, 240, 240, 240), dtype=np.float32)
    wanted = [triton.InferRequestedOutput(name) for name in ("labels", "entropy")]
    answer = running.client.infer("tiny", [tensor(tile)], outputs=wanted)
    running.service.requests.clear()
    np.testing.assert_array_equal(answer.as_numpy("labels"), expected_labels(tile[0])[None])
    np.testing.assert_array_equal(answer.as_numpy("entropy"), tile / 2)


def test_an_answer_written_by_hand_is_what_protobuf_reads():
    """Sizes on both sides of one, two and three bytes of length, and values of every kind."""
    arrays = {f"a{n}": np.arange(n, dtype=np.uint8).reshape(1, n) for n in (0, 1, 127, 128, 16383, 16384, 70000)}
    arrays["turned"] = np.arange(6, dtype=np.float32).reshape(2, 3).T
    given = {"segbench_warnings": "dark", "segbench_samples": 2, "half": 0.5, "yes": True}
    read = service_pb2.ModelInferResponse.FromString(grpc_messages.response(Answer("m", "1", arrays, given), "i"))
    assert [t.name for t in read.outputs] == list(arrays)
    for told, raw, array in zip(read.outputs, read.raw_output_contents, arrays.values(), strict=True):
        dtype = {"UINT8": np.uint8, "FP32": np.float32}[told.datatype]
        np.testing.assert_array_equal(np.frombuffer(raw, dtype).reshape(told.shape), array)
    kinds = {key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in read.parameters.items()}
    assert kinds == given


PAIR = [b"1234", b"1234"]
HOSTILE = {
    "no input": message(inputs=[]),
    "two raw": message(raw_input_contents=PAIR),
    "short raw": message(raw_input_contents=[b"123"]),
    "long raw": message(raw_input_contents=[SMALL.tobytes() + b"1"]),
    "huge shape": message(shape=[2**40, 1, 2**40, 2**40, 2**40]),
    "overflowing shape": message(shape=[2**31 - 1, 1, 2**31 - 1, 2**31 - 1, 4]),
    "negative shape": message(shape=[-1, 1, -1, 3, 4]),
    "empty": message(shape=[1, 1, 0, 3, 4]),
    "no shape": message(shape=[]),
    "ten axes": message(shape=[1] * 10),
    "channels": message(shape=[1, 2, 1, 3, 4]),
    "name": message(name="picture"),
    "datatype": message(datatype="FP31"),
    "datatype of texts": message(datatype="BYTES"),
    "no datatype": message(datatype=""),
    "half as typed": message(raw_input_contents=[], datatype="FP16"),
    "nothing": service_pb2.ModelInferRequest(model_name="tiny"),
    "no contents": message(raw_input_contents=[]),
    "long id": message(id="x" * 10_000),
    "samples": message(parameters={"segbench_samples": service_pb2.InferParameter(int64_param=-1)}),
    "seed of text": message(parameters={"segbench_seed": service_pb2.InferParameter(string_param="1")}),
    "parameter without value": message(parameters={"segbench_seed": service_pb2.InferParameter()}),
    "unknown of ours": message(parameters={"segbench_sample": service_pb2.InferParameter(int64_param=1)}),
    "output": message(outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="heat")]),
}


@pytest.mark.parametrize("request_", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_an_image_is_refused_in_a_line(running, request_):
    code, line = refused(running.stub.ModelInfer, request_)
    assert (code, len(line) < 300) in (("INVALID_ARGUMENT", True), ("RESOURCE_EXHAUSTED", True)), line


def test_raw_and_typed_contents_and_values_in_the_wrong_place_are_refused(running):
    both = message()
    both.inputs[0].contents.fp32_contents.extend(SMALL.ravel())
    assert "not both" in refused(running.stub.ModelInfer, both)[1]
    both.ClearField("raw_input_contents")
    both.inputs[0].contents.int_contents.append(1)
    assert "nowhere else" in refused(running.stub.ModelInfer, both)[1]
    beyond = message(raw_input_contents=[], datatype="UINT8", shape=[1, 1, 1, 1, 2])
    beyond.inputs[0].contents.uint_contents.extend([1, 256])
    assert refused(running.stub.ModelInfer, beyond) == (
        "INVALID_ARGUMENT", "input 'image': a value is beyond the range of UINT8",
    )  # fmt: skip
    shared = message()
    shared.inputs[0].parameters["shared_memory_region"].string_param = "mine"
    assert refused(running.stub.ModelInfer, shared)[0] == "UNIMPLEMENTED"


def test_bytes_that_are_no_message_are_refused(running):
    for name in ("ModelInfer", "ModelReady", "ModelConfig"):
        call = running.channel.unary_unary(f"/inference.GRPCInferenceService/{name}")
        for garbage in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", np.random.default_rng(0).bytes(3000)):
            assert refused(call, garbage)[0] == "INVALID_ARGUMENT"
    stream = running.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    assert refused(stream, iter([]), timeout=20) == ("INVALID_ARGUMENT", "the call came without a message")


@pytest.mark.parametrize("name", UNSERVED)
def test_the_rest_is_unimplemented_with_a_line(running, name):
    call = running.channel.unary_unary(f"/inference.GRPCInferenceService/{name}")
    assert refused(call, b"") == ("UNIMPLEMENTED", f"{name} is not supported by this server")


def test_what_is_no_method_is_unimplemented(running):
    for path in ("/inference.GRPCInferenceService/Nothing", "/other/ModelInfer", "/x"):
        assert refused(running.channel.unary_unary(path), b"")[0] == "UNIMPLEMENTED"


def test_unknown_models_and_versions(running):
    client = running.client
    for call in (client.is_model_ready, client.get_model_metadata, client.get_model_config):
        assert refused(call, "none")[0] == "NOT_FOUND"
        assert refused(call, "tiny", "9")[0] == "NOT_FOUND"
    assert refused(client.infer, "none", [tensor(SMALL)])[0] == "NOT_FOUND"


@pytest.mark.parametrize("kind", GRPC)
def test_every_refusal_has_its_status_and_line(start, kind):
    running = start()
    running.service.refusal = Refusal(kind, "a line that says why", 2.5 if kind in ("busy", "rate") else None)
    with pytest.raises(grpc.RpcError) as caught:
        running.stub.ModelInfer(message())
    assert (caught.value.code().name, caught.value.details()) == (GRPC[kind], "a line that says why")
    trailing = dict(caught.value.trailing_metadata())
    assert trailing.get("retry-after") == ("3" if kind in ("busy", "rate") else None)


def test_what_nobody_thought_of_is_internal_and_says_nothing(start, caplog):
    running = start()
    running.service.refusal = ZeroDivisionError("/secret/path")
    code, line = refused(running.stub.ModelInfer, message())
    assert code == "INTERNAL"
    assert "secret" not in line
    assert "/secret/path" in caplog.text  # for whoever runs it
    assert line.split()[-1] in [record.fields["id"] for record in caplog.records if hasattr(record, "fields")]
    running.service.refusal = None
    assert running.client.is_server_live()


def test_models_are_loaded_and_unloaded_only_where_that_is_allowed(start):
    client = start().client
    assert refused(client.unload_model, "tiny")[0] == "PERMISSION_DENIED"
    running = start(control=True)
    running.client.unload_model("tiny")
    assert not running.client.is_model_ready("tiny")
    assert not running.client.is_server_ready()
    index = running.client.get_model_repository_index().models
    assert {(m.name, m.state) for m in index} == {("tiny", "UNAVAILABLE"), ("three", "READY")}
    ready = running.stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True)).models
    assert [m.name for m in ready] == ["three"]
    running.client.load_model("tiny")
    assert running.client.is_model_ready("tiny")
    assert refused(running.client.load_model, "tiny", config="{}")[0] == "UNIMPLEMENTED"
    assert refused(running.client.load_model, "none")[0] == "NOT_FOUND"
    other = service_pb2.RepositoryIndexRequest(repository_name="/etc")
    assert refused(running.stub.RepositoryIndex, other)[0] == "NOT_FOUND"


def test_without_the_token_only_probes_are_answered_and_nothing_is_read(start):
    running = start(guard=Guard([TOKEN]))
    assert running.client.is_server_live()
    assert running.client.is_server_ready()
    assert refused(running.client.get_server_metadata)[0] == "UNAUTHENTICATED"
    for headers in (None, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}):
        assert refused(running.client.infer, "tiny", [tensor(SMALL)], headers=headers)[0] == "UNAUTHENTICATED"
    sent = threading.Event()

    def never():
        sent.wait(20)
        yield b""

    stream = running.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    try:
        assert refused(stream, never(), timeout=15)[0] == "UNAUTHENTICATED"  # though no message was sent
    finally:
        sent.set()
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert running.client.get_server_metadata(headers=headers).name == "segbench"
    running.client.infer("tiny", [tensor(SMALL)], headers=headers)
    assert running.service.requests[-1].client == "token 1"


def test_the_rate_of_a_client_is_limited(start):
    running = start(guard=Guard(rate=0.01, burst=2))
    for _ in range(2):
        running.stub.ModelInfer(message())
    with pytest.raises(grpc.RpcError) as caught:
        running.stub.ModelInfer(message())
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 1 <= int(dict(caught.value.trailing_metadata())["retry-after"]) <= 100
    assert running.client.is_server_ready()


def test_messages_above_the_limit_are_refused_compressed_or_not(start):
    running = start(max_request_mib=1)
    large = np.zeros((1, 1, 2**20), np.float32)[..., None, None]
    for compression in (None, "gzip"):
        code, _ = refused(running.client.infer, "tiny", [tensor(large)], compression_algorithm=compression)
        assert code == "RESOURCE_EXHAUSTED"
    bytes_ = np.zeros((1, 1, 2**19, 1, 1), np.uint8)  # half a MiB, and 2 as FP32
    assert refused(running.client.infer, "tiny", [tensor(bytes_, "UINT8")]) == (
        "RESOURCE_EXHAUSTED", "the image is more than 1 MiB as FP32: send parts of it",
    )  # fmt: skip
    name = service_pb2.ModelReadyRequest(name="x" * 100_000)
    assert refused(running.stub.ModelReady, name)[0] == "RESOURCE_EXHAUSTED"
    assert running.client.infer("tiny", [tensor(SMALL)]).as_numpy("labels").shape == SMALL.shape


def test_a_client_that_gives_up_cancels_what_waits(start):
    running = start()
    running.service.gate.clear()
    first = running.stub.ModelInfer.future(message())
    eventually(lambda: len(running.service.futures) == 1)  # calls made together may arrive in either order
    second = running.stub.ModelInfer.future(message())
    eventually(lambda: len(running.service.futures) == 2)
    second.cancel()
    eventually(running.service.futures[1].cancelled)
    code, _ = refused(running.client.infer, "tiny", [tensor(SMALL)], client_timeout=3.0)
    assert code == "DEADLINE_EXCEEDED"
    eventually(lambda: len(running.service.futures) == 3 and running.service.futures[2].cancelled())
    assert running.service.requests[2].deadline - running.service.requests[0].deadline < 0
    running.service.gate.set()
    assert first.result(20).model_name == "tiny"


def test_what_takes_too_long_is_late_whoever_waits(start):
    running = start(timeout_s=0.3)
    running.service.gate.clear()
    assert refused(running.stub.ModelInfer, message(), timeout=20)[0] == "DEADLINE_EXCEEDED"
    running.service.gate.set()
    assert running.client.is_server_live()


def test_a_request_that_the_service_cancels_is_answered(start):
    running = start()
    running.service.gate.clear()
    calls = [running.stub.ModelInfer.future(message()) for _ in range(2)]
    eventually(lambda: len(running.service.futures) == 2)
    running.service.futures[1].cancel()
    eventually(lambda: any(call.done() for call in calls))
    running.service.gate.set()
    codes = {call.code().name for call in calls}
    assert codes == {"OK", "CANCELLED"}


def test_health_is_answered_while_many_wait_and_clients_that_stand_still_hold_nobody_up(start):
    running = start(max_queue=200)
    running.service.gate.clear()
    waiting = [running.stub.ModelInfer.future(message()) for _ in range(150)]
    eventually(lambda: len(running.service.futures) == 150)
    assert running.client.is_server_live(client_timeout=20)
    running.service.gate.set()
    for call in waiting:
        call.result(20)
    assert threading.active_count() < 60


def test_too_many_clients_that_send_nothing_are_told_to_wait(start):
    running = start(max_queue=1, max_queue_mib=1, max_request_mib=1)  # two may send, one may wait
    stop = threading.Event()

    def never():
        stop.wait(20)
        yield b""

    stream = running.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    still = [stream.future(never()) for _ in range(3)]
    try:

        def turned_away():
            try:
                running.stub.ModelInfer(message(), timeout=0.5)
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.UNAVAILABLE and dict(error.trailing_metadata())["retry-after"]

        eventually(turned_away)
        assert running.client.is_server_live(client_timeout=20)
        assert running.client.is_model_ready("tiny", client_timeout=20)
        for call in still:
            call.cancel()
        eventually(lambda: not turned_away())
        running.stub.ModelInfer(message(), timeout=20)
    finally:
        stop.set()


def test_short_calls_whose_message_never_comes_end(start, monkeypatch):
    monkeypatch.setattr("segbench.serve.grpc_service.SHORT_S", 0.3)
    running = start()
    stop = threading.Event()

    def never():
        stop.wait(20)
        yield b""

    stream = running.channel.stream_unary("/inference.GRPCInferenceService/ModelReady")
    still = [stream.future(never()) for _ in range(20)]
    try:
        assert running.client.is_model_ready("tiny", client_timeout=20)
        eventually(lambda: all(call.done() for call in still))
        assert {call.code().name for call in still} == {"DEADLINE_EXCEEDED"}
    finally:
        stop.set()


def test_a_message_that_never_comes_is_slow(start, monkeypatch):
    monkeypatch.setattr("segbench.serve.grpc_service.RECEIVE_S", 0.3)
    running, stop = start(), threading.Event()

    def never():
        stop.wait(20)
        yield b""

    try:
        stream = running.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        code, line = refused(stream, never(), timeout=20)
        assert (code, line) == ("DEADLINE_EXCEEDED", "the call's message did not come within 0.3 s")
    finally:
        stop.set()


def test_clients_that_load_models_keep_nobody_waiting(start):
    entered, hold = threading.Event(), threading.Event()

    class Slow(FakeService):
        def load(self, name):
            entered.set()
            hold.wait(60)

    running = start(Slow())
    loads = [
        running.stub.RepositoryModelLoad.future(service_pb2.RepositoryModelLoadRequest(model_name="tiny"))
        for _ in range(12)
    ]
    try:
        assert entered.wait(20)
        assert running.client.get_server_metadata(client_timeout=20).name == "segbench"
    finally:
        hold.set()
    for each in loads:
        each.result(20)


def test_many_clients_get_their_own_answers(running):
    def ask(number):
        image = SMALL + np.float32(number)
        with triton.InferenceServerClient(running.url) as client:
            return np.array_equal(client.infer("tiny", [tensor(image)]).as_numpy("entropy"), image / 2)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(40)))


def test_a_stop_lets_what_was_accepted_end():
    running = Running()
    running.service.gate.clear()
    call = running.stub.ModelInfer.future(message())
    eventually(lambda: running.service.futures)
    threading.Timer(0.3, running.service.gate.set).start()
    running.server.stop(20)
    assert call.result(20).model_name == "tiny"
    running.server.stop(20)
    assert refused(running.stub.ServerLive, service_pb2.ServerLiveRequest(), timeout=5)[0] == "UNAVAILABLE"
    running.stop()


def test_a_port_that_is_taken_is_a_line(running):
    with pytest.raises(InputError, match="grpc_port"):
        serve(running.service, Settings(grpc_port=running.server.port), Guard())


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


def test_tls_and_mutual_tls(start, pems):
    pem = pems.joinpath
    settings = {"certificate": pem("server.pem"), "key": pem("server.key")}
    running = start(**settings)
    url = f"localhost:{running.server.port}"
    assert refused(running.client.is_server_live, client_timeout=10)[0] == "UNAVAILABLE"  # speaks no TLS
    with triton.InferenceServerClient(url, ssl=True, root_certificates=str(pem("ca.pem"))) as client:
        assert client.infer("tiny", [tensor(SMALL)]).as_numpy("labels").shape == SMALL.shape
    running = start(**settings, client_ca=pem("ca.pem"))
    url = f"localhost:{running.server.port}"
    with triton.InferenceServerClient(url, ssl=True, root_certificates=str(pem("ca.pem"))) as client:
        assert refused(client.is_server_live, client_timeout=10)[0] == "UNAVAILABLE"  # shows no certificate
    shown = {"private_key": str(pem("client.key")), "certificate_chain": str(pem("client.pem"))}
    with triton.InferenceServerClient(url, ssl=True, root_certificates=str(pem("ca.pem")), **shown) as client:
        client.infer("tiny", [tensor(SMALL)])
    assert "scanner 3" in running.service.requests[-1].client


def test_files_that_are_no_certificates_are_a_line(tmp_path):
    (tmp_path / "bad.pem").write_text("no certificate")
    for certificate, key in (("bad.pem", "bad.pem"), ("missing.pem", "missing.key")):
        settings = Settings(grpc_port=0, certificate=tmp_path / certificate, key=tmp_path / key)
        with pytest.raises(InputError, match="certificate"):
            serve(FakeService(), settings, Guard())


def test_what_a_model_answers_is_what_it_predicts(tiny):
    settings = Settings(
        models=(str(tiny.path),),
        roots=(tiny.path.parent,),
        grpc_port=0,
        warmup=(16, 16, 16),
        threads=1,
        engine="openvino",
    )
    service = Server(settings)
    server = serve(service, settings, Guard())
    try:
        eventually(lambda: service.wait(0.1), 120)
        image = blobs((20, 24, 18))
        wanted = load(str(tiny.path), threads=1, engine="openvino").predict(image, samples=4, seed=9)
        with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            (model,) = [each.name for each in client.get_model_repository_index().models if each.state == "READY"]
            told = {"segbench_samples": 4, "segbench_seed": 9}
            answer = client.infer(model, [tensor(image[None, None])], parameters=told)
        names = {"labels": "labels", "probability": "probability", "entropy": "entropy", "mutual_information": "mutual"}
        for name, ours in names.items():
            np.testing.assert_array_equal(answer.as_numpy(name)[0, 0], getattr(wanted, ours))
    finally:
        server.stop(5)
        service.drain()
