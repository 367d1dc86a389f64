"""What no client of good will sends over HTTP: each is told what was wrong, or cut off, and leaves nothing behind."""

import gzip
import json
import socket
import time
import tracemalloc
import urllib.error
import urllib.request
import zlib
from contextlib import ExitStack, suppress

import numpy as np
import pytest
from serving_http import INFER, SMALL, error, read_answer, request, served, told, told_raw

from segbench.serve import body, connection
from segbench.serve.compression import MEMBERS, inflate
from segbench.serve.connection import HEAD_BYTES, HEAD_COUNT
from segbench.serve.guard import Guard
from segbench.serve.refusal import Refusal

MIB = 2**20


@pytest.fixture(scope="module")
def server():
    """Takes 1 MiB; for tests that leave it as it was."""
    with served(max_request_mib=1) as each:
        yield each


@pytest.fixture(autouse=True)
def _nothing_is_kept(server):
    yield
    wait_for(lambda: server.budget.used == 0)
    assert server.infer(told())[0] == 200


# the connection


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100,
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", b"GET /\xff HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http(server, data):
    status, headers, said = server.raw(data)
    assert 400 <= status < 500
    assert list(json.loads(said)) == ["error"]
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 2 * HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 2 * HEAD_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (HEAD_COUNT + 1) + b"\r\n",
        b"POST /v2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * (HEAD_COUNT + 1),
    ],
    ids=["address", "header", "headers", "trailers"],
)
def test_too_much_of_a_head(server, head):
    error(without_id(server.raw(head)), 431)


@pytest.mark.parametrize(
    "start",
    [
        b"GET /", b"GET / HTTP/1.1\r\nX", b"GET / HTTP/1.1\r\nX: ",
        f"POST {INFER} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ".encode(),
        f"POST {INFER} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;".encode(),
    ],
    ids=["address", "name", "value", "trailer", "chunk"],
)  # fmt: skip
def test_a_head_without_end_is_cut_off(server, start):
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(start)
        with suppress(OSError):
            while sent < 64 * MIB:
                client.sendall(b"a" * 8192)
                sent += 8192
    assert sent < 32 * MIB  # what lies in the buffers of two sockets


def test_many_requests_at_once_are_answered_in_turn(server):
    one = request("POST", INFER, json.dumps(told(outputs=[{"name": "labels"}])).encode())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall((one + request("GET", "/v2/health/live")) * 20)
        file = client.makefile("rb")
        statuses = []
        for _ in range(40):
            statuses.append(int(file.readline().split()[1]))
            length = 0
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            file.read(length)
    assert statuses == [200] * 40


def test_connections_are_counted(monkeypatch):
    monkeypatch.setattr(connection, "CONNECTIONS", 3)
    with served() as server:
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(3)]
        time.sleep(0.2)
        status, headers, said = server.raw(b"")
        assert (status, headers["retry-after"]) == (503, "1")
        assert "connections" in json.loads(said)["error"]
        for each in held:
            each.close()
        wait_for(lambda: server.ask("GET", "/v2/health/live")[0] == 200)


# time


def test_who_says_nothing_or_little_is_sent_away(monkeypatch):
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    with served() as server:
        for said in (b"", b"GET / HTTP/1.1\r\nHost"):
            error(without_id(server.raw(said)), 408)


def test_a_body_has_to_come_in_time(monkeypatch):
    monkeypatch.setattr(body, "PATIENCE_S", 0.4)
    with served() as server:
        for length in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
            head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode()
            assert "slowly" in error(server.raw(head + b"1\r\n{\r\n"), 408)
        assert server.budget.used == 0


