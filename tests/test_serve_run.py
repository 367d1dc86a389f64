"""The server as a program: settings, where it may listen, TLS, signals, and how it ends."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from serving_http import SMALL, read_answer, request, served, told, told_raw
from started import certificates as made
from typer.testing import CliRunner

from segbench.cli.app import app
from segbench.cli.server import settings_of
from segbench.errors import InputError
from segbench.serve.guard import Guard
from segbench.serve.listener import listen
from segbench.serve.settings import Settings, read_settings
from segbench.serve.tls import check, is_loopback

ROOT = Path(__file__).parent.parent
FILE = ROOT / "serve" / "server.toml"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return made(tmp_path_factory.mktemp("tls"))


# settings


def test_the_file_of_settings_says_all_of_them_as_they_are_by_default():
    text = FILE.read_text()
    assert read_settings(FILE) == Settings()
    written = set(tomllib.loads(text))
    behind = {line[2:].split(" = ")[0] for line in text.splitlines() if line.startswith("# ") and " = " in line}
    defaults = Settings().model_dump()
    assert written == {name for name, value in defaults.items() if value is not None}
    assert {name for name, value in defaults.items() if value is None} <= behind
    shown = "\n".join(line.removeprefix("# ") for line in text.splitlines() if line[2:].split(" = ")[0] in defaults)
    Settings.model_validate(tomllib.loads(shown))  # what stands behind a # could be said, too
    assert all(" # " in line for line in text.splitlines() if " = " in line)


def test_options_go_over_the_file_and_paths_start_from_it(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('models = ["a"]\nthreads = 3\ngrpc_port = false\nroots = ["zoo"]\ntoken_file = "tokens"\n')
    found = settings_of(file, {"models": ["b", "c"], "threads": None, "http_port": 0})
    assert (found.models, found.threads, found.http_port, found.grpc_port) == (("b", "c"), 3, 0, None)
    assert (found.roots, found.token_file) == ((tmp_path / "zoo",), tmp_path / "tokens")


@pytest.mark.parametrize(
    ("text", "message"),
    [("tokenfile = 1", "tokenfile: unknown key"), ("http_port = 99999", "http_port"), ("=", "not TOML")],
)
def test_a_file_that_cannot_be_used_is_a_line(tmp_path, text, message):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        settings_of(tmp_path / "bad.toml", {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "give token_file, or client_ca"), (["--host", "::"], "give token_file, or client_ca"),
        (["--host", "no.such.host.invalid"], "no address"), (["--token-file", "none"], "token_file"),
        (["--certificate", str(FILE)], "certificate and key"), (["--client-ca", str(FILE)], "client_ca needs"),
        (["--no-http", "--no-grpc"], "nothing to serve"), (["--http-port", "-1"], "http_port"),
        (["--token-file", str(ROOT / "src/segbench/py.typed")], "no token"),
        (["--zoo", "no-such-model"], "no-such-model"),
        (["--certificate", str(FILE), "--key", str(FILE), "--no-grpc", "--http-port", "0"], "no certificate"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_a_line(words, message):
    result = CliRunner().invoke(app, ["serve", *words])
    assert isinstance(result.exception, InputError), result.output
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_loopback_is_told_from_the_rest(tmp_path):
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "", "::", "192.0.2.1", "8.8.8.8")] == [False] * 5
    tokens = tmp_path / "tokens"
    tokens.write_text("x" * 32)
    check(Settings(host="0.0.0.0", token_file=tokens))


def test_an_address_that_another_has_is_a_line():
    with served() as server, pytest.raises(InputError, match="choose another with http_port"):
        listen(server.service, Settings(http_port=server.port), Guard())


# TLS


def test_tls_and_mutual_tls(certificates):
    pair = {"certificate": certificates / "server.pem", "key": certificates / "server.key"}
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    given = triton.InferInput("image", list(SMALL.shape), "FP32")
    given.set_data_from_numpy(SMALL)
    with served(**pair) as server:
        with triton.InferenceServerClient(server.url, ssl=True, ssl_context_factory=lambda: context) as client:
            assert client.infer("tiny", [given]).as_numpy("labels").shape == SMALL.shape
        with pytest.raises(ConnectionError):  # no answer at all to who speaks no TLS
            server.ask("GET", "/v2")
    with served(**pair, client_ca=certificates / "ca.pem") as server:
        url = f"https://localhost:{server.port}/v2/models/tiny/infer"
        with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(url, json.dumps(told()).encode(), timeout=10, context=context)
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        with urllib.request.urlopen(url, json.dumps(told()).encode(), timeout=10, context=context) as answer:
            assert answer.status == 200
        assert "scanner 3" in server.service.requests[-1].client


def test_a_key_with_a_passphrase_is_refused_without_asking(certificates, tmp_path):
    key = tmp_path / "locked.key"
    words = [
        "openssl",
        "pkey",
        "-aes256",
        "-passout",
        "pass:secret",
        "-in",
        str(certificates / "server.key"),
        "-out",
        str(key),
    ]
    subprocess.run(words, check=True, capture_output=True)
    with pytest.raises(InputError, match="passphrase"), served(certificate=certificates / "server.pem", key=key):
        pass


# from its start to its end

SCRIPT = """
import os, sys, threading
sys.path.insert(0, {tests!r})
from serving import FakeService
from segbench.serve import run
from segbench.serve.settings import Settings

