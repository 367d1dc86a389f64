"""The protocol over HTTP, asked by tritonclient and by bare requests."""

import gzip
import json
import socket
import threading
import time
import zlib

import numpy as np
import pytest
import tritonclient.http as triton
from serving import FakeService, expected_labels
from serving_http import INFER, SMALL, error, read_answer, request, served, told, told_raw
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from segbench import __version__
from segbench.serve import wire
from segbench.serve.guard import Guard
from segbench.serve.refusal import Refusal

TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture(scope="module")
def server():
    """For tests that leave it as it was."""
    with served() as each:
        yield each


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.url) as each:
        yield each


def tensor(array, datatype="FP32", binary=True):
    given = triton.InferInput("image", list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def wanted(*names, binary=True):
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


# what tritonclient asks


def test_tritonclient_reads_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("tiny", "9")
    assert client.get_server_metadata()["version"] == __version__
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("tiny")
    assert metadata["versions"] == ["1", "2"]
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, -1, -1, -1]}]
    assert [each["name"] for each in metadata["outputs"]][:2] == ["labels", "probability"]


def test_tritonclient_reads_config_statistics_and_index(client):
    config = client.get_model_config("tiny", "2")
    assert config["name"] == "tiny"
    assert config["max_batch_size"] > 0
    assert config["input"][0] | {"dims": [1, -1, -1, -1], "data_type": "TYPE_FP32"} == config["input"][0]
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 0  # a number, not a text
    assert config["version_policy"] == {"specific": {"versions": [1, 2]}}
    assert {each["name"] for each in client.get_inference_statistics()["model_stats"]} == {"tiny", "three"}
    (one,) = client.get_inference_statistics("tiny", "1")["model_stats"]
    assert (one["name"], one["version"]) == ("tiny", "1")
    assert {each["state"] for each in client.get_model_repository_index()} == {"READY"}


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("sent", [None, "gzip", "deflate"])
@pytest.mark.parametrize("back", [None, "gzip", "deflate"])
def test_tritonclient_infers(client, binary_in, binary_out, sent, back):
    outputs = None if binary_out is None else wanted("labels", "entropy", binary=binary_out)
    image = np.random.default_rng(0).standard_normal((2, 1, 5, 6, 7)).astype(np.float32)
    answer = client.infer(
        "tiny", [tensor(image, binary=binary_in)], outputs=outputs, request_id="mine",
        request_compression_algorithm=sent, response_compression_algorithm=back,
        parameters={"segbench_samples": 3, "segbench_seed": 7},
    )  # fmt: skip
    record = answer.get_response()
    assert (record["model_name"], record["model_version"], record["id"]) == ("tiny", "2", "mine")
    assert record["parameters"] == {"segbench_samples": 3, "segbench_seed": 7}
    names = [each["name"] for each in record["outputs"]]
    assert names == (["labels", "entropy"] if outputs else ["labels", "probability", "entropy", "mutual_information"])
    labels, entropy = answer.as_numpy("labels"), answer.as_numpy("entropy")
    assert labels.dtype == np.uint8
    assert np.array_equal(labels[:, 0], expected_labels(image[:, 0]))
    assert entropy.dtype == np.float32
    assert np.array_equal(entropy, image * np.float32(0.5))  # to the last bit, through JSON too


def test_tritonclient_asks_for_versions_and_two_dimensions(client):
    image = SMALL[:, :, 0]
    answer = client.infer("tiny", [tensor(image)], model_version="1")
    assert answer.get_response()["model_version"] == "1"
    assert answer.as_numpy("labels").shape == image.shape


def test_tritonclient_gets_every_sample_and_class(client):
    parameters = {"segbench_samples": 3, "segbench_outputs": "samples,probabilities", "segbench_invert": True}
    answer = client.infer("three", [tensor(SMALL)], parameters=parameters)
    assert answer.as_numpy("samples").shape == (1, 3, 2, 3, 4)
    assert answer.as_numpy("probabilities").shape == (1, 3, 2, 3, 4)
    for number in range(3):
        assert np.array_equal(answer.as_numpy("samples")[:, number], expected_labels(-SMALL[:, 0], number))