def test_a_body_that_comes_slowly_but_comes_is_taken(monkeypatch):
    monkeypatch.setattr(body, "PATIENCE_S", 0.6)
    monkeypatch.setattr(body, "BYTES_A_SECOND", 100)  # so that what came first is patience for 20 s more
    image = np.zeros((1, 1, 16, 16, 16), np.float32)
    text = json.dumps(told_raw(image)).encode()
    data = request("POST", INFER, text + image.tobytes(), {"Inference-Header-Content-Length": len(text)})
    with served() as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        for start in range(0, len(data), len(data) // 8):
            client.sendall(data[start : start + len(data) // 8])
            time.sleep(0.15)  # 1.2 s in all, twice the patience
        assert read_answer(client)[0] == 200


def test_who_does_not_read_an_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(connection, "STALL_S", 0.3)
    image = np.zeros((1, 1, 128, 128, 128), np.float32)
    text = json.dumps(told_raw(image, parameters={"binary_data_output": True})).encode()
    data = request("POST", INFER, text + image.tobytes(), {"Inference-Header-Content-Length": len(text)})
    with served() as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(data)
        wait_for(lambda: server.service.requests)
        wait_for(lambda: server.budget.used == 0)
        got = 0
        with suppress(ConnectionError):
            while part := client.recv(MIB):
                got += len(part)
        assert got < 0.9 * 13 * image.size  # bytes a voxel: labels, and three outputs of FP32


def test_answers_that_nobody_reads_do_not_pile_up():
    """Two of 27 MB are more than there may be of them, 2 MiB and 32."""
    image = np.zeros((1, 1, 128, 128, 128), np.float32)
    text = json.dumps(told_raw(image, parameters={"binary_data_output": True})).encode()
    data = request("POST", INFER, text + image.tobytes(), {"Inference-Header-Content-Length": len(text)})
    with served(max_request_mib=8, max_queue_mib=2, max_answer_mib=32) as server:
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(2)]
        for client in held:
            client.sendall(data)
        wait_for(lambda: "try again" in str(server.infer(told())[2]))
        for client in held:  # reading makes room
            assert read_answer(client)[0] == 200
            client.close()
        wait_for(lambda: server.infer(told())[0] == 200)


def test_who_leaves_in_the_middle_of_a_body_leaves_nothing(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(f"POST {INFER} HTTP/1.1\r\nContent-Length: 100000\r\n\r\n".encode() + b"x" * 50_000)
        wait_for(lambda: server.budget.used == 100_000)
    wait_for(lambda: server.budget.used == 0)


def test_one_client_cannot_hold_all_that_the_server_may_hold():
    """By uploads that announce much and never end; another client is answered meanwhile."""
    guard = Guard(["a-token-of-the-first", "a-token-of-the-other"])
    first, other = ({"Authorization": f"Bearer a-token-of-the-{who}"} for who in ("first", "other"))
    large = json.dumps(told()).encode().ljust(MIB)
    with served(guard, max_request_mib=1, max_queue_mib=1) as server:
        with ExitStack() as held:
            for number in range(1, 4):  # of 4 MiB one client has 3
                client = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
                client.sendall(request("POST", INFER, b"x", first | {"Content-Length": MIB}))
                wait_for(lambda number=number: server.budget.used == number * MIB)
            assert "of one client" in error(server.ask("POST", INFER, large, first), 503)
            assert server.ask("POST", INFER, large, other)[0] == 200
        wait_for(lambda: server.budget.used == 0)


# size


def test_a_body_too_large_is_refused_before_it_is_read(server):
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {2 * MIB}\r\n\r\n".encode()
    assert "takes" in error(server.raw(head), 413)


@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_all_of_it_still_reads_what_was_wrong(server, chunked):
    if chunked:
        head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        data = head + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 80 + b"0\r\n\r\n"
    else:
        data = request("POST", INFER, b"x" * 5 * MIB)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(data)
        error(read_answer(client), 413)
        client.sendall(request("GET", "/v2/health/live"))  # and the connection goes on
        assert read_answer(client)[0] == 200


@pytest.mark.parametrize("said", ["HTTP/1.1\r\nHost: x\r\nConnection: close", "HTTP/1.0"])
def test_who_wants_it_closed_after_sends_all_and_reads_what_was_wrong(server, said):
    head = f"POST {INFER} {said}\r\nContent-Length: {64 * MIB}\r\n\r\n".encode()  # more than sockets buffer
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(head)
        for _ in range(64):
            client.sendall(bytes(MIB))
        error(read_answer(client), 413)
        assert client.recv(1) == b""  # closed, not reset
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(f"GET /v2/health/live {said}\r\n\r\n".encode())
        status, headers, _ = read_answer(client)
        assert (status, headers["connection"]) == (200, "close")
        assert client.recv(1) == b""


def test_clients_that_close_read_what_was_wrong(server):
    body = np.zeros(64 * MIB, np.uint8).tobytes()
    with pytest.raises(urllib.error.HTTPError) as caught:  # urllib asks for every connection to be closed
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}{INFER}", body, timeout=20)
    assert "the server takes" in json.load(caught.value)["error"]
    assert caught.value.code == 413


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_a_rest_without_end_is_not_listened_to(monkeypatch, more):
    monkeypatch.setattr(connection, "LINGER_S", 0.3)
    with served() as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(f"POST {INFER}x HTTP/1.1\r\nHost: x\r\n{more}Transfer-Encoding: chunked\r\n\r\n".encode())
        error(read_answer(client), 404)
        end = time.monotonic() + 20
        with suppress(OSError):
            while time.monotonic() < end:
                client.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                time.sleep(0.005)
        assert time.monotonic() < end


@pytest.mark.parametrize(("coding", "bits"), [("gzip", 31), ("deflate", 15)])
def test_a_bomb_is_refused_at_the_limit(server, coding, bits):
    machine = zlib.compressobj(9, zlib.DEFLATED, bits)
    bomb = machine.compress(bytes(400 * MIB)) + machine.flush()
    assert len(bomb) < MIB
    tracemalloc.start()
    try:
        error(server.ask("POST", INFER, bomb, {"Content-Encoding": coding}), 413)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


PLAIN = json.dumps(told()).encode()


@pytest.mark.parametrize(
    ("coding", "data", "status"),
    [
        ("gzip", gzip.compress(PLAIN), 200), ("deflate", zlib.compress(PLAIN), 200), ("identity", PLAIN, 200),
        ("gzip", gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:]), 200), ("GZIP", gzip.compress(PLAIN), 200),
        ("gzip", gzip.compress(PLAIN)[:-9], 400), ("gzip", b"", 400), ("gzip", PLAIN, 400),
        ("gzip", gzip.compress(PLAIN) + b"more", 400), ("deflate", zlib.compress(PLAIN) + b"more", 400),
        ("deflate", zlib.compress(PLAIN)[2:-4], 400), ("deflate", zlib.compress(PLAIN)[:-1] + b"x", 400),
        ("br", PLAIN, 415), ("gzip, gzip", PLAIN, 415), ("gzip" * 99, PLAIN, 415),
    ],
)  # fmt: skip
def test_codings(server, coding, data, status):
    answer = server.ask("POST", INFER, data, {"Content-Encoding": coding})
    assert answer[0] == 200 if status == 200 else error(answer, status)


