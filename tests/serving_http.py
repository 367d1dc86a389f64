"""An HTTP server in front of a `FakeService`, and a client that says exactly what it is told to."""

import json
import socket
from contextlib import contextmanager

import numpy as np
from serving import FakeService

from segbench.serve.guard import Guard
from segbench.serve.listener import listen
from segbench.serve.settings import Settings

SMALL = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 1, 2, 3, 4)
INFER = "/v2/models/tiny/infer"


class Served:
    """Attributes: service, port, url, settings, and the budget of bodies."""

    def __init__(self, service, listener, settings):
        self.service, self.port, self.settings = service, listener.port, settings
        self.budget = listener._server.config.app.state.budget
        self.url = f"127.0.0.1:{listener.port}"

    def raw(self, data, timeout=20.0):
        """Sends bytes, and reads one answer: status, headers (lower case), body."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            return read_answer(connection)

    def ask(self, method, path, body=b"", headers=None):
        """One request as it should be; its body may be what JSON can say."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.raw(request(method, path, body, headers))

    def infer(self, told, raw=b"", headers=None, path=INFER):
        """An inference in JSON, or with raw tensors behind it."""
        text = told if isinstance(told, bytes) else json.dumps(told).encode()
        more = {"Inference-Header-Content-Length": len(text)} if raw else {}
        return self.ask("POST", path, text + raw, more | (headers or {}))


@contextmanager
def served(guard=None, service=None, **settings):
    """Such a server, until the block is left."""
    made = Settings(http_port=0, grpc_port=None, **settings)
    fake = service or FakeService(settings=made)
    listener = listen(fake, made, guard or Guard())
    try:
        yield Served(fake, listener, made)
    finally:
        fake.close()
        listener.stop(0)


def request(method, path, body=b"", headers=None):
    lines = {"Host": "localhost", "Content-Length": len(body)} | (headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def read_answer(connection):
    """Status, headers and body of the next answer; a closed connection is a `ConnectionError`."""
    file = connection.makefile("rb")
    line = file.readline(65536)
    if not line:
        raise ConnectionError("closed without an answer")
    headers = {}
    while (one := file.readline(65536)) not in (b"\r\n", b""):
        name, _, value = one.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return int(line.split()[1]), headers, file.read(int(headers.get("content-length", 0)))


def told(array=SMALL, datatype="FP32", **more):
    """The JSON of an inference with its tensor in it."""
    data = array.ravel().tolist()
    return {"inputs": [{"name": "image", "shape": list(array.shape), "datatype": datatype, "data": data}], **more}


def told_raw(array=SMALL, datatype="FP32", **more):
    """The same with the tensor to come behind it."""
    behind = {"binary_data_size": array.nbytes}
    given = {"name": "image", "shape": list(array.shape), "datatype": datatype, "parameters": behind}
    return {"inputs": [given], **more}


def error(answer, status):
    """The message of a refusal, whose form is checked."""
    found, headers, body = answer
    assert found == status, (found, body)
    assert headers["content-type"] == "application/json"
    assert "x-request-id" in headers or headers.get("connection") == "close"
    record = json.loads(body)
    assert list(record) == ["error"]
    message = record["error"]
    assert message
    assert "\n" not in message
    assert "Traceback" not in message
    assert "/" + "tmp" not in message
    return message