word = threading.Event()
if not {held!r}:
    word.set()
threading.Thread(target=lambda: os.read(0, 1) and word.set(), daemon=True).start()

class Server(FakeService):
    def __init__(self, settings):
        super().__init__(settings=settings)
        self.gate = word
    def ready(self):
        return ({held!r} != "loading" or word.is_set()) and super().ready()
    def wait(self, seconds):
        word.wait(seconds if {held!r} == "loading" else 0)
        return self.ready()
    def submit(self, request):
        future = super().submit(request)
        print("accepted", flush=True)
        return future
    def reload(self):
        print("reloaded", flush=True)

def listen(*arguments):
    made = listening(*arguments)
    print(made.port, flush=True)
    return made

listening, run.listen, run.Server, run.LAST_S = run.listen, listen, Server, 0.1
settings = Settings(http_port=0, grpc_port={grpc}, drain_s=60)
sys.exit(not run.run(settings, lambda line: print(line, flush=True)))
"""


@contextmanager
def program(held="", grpc="None"):
    """A server of its own process, whose end is made sure of; and its port.

    Args:
        held: "loading" or "requests": what does not go on before the process is told to.
        grpc: Its port.
    """
    script = SCRIPT.format(tests=str(ROOT / "tests"), held=held, grpc=grpc)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=20)


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


def status(port, path, body=None):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
    except OSError:
        return 0


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)


def test_it_lives_before_it_is_ready_and_says_one_line_when_it_is():
    with program("loading", grpc="0") as (process, port):
        assert status(port, "/v2/health/live") == 200
        assert status(port, "/v2/health/ready") == 503
        go_on(process)
        line = process.stdout.readline()
        assert line.startswith(f"ready: http://127.0.0.1:{port} grpc://127.0.0.1:")
        assert status(port, "/v2/health/ready") == 200
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "reloaded\n"
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout.read() == ""


@contextmanager
def asked(process, port, count):
    """So many requests that were accepted and are held; yields their statuses, which are there at the end."""
    body, answers = json.dumps(told()).encode(), []
    assert process.stdout.readline().startswith("ready")
    ask = lambda: answers.append(status(port, "/v2/models/tiny/infer", body))  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    assert [process.stdout.readline() for _ in threads] == ["accepted\n"] * count
    yield answers
    for thread in threads:
        thread.join(30)
    assert len(answers) == count


def test_a_stop_answers_what_was_accepted_and_takes_no_more():
    with program("requests") as (process, port), asked(process, port, 2) as answers:
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: status(port, "/v2/health/ready") == 503)
        assert status(port, "/v2/models/tiny/infer", json.dumps(told()).encode()) == 503
        go_on(process)
        assert process.wait(30) == 0
    assert answers == [200, 200]


def test_a_second_signal_does_not_wait():
    with program("requests") as (process, port):
        with asked(process, port, 1) as answers:
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: status(port, "/v2/health/ready") == 503)
            process.send_signal(signal.SIGTERM)
        assert answers == [503]
        go_on(process)  # the fake's own thread
        assert process.wait(30) == 1


def large_request():
    """One whose answer does not fit into what lies between server and client."""
    image = np.zeros((1, 1, 128, 128, 128), np.float32)
    text = json.dumps(told_raw(image, parameters={"binary_data_output": True})).encode()
    return request(
        "POST", "/v2/models/tiny/infer", text + image.tobytes(), {"Inference-Header-Content-Length": len(text)}
    )


def test_a_stop_waits_for_who_reads_an_answer_slowly():
    with program() as (process, port), socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        process.stdout.readline()
        client.sendall(large_request())
        assert process.stdout.readline() == "accepted\n"
        process.send_signal(signal.SIGTERM)
        time.sleep(3)  # more than it waits at the least, and less than the 60 s that it may
        found, headers, body = read_answer(client)
        assert found == 200
        assert len(body) == int(headers["content-length"])
        assert process.wait(30) == 0


def test_a_second_signal_cuts_off_who_reads_slowly():
    with program() as (process, port), socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        process.stdout.readline()
        client.sendall(large_request())
        assert process.stdout.readline() == "accepted\n"
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: status(port, "/v2/health/ready") == 0)  # nobody is listened to any more
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1


def test_a_stop_while_it_loads():
    with program("loading") as (process, port):
        assert status(port, "/v2/health/live") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


COMPILING = """
import sys
from segbench.cli import main
from segbench.serve import models