def test_tritonclient_sends_a_large_tile(client):
    image = np.zeros((1, 1, 240, 240, 240), np.float32)
    image[..., 120:, :] = 1
    answer = client.infer("tiny", [tensor(image)], outputs=wanted("labels"))
    assert np.array_equal(answer.as_numpy("labels"), image.astype(np.uint8))


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("binary", [True, False])
def test_grey_values_of_any_type_become_the_same_image(server, client, kind, binary):
    image = (SMALL * 5).astype(kind)
    datatype = np_to_triton_dtype(image.dtype)
    if kind == "f2" and not binary:  # tritonclient does not even send it
        assert "FP16" in error(server.infer(told(image, "FP16")), 400)
        return
    client.infer("tiny", [tensor(image, datatype, binary)])
    request = server.service.requests[-1]
    assert request.images.dtype == np.float32
    assert np.array_equal(request.images, (SMALL * 5)[:, 0])
    assert request.images.flags.aligned
    assert request.images.flags.c_contiguous


def test_nothing_is_copied_on_the_way_in(server):
    """However long the JSON is, the tensor behind it begins where vector instructions like it."""
    for length in range(1, 9):
        assert server.infer(told_raw(id="i" * length), SMALL.tobytes())[0] == 200
        images = server.service.requests[-1].images
        assert images.ctypes.data % 64 == 0
        assert images.base is not None
        assert not images.flags.owndata


def test_tritonclient_is_told_what_was_wrong(client):
    with pytest.raises(InferenceServerException, match="unknown model 'none'") as caught:
        client.infer("none", [tensor(SMALL)])
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="does not let clients"):
        client.load_model("tiny")


def test_tritonclient_loads_and_unloads():
    with served(control=True) as server, triton.InferenceServerClient(server.url) as client:
        client.unload_model("three")
        assert not client.is_model_ready("three")
        assert not client.is_server_ready()
        states = {each["name"]: each["state"] for each in client.get_model_repository_index()}
        assert states == {"tiny": "READY", "three": "UNAVAILABLE"}
        client.load_model("three")
        assert client.is_model_ready("three")
        with pytest.raises(InferenceServerException, match="no parameters"):
            client.load_model("three", config="{}")


# the body


def test_nested_flat_and_not_a_number(server):
    flat = server.infer(told(outputs=[{"name": "labels"}]))
    nested = told(outputs=[{"name": "labels"}])
    nested["inputs"][0]["data"] = SMALL.tolist()
    again = server.infer(nested)
    assert flat[0] == again[0] == 200
    assert flat[2] == again[2]
    bad = SMALL.copy()
    bad[0, 0, 0, 0, 0] = np.nan
    assert "NaN" in error(server.infer(told(bad)), 400)  # read as such, and the service has the word


def test_an_output_may_be_raw_and_another_not(server):
    outputs = [{"name": "labels", "parameters": {"binary_data": False}}, {"name": "entropy"}]
    asked = told_raw(outputs=outputs, parameters={"binary_data_output": True})
    status, headers, body = server.infer(asked, SMALL.tobytes())
    assert status == 200
    assert headers["content-type"] == "application/octet-stream"
    length = int(headers["inference-header-content-length"])
    labels, entropy = json.loads(body[:length])["outputs"]
    assert labels["data"] == expected_labels(SMALL[:, 0]).ravel().tolist()
    assert entropy["parameters"] == {"binary_data_size": SMALL.nbytes}
    assert np.array_equal(np.frombuffer(body[length:], "<f4"), SMALL.ravel() / 2)


def test_a_body_in_chunks(server):
    body = json.dumps(told()).encode()
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:])) + b"0\r\n\r\n"
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert server.raw(head + parts)[0] == 200


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("br", None),
        ("gzip;q=0", None),
        ("identity, gzip;q=0.1", None),
    ],
)
def test_answers_are_compressed_as_asked(server, accepts, coding):
    image = np.zeros((1, 1, 16, 16, 16), np.float32)
    status, headers, body = server.infer(told_raw(image), image.tobytes(), {"Accept-Encoding": accepts})
    assert status == 200
    assert headers.get("content-encoding") == coding
    plain = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[coding](body)
    assert json.loads(plain)["model_name"] == "tiny"


def test_the_same_request_gives_the_same_bytes(server):
    answers = {server.infer(told_raw(parameters={"binary_data_output": True}), SMALL.tobytes())[2] for _ in range(3)}
    assert len(answers) == 1


# who asks