def test_a_slow_body_is_waited_for_though_the_request_before_it_is_answered(monkeypatch):
    monkeypatch.setattr(connection, "LINGER_S", 0.2)
    first, second = request("POST", INFER, PLAIN), request("POST", INFER, PLAIN)
    with served() as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        server.service.gate.clear()
        client.sendall(first + second[:-10])
        wait_for(lambda: server.service.started)
        server.service.gate.set()
        assert read_answer(client)[0] == 200
        time.sleep(1)  # what a rest that nobody reads would be given, five times over
        client.sendall(second[-10:])
        assert read_answer(client)[0] == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_is_inflated_is_what_there_was_and_is_counted_to_the_byte(coding):
    noise, made = np.random.default_rng(0).bytes(3 * MIB), []
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[coding]
    for plain in (b"", b"x", noise, bytes(5 * MIB), noise[:99_999] * 30):
        made.clear()
        found = inflate(memoryview(pack(plain)), coding, 6 * MIB, made.append)
        assert bytes(found) == plain
        assert sum(made) == len(plain)


def test_a_gzip_body_of_many_members():
    parts = [PLAIN[start : start + 1] for start in range(len(PLAIN))] * 20
    found = inflate(memoryview(b"".join(map(gzip.compress, parts))), "gzip", MIB, lambda size: None)
    assert bytes(found) == PLAIN * 20
    nothing = memoryview(gzip.compress(b"") * 2 * MEMBERS)
    with pytest.raises(Refusal, match="follows"):
        inflate(nothing, "gzip", MIB, lambda size: None)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Inference-Header-Content-Length", "-1"), ("Inference-Header-Content-Length", "9" * 30),
        ("Inference-Header-Content-Length", "100000"), ("Inference-Header-Content-Length", "0"),
        ("Inference-Header-Content-Length", "1e3"), ("Inference-Header-Content-Length", "²"),
    ],
)  # fmt: skip
def test_headers_that_lie(server, header, value):
    error(server.infer(told(), headers={header: value}), 400)


@pytest.mark.parametrize("name", ["Authorization", "Content-Encoding", "Inference-Header-Content-Length", "Origin"])
def test_a_header_that_is_there_twice(server, name):
    answer = server.infer(told(), headers={name: "1", name.upper(): "2"})
    assert "more than once" in error(answer, 400)


# JSON