def ready(*arguments):
    print("compiling", flush=True)
    return load(*arguments)

load, models.ready = models.ready, ready
sys.argv = "segbench serve --zoo vnet-battery --engine openvino --threads 1 --http-port 0 --no-grpc".split()
main()
"""


def test_a_stop_while_an_engine_compiles():
    """Which nothing interrupts, and which must not abort the process when that is over."""
    words = [sys.executable, "-c", COMPILING]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "compiling\n", process.communicate(timeout=20)
            time.sleep(0.5)  # it has begun
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert "terminate" not in process.stderr.read()
        finally:
            process.kill()


def test_the_command_serves_a_model(tiny, tmp_path):
    """The whole way: command line, settings, HTTP and gRPC, the engine; the same labels as segbench.load's."""
    config = tmp_path / "server.toml"
    config.write_text("http_port = 0\ngrpc_port = 0\nwarmup = [16, 16, 16]\nsamples = 2\n")
    words = [
        "serve",
        "--zoo",
        str(tiny.path),
        "--root",
        str(tiny.path.parent),
        "--config",
        str(config),
        "--threads",
        "1",
    ]
    environment = {**os.environ, "GRPC_VERBOSITY": "ERROR"}
    process = subprocess.Popen(
        [sys.executable, "-m", "segbench", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        line = process.stdout.readline()
        assert line, process.communicate(timeout=20)
        url = line.split()[1].removeprefix("http://")
        image = np.random.default_rng(0).standard_normal((1, 1, 16, 16, 16)).astype(np.float32)
        given = triton.InferInput("image", list(image.shape), "FP32")
        given.set_data_from_numpy(image)
        with triton.InferenceServerClient(url) as client:
            (name,) = [each["name"] for each in client.get_model_repository_index() if each["state"] == "READY"]
            answer = client.infer(name, [given], parameters={"segbench_seed": 3})
            again = client.infer(name, [given], parameters={"segbench_seed": 3})
            assert answer.as_numpy("labels").shape == image.shape
            for output in ("labels", "probability", "entropy"):
                assert np.array_equal(answer.as_numpy(output), again.as_numpy(output))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        events = [json.loads(line)["event"] for line in process.stderr.read().splitlines()]
        assert events.count("request") == 2
    finally:
        process.kill()
        process.communicate(timeout=20)