def test_a_token_opens_all_but_health():
    with served(guard=Guard([TOKEN])) as server:
        paths = ["/v2", "/v2/models/tiny", "/metrics", "/v2/models/stats", "/nothing"]
        for path in paths:
            answer = server.ask("GET", path)
            assert "token" in error(answer, 401)
            assert answer[1]["www-authenticate"] == "Bearer"
            good = server.ask("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})[0]
            assert good == (404 if path == "/nothing" else 200)
        assert server.ask("GET", "/v2/health/live")[0] == 200
        error(server.infer(told(), headers={"Authorization": f"Bearer {TOKEN[:-1]}"}), 401)
        assert not server.service.requests


def test_a_token_is_asked_for_before_the_body_comes():
    with served(guard=Guard([TOKEN])) as server:
        # nothing of the body is ever sent, and no "100 Continue" invites it
        head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n"
        error(server.raw(head.encode()), 401)


def test_a_client_that_asks_too_often_is_told_when_to_come_back():
    with served(guard=Guard(rate=0.1, burst=2)) as server:
        assert [server.infer(told())[0] for _ in range(2)] == [200, 200]
        answer = server.infer(told())
        assert "requests a second" in error(answer, 429)
        assert 1 <= int(answer[1]["retry-after"]) <= 10
        assert server.ask("GET", "/v2/models/tiny")[0] == 200


def test_web_pages_may_not_ask_unless_they_are_named():
    origin = {"Origin": "https://evil.example"}
    with served(allow_origin=["https://good.example"]) as server:
        assert "origin" in error(server.infer(told(), headers=origin), 403)
        assert not server.service.requests
        status, headers, _ = server.infer(told(), headers={"Origin": "https://good.example"})
        assert (status, headers["access-control-allow-origin"]) == (200, "https://good.example")
        asks = {"Origin": "https://good.example", "Access-Control-Request-Method": "POST"}
        status, headers, _ = server.ask("OPTIONS", INFER, headers=asks)
        assert status == 204
        assert "inference-header-content-length" in headers["access-control-allow-headers"]
    with served() as server:
        status, headers, _ = server.infer(told())
        assert not [name for name in headers if name.startswith("access-control")]


# what it says of itself and of a request


def test_ids_are_kept_where_they_are_harmless(server):
    assert server.ask("GET", "/v2", headers={"X-Request-Id": "scan-7.a"})[1]["x-request-id"] == "scan-7.a"
    for bad in ("", "a b", "x" * 129, "<script>"):
        made = server.ask("GET", "/v2", headers={"X-Request-Id": bad})[1]["x-request-id"]
        assert made != bad
        assert len(made) == 32
    server.infer(told(), headers={"X-Request-Id": "from-the-header"})
    assert server.service.requests[-1].id == "from-the-header"
    answer = server.infer(told(id="from-json"), headers={"X-Request-Id": "from-the-header"})
    assert server.service.requests[-1].id == json.loads(answer[2])["id"] == "from-json"
    assert "id" not in json.loads(server.infer(told())[2])


def test_nothing_tells_what_runs_behind(server):
    _, headers, _ = server.ask("GET", "/v2")
    assert headers["server"] == "segbench"
    assert not headers.keys() - {"date", "server", "content-length", "content-type", "x-request-id"}
    for path in ("/docs", "/redoc", "/openapi.json", "/", "/v2/"):
        error(server.ask("GET", path), 404)


def test_metrics_are_passed_on(server):
    status, headers, body = server.ask("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"segbench_ready 1.0" in body


# what goes wrong


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/none", 404), ("GET", "/v2/models/tiny/versions/9", 404), ("GET", INFER, 405),
        ("POST", "/v2", 405), ("DELETE", "/v2/models/tiny", 405), ("OPTIONS", "/v2", 405),
        ("GET", "/v2/models/none/config", 404), ("GET", "/v2/models/none/stats", 404), ("GET", "/v2/models/a%2fb", 404),
        ("POST", "/v2/repository/models/tiny/load", 403), ("POST", "/v2/models/none/infer", 400),
        ("GET", "/v2/../../etc/passwd", 404), ("GET", "/v2/models/%ff%00", 404), ("PATCH", "/metrics", 405),
    ],
)  # fmt: skip
def test_every_failure_has_one_form(server, method, path, status):
    error(server.ask(method, path), status)


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal("busy", "the queue is full", 2.2), 503),
        (Refusal("late", "too late"), 504),
        (Refusal("forbidden", "no"), 403),
    ],
)
def test_what_the_service_refuses_is_told(refusal, status):
    with served() as server:
        server.service.refusal = refusal
        answer = server.infer(told())
        assert error(answer, status) == str(refusal)
        assert answer[1].get("retry-after") == ("3" if status == 503 else None)