def changed(**changes):
    """A good request whose input is changed; None takes a key out."""
    record = told()
    record["inputs"][0] |= changes
    record["inputs"][0] = {key: value for key, value in record["inputs"][0].items() if value is not None}
    return record


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 100_000,
        b'{"inputs": [' + b"{}," * 1000 + b"{}]}",
        {},
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [1]},
        {"inputs": [{}]},
        {"inputs": told()["inputs"] * 2},
        changed(name="other"),
        changed(name=None),
        changed(name=7),
        changed(name="image" * 100),
        changed(datatype="BYTES"),
        changed(datatype="BOOL"),
        changed(datatype="FP16"),
        changed(datatype="FP31"),
        changed(datatype=None),
        changed(datatype=["FP32"]),
        changed(datatype={"a": 1}),
        changed(shape=[]),
        changed(shape=[24]),
        changed(shape=[1, 1, 2, 3, -4]),
        changed(shape=[1, 1, 2, 3, 0]),
        changed(shape=[1, 1, 2, 3, 4.0]),
        changed(shape=[True, 1, 2, 3, 4]),
        changed(shape=[1, 2, 1, 3, 4]),
        changed(shape=[1, 1, 2, 3, "4"]),
        changed(shape="11234"),
        changed(shape=[1] * 1000),
        changed(shape=[1, 1, 2, 3, 5]),
        changed(shape=[1, 1, 2**31, 2**31, 4]),
        changed(shape=[2**16, 1, 2**16, 2**16, 2**16]),
        changed(shape=[1, 1, 10**30, 1]),
        changed(data=None),
        changed(data=[]),
        changed(data="x"),
        changed(data=["1"] * 24),
        changed(data=[None] * 24),
        changed(data=[[1.0] * 12] * 2),
        changed(data=[1.0] * 23),
        changed(data=[*[1.0] * 23, [1.0]]),
        changed(data=[[]]),
        changed(data=[*[1.0] * 23, "a" * 10**5]),
        changed(data=[*[1.0] * 23, 10**400]),
        changed(data=[{}] * 24),
        changed(data=[1e39] * 24),
        changed(datatype="UINT8", data=[256] * 24),
        changed(datatype="UINT8", data=[-1] * 24),
        changed(datatype="INT8", data=[1.5] * 24),
        changed(datatype="INT64", data=[2**63] * 24),
        changed(parameters=[]),
        changed(parameters={"binary_data_size": 96}),
        changed(parameters={"binary_data_size": -1}),
        changed(parameters={"binary_data_size": "96"}),
        changed(parameters={"binary_data_size": True}),
        told(id=7),
        told(id="x" * 1000),
        told(parameters=[]),
        told(parameters={"segbench_samples": -1}),
        told(parameters={"segbench_samples": 1.5}),
        told(parameters={"segbench_samples": 10**6}),
        told(parameters={"segbench_samples": True}),
        told(parameters={"segbench_samples": "8"}),
        told(parameters={"segbench_seed": -1}),
        told(parameters={"segbench_seed": 2**31}),
        told(parameters={"segbench_outputs": 7}),
        told(parameters={"segbench_outputs": "x"}),
        told(parameters={"segbench_invert": 1}),
        told(parameters={"segbench_new": 1}),
        told(parameters={"timeout": "soon"}),
        told(parameters={"timeout": -1}),
        told(parameters={str(n): n for n in range(1000)}),
        told(parameters={"binary_data_output": 1}),
        told(outputs=[{"name": "none"}]),
        told(outputs=[{}]),
        told(outputs=[{"name": "labels"}] * 2),
        told(outputs={}),
        told(outputs=[7]),
        told(outputs=[{"name": "labels", "parameters": 7}]),
        told(outputs=[{"name": "labels", "parameters": {"binary_data": "yes"}}]),
        told(outputs=[{"name": "labels"}] * 1000),
    ],
    ids=lambda record: str(record)[:60],
)
def test_json_that_is_no_request(server, record):
    before = len(server.service.requests)
    error(server.infer(record), 400)
    assert len(server.service.requests) == before


@pytest.mark.parametrize("raw", [SMALL.tobytes()[:-1], SMALL.tobytes() + b"x", b"x"])
def test_tensors_of_another_size(server, raw):
    error(server.infer(told_raw(), raw), 400)
    record = told_raw()
    record["inputs"][0]["parameters"]["binary_data_size"] = len(raw)
    error(server.infer(record, raw), 400)


def test_a_value_beyond_what_it_is_computed_with(server):
    wide = SMALL + np.float64(1e300)
    assert "beyond" in error(server.infer(told_raw(wide, "FP64"), wide.tobytes()), 400)


@pytest.mark.parametrize(
    "given", [b"[]", b"{", b'{"parameters": []}', b'{"parameters": {"config": "{}"}}', b"x" * 10**5]
)
def test_the_repository_takes_nothing_strange(server, given):
    answer = server.ask("POST", "/v2/repository/models/tiny/load", given)
    error(answer, 413 if len(given) > 2**16 else 415 if b"parameters" in given else 400)


def without_id(answer):
    """Of one that was refused before it was a request."""
    assert answer[1]["connection"] == "close" or "x-request-id" in answer[1]
    return answer


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)