def test_a_bug_tells_clients_nothing(caplog):
    class Broken(FakeService):
        def submit(self, request):
            raise RuntimeError("secret of another client in /etc/passwd")

    with served(service=Broken()) as server:
        message = error(server.infer(told()), 500)
        assert "secret" not in message
        assert "passwd" not in message
    assert "secret" in caplog.text  # who runs it wants to know


def test_one_that_is_not_ready_says_so():
    with served() as server:
        server.service.draining = True
        status, headers, body = server.ask("GET", "/v2/health/ready")
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(body)["ready"] is False
        assert json.loads(body)["error"]
        assert server.ask("GET", "/v2/health/live")[0] == 200
        error(server.infer(told()), 503)


def test_who_leaves_is_not_computed_for():
    with served() as server:
        server.service.gate.clear()
        for number in (1, 2):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
                client.sendall(request("POST", INFER, json.dumps(told()).encode()))
                wait_for(lambda many=number: len(server.service.futures) == many)
        wait_for(server.service.futures[1].cancelled)  # the first one runs already
        server.service.gate.set()
        assert server.infer(told())[0] == 200
        assert len(server.service.started) == 2


def test_bodies_together_are_bounded_and_given_back():
    with served(max_request_mib=1, max_queue_mib=1, timeout_s=30) as server:
        server.service.gate.clear()
        image = np.zeros((1, 1, 64, 64, 60), np.float32)
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(server.infer(told_raw(image), image.tobytes())[0]))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: answers.count(503) == 3)
        server.service.gate.set()
        for thread in threads:
            thread.join(20)
        assert sorted(answers) == [200, 200, 200, 503, 503, 503]
        assert [server.infer(told_raw(image), image.tobytes())[0] for _ in range(4)] == [200] * 4


def test_clients_that_load_models_keep_nobody_waiting():
    """Threads are few, and a load takes one of them at a time."""
    entered, hold = threading.Event(), threading.Event()

    class Slow(FakeService):
        def load(self, name):
            entered.set()
            hold.wait(60)

    image = np.zeros((1, 1, 64, 64, 64), np.float32)
    with served(service=Slow()) as server:
        load = request("POST", "/v2/repository/models/tiny/load")
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(6)]
        try:
            for each in held:
                each.sendall(load)
            assert entered.wait(20)
            answer = server.infer(told_raw(image), image.tobytes(), {"Accept-Encoding": "gzip"})
            assert answer[0] == 200
        finally:
            hold.set()
            statuses = [read_answer(each)[0] for each in held]
            for each in held:
                each.close()
        assert statuses == [200] * 6


def test_an_answer_too_long_for_json_is_refused_before_it_is_computed(monkeypatch):
    monkeypatch.setattr(wire, "ANSWER", 3 * SMALL.size)
    with served() as server:
        assert "as JSON" in error(server.infer(told()), 413)
        assert not server.service.requests
        assert server.infer(told(parameters={"binary_data_output": True}))[0] == 200
        assert server.infer(told(parameters={"segbench_outputs": "labels,entropy"}))[0] == 200
        samples = {"segbench_outputs": "samples", "segbench_samples": 4}
        assert "as JSON" in error(server.infer(told(parameters=samples)), 413)


@pytest.mark.parametrize("place", ["input", "output"])
@pytest.mark.parametrize("name", ["shared_memory_region", "classification"])
def test_what_would_change_what_is_meant_is_refused(server, place, name):
    asked = told(outputs=[{"name": "labels"}])
    asked[f"{place}s"][0]["parameters"] = {name: 1}
    assert name in error(server.infer(asked), 415)


def test_small_integers_are_refused_before_they_are_made_large():
    image = np.zeros((1, 1, 2**19, 1, 1), np.uint8)  # half a MiB, and 2 as FP32
    with served(max_request_mib=1) as server:
        assert "as FP32" in error(server.infer(told_raw(image, "UINT8"), image.tobytes()), 413)


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)
