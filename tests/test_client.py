"""The client: against a started server, and against servers that do not keep to the protocol."""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from serving import expected_labels
from started import certificates, started

import segbench as segbench_package
from segbench.client import Server, infer, status
from segbench.errors import InputError, RemoteError, SegbenchError
from segbench.serve.guard import Guard
from segbench.serve.refusal import Refusal

TOKEN = "a-token-of-thirty-two-characters"
IMAGE = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture(scope="module")
def running():
    with started() as there:
        yield there


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


@contextmanager
def saying(*replies):
    """A server that answers each connection with bytes, whatever was asked; yields its URL and what it was sent."""
    listening, sent = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        for reply in replies:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                sent.append(connection.recv(2**16))
                connection.sendall(reply)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(2**16):
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", sent
    finally:
        listening.shutdown(socket.SHUT_RDWR)  # whoever waits for a connection wakes up
        listening.close()
        thread.join(5)


def http(body, status=200, **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Said\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64", ">u2", ">f4", "bool"])
def test_an_image_of_any_type_comes_back_segmented(running, dtype):
    image = (IMAGE > 5 if dtype == "bool" else IMAGE).astype(dtype)
    answer = infer(running.url, "tiny", image, samples=2, seed=5)
    values = image.astype(np.float32)
    np.testing.assert_array_equal(answer.outputs["labels"], expected_labels(values[None])[0])
    np.testing.assert_array_equal(answer.outputs["entropy"], values / 2)
    assert (answer.model, answer.version) == ("tiny", "2")
    assert answer.parameters == {"segbench_samples": 2, "segbench_seed": 5}


def test_views_slices_versions_and_outputs(running):
    turned = IMAGE.transpose(2, 0, 1)[::-1]
    np.testing.assert_array_equal(infer(running.url, "tiny", turned).outputs["entropy"], turned / 2)
    answer = infer(running.url, "tiny", IMAGE[0], 3, outputs=["samples", "labels"], version="1", invert=True)
    assert list(answer.outputs) == ["samples", "labels"]
    assert answer.outputs["samples"].shape == (3, 3, 4)
    assert answer.outputs["labels"].shape == (3, 4)
    assert answer.version == "1"
    asked = running.service.requests[-1]
    assert asked.flat
    assert asked.invert
    assert infer(running.url, "three", IMAGE, outputs=["probabilities"]).outputs["probabilities"].shape == (3, 2, 3, 4)


def test_the_server_s_own_line_is_the_error(running):
    for model, version in (("none", ""), ("tiny", "9"), ("../v2", ""), ("a b", "")):
        with pytest.raises(RemoteError, match=r"\(404\)") as caught:
            infer(running.url, model, IMAGE, version=version)
        assert "\n" not in str(caught.value)
        assert caught.value.status == 404
    with pytest.raises(RemoteError, match=r"segbench_samples .*\(400\)"):
        infer(running.url, "tiny", IMAGE, samples=10**6)


@pytest.mark.parametrize("image", [np.zeros((2, 2), complex), np.zeros((0, 3, 3)), np.zeros(3), np.zeros((1, 1, 2, 2))])
def test_what_is_no_image_is_not_sent(running, image):
    with pytest.raises(InputError, match="cannot be sent"):
        infer(running.url, "tiny", image)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:port", "http://me:secret@host", "http://host/?a=1"]
)
def test_what_is_no_address_is_refused_without_repeating_a_password(url):
    with pytest.raises(InputError) as caught:
        Server(url)
    assert "secret" not in str(caught.value)


def test_a_token_is_sent_and_never_shown():
    with started(Guard([TOKEN])) as there:
        with pytest.raises(RemoteError, match="401"):
            infer(there.url, "tiny", IMAGE)
        infer(there.url, "tiny", IMAGE, token=TOKEN)
        assert status(Server(there.url, TOKEN)).ready
    assert TOKEN not in repr(Server("http://host", TOKEN))
    for token in ("a\r\nX-Other: b", "é", " "):
        with pytest.raises(InputError) as caught:
            Server("http://host", token)
        assert "token has characters" in str(caught.value)
        assert "Other" not in str(caught.value)


def test_tls_and_mutual_tls(pems):
    files = {"certificate": pems / "server.pem", "key": pems / "server.key"}
    own = {"certificate": pems / "client.pem", "key": pems / "client.key"}
    with started(**files) as there:
        infer(there.url, "tiny", IMAGE, authority=pems / "ca.pem")
        with pytest.raises(RemoteError, match="TLS failed"):
            infer(there.url, "tiny", IMAGE)  # nobody known has signed it
        with pytest.raises(SegbenchError):
            infer(there.url.replace("https", "http"), "tiny", IMAGE)
        with pytest.raises(InputError, match="cannot be used"):
            infer(there.url, "tiny", IMAGE, authority=pems / "missing.pem")
    with started(**files, client_ca=pems / "ca.pem") as there:
        with pytest.raises(RemoteError):
            infer(there.url, "tiny", IMAGE, authority=pems / "ca.pem")
        infer(there.url, "tiny", IMAGE, authority=pems / "ca.pem", **own)


def test_a_busy_server_is_asked_again_only_where_that_is_wanted(running):
    busy = http(b'{"error": "try again"}', 503, retry_after="1")
    with saying(busy) as (url, _), pytest.raises(RemoteError, match="try again") as caught:
        infer(url, "tiny", IMAGE)
    assert (caught.value.status, caught.value.retry_after) == (503, 1.0)
    with saying(busy, busy, http(b'{"error": "gone"}', 404)) as (url, sent):
        began = time.monotonic()
        with pytest.raises(RemoteError, match="gone"):
            infer(url, "tiny", IMAGE, wait=30)
        assert time.monotonic() - began >= 2  # as long as it said, twice
        assert len(sent) == 3
    with saying(http(b"", 503, retry_after="1000")) as (url, sent), pytest.raises(RemoteError, match="503"):
        infer(url, "tiny", IMAGE, wait=10)
    running.service.refusal = Refusal("busy", "the queue is full", 0.2)
    threading.Timer(1.5, lambda: setattr(running.service, "refusal", None)).start()
    infer(running.url, "tiny", IMAGE, wait=30)


HEAD = b'{"model_name": "m", "outputs": [{"name": "labels", "datatype": "UINT8", "shape": %s, "parameters": %s}]}'


def raw(shape, size, tail, length=None):
    head = HEAD % (json.dumps(shape).encode(), json.dumps({"binary_data_size": size}).encode())
    return http(head + tail, inference_header_content_length=len(head) if length is None else length)


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"\0" * 100, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", http(b"hello"), http(b"{}"),
        http(b"[]", inference_header_content_length=2), http(b"{}", inference_header_content_length=-5),
        raw([1, 1, 2], 2, b"a"), raw([1, 1, -2], 2, b"ab"), raw([1, 1, "2"], 2, b"ab"), raw([2**40, 2**40], 2, b"ab"),
        raw([1], 1, b"a"), raw([1, 1, 2], 2, b"ab", length=10**9), raw("labels", 2, b"ab"), raw([1, 1, 2], None, b"ab"),
        http(b"<html>", 502), http(b'["error"]', 500), http(b'{"error": {"a": "\\n"}}', 400), http(b"", 301),
    ],
)  # fmt: skip
def test_servers_that_do_not_keep_to_the_protocol_are_a_line(reply):
    with saying(reply) as (url, _), pytest.raises(RemoteError) as caught:
        infer(url, "m", IMAGE, timeout=20)
    assert "\n" not in str(caught.value)
    with saying(reply, reply, reply) as (url, _), pytest.raises(RemoteError):
        status(Server(url, timeout_s=20))


@pytest.mark.parametrize("name", ["../../labels", "/labels", "a/b", "..", "", "labels.tif", 7])
def test_a_server_does_not_choose_where_files_go(name):
    reply = raw([1, 1, 2], 2, b"ab").replace(b'"labels"', json.dumps(name).encode())
    body = reply.partition(b"\r\n\r\n")[2]
    reply = http(body, inference_header_content_length=len(body) - 2)
    with saying(reply) as (url, _), pytest.raises(RemoteError, match="not what Open Inference Protocol"):
        infer(url, "m", IMAGE, timeout=20)


def test_what_the_protocol_allows_is_read():
    with saying(raw([1, 1, 2], 2, b"\1\0")) as (url, sent):
        assert infer(url + "/behind/", "a/b", IMAGE).outputs["labels"].tolist() == [1, 0]
    assert sent[0].startswith(b"POST /behind/v2/models/a%2Fb/infer HTTP/1.1\r\n")


def test_nobody_there_and_nobody_answering():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RemoteError, match=r"no answer within 0\.2 s"):
            infer(url, "tiny", IMAGE, timeout=0.2)
    with pytest.raises(RemoteError, match="cannot be reached"):
        infer(url, "tiny", IMAGE, timeout=5)


def test_what_is_too_large_is_refused_while_it_is_sent():
    with started(max_request_mib=1) as there, pytest.raises(RemoteError) as caught:
        infer(there.url, "tiny", np.zeros((300, 300, 300), np.float32))
    assert caught.value.status == 413


def test_a_client_needs_numpy_alone():
    """-S: without site-packages, but for NumPy."""
    script = f"import sys\nsys.path += {[str(Path(segbench_package.__file__).parents[1])]!r}\n"
    script += f"import importlib.util as u\nspec = u.spec_from_file_location('numpy', {np.__file__!r})\n"
    script += "module = sys.modules['numpy'] = u.module_from_spec(spec)\nspec.loader.exec_module(module)\n"
    script += "from segbench.client import infer, status\nprint('asks')"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "asks\n", done.stderr


def test_infer_writes_an_npz(running, segbench, tmp_path):
    scan, out = tmp_path / "scan.tif", tmp_path / "out.npz"
    tifffile.imwrite(scan, IMAGE.astype(np.uint16), photometric="minisblack")
    code, said, err = segbench("client", "infer", scan, "--url", running.url, "--model", "tiny", "--out", out)
    assert (code, err) == (0, "")
    assert "2 x 3 x 4 voxels (Z, Y, X), tiny 2, 16 samples, seed 0, class 0 0.5000, class 1 0.5000" in said
    with np.load(out) as found:
        assert set(found) == {"labels", "probability", "entropy", "mutual_information", "answer"}
        np.testing.assert_array_equal(found["labels"], expected_labels(IMAGE[None])[0])
        assert json.loads(str(found["answer"]))["shares"] == [0.5, 0.5]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_infer_writes_a_folder(running, segbench, tmp_path):
    np.save(tmp_path / "scan.npy", IMAGE)
    out = tmp_path / "out"
    code, said, _ = segbench(
        "client", "infer", tmp_path / "scan.npy", "--url", running.url, "--model", "three", "--out", out, "--json",
        "--outputs", "labels,samples,probabilities", "--samples", 2, "--seed", 4, "--voxel-um", "0.5", "--invert",
    )  # fmt: skip
    assert code == 0
    told = json.loads(said)
    assert told == json.loads((out / "answer.json").read_text())
    assert told["parameters"] == {"segbench_samples": 2, "segbench_seed": 4}
    assert {path.name for path in out.iterdir()} == {
        "answer.json", "labels.tif", "samples_00.tif", "samples_01.tif", *(f"probabilities_0{k}.tif" for k in range(3))
    }  # fmt: skip
    np.testing.assert_array_equal(tifffile.imread(out / "labels.tif"), expected_labels(-IMAGE[None])[0])
    with tifffile.TiffFile(out / "labels.tif") as file:
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata


def test_what_a_user_can_get_wrong_is_a_line(running, segbench, tmp_path, monkeypatch):
    np.save(tmp_path / "scan.npy", IMAGE)
    ask = ("client", "infer", tmp_path / "scan.npy", "--url", running.url, "--model", "tiny", "--out")
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for arguments, said in (
        ((tmp_path / "labels.tif",), "FILE.npz, or a folder"),
        ((tmp_path / "missing" / "a.npz",), "make its folder first"),
        ((tmp_path / "a.npz", "--token-file", tmp_path / "missing"), "file of a token"),
        ((tmp_path / "a.npz", "--token-file", empty), "no token"),
        ((tmp_path / "a.npz", "--model-version", "9"), "404"),
        ((tmp_path / "a.npz", "--url", "http://127.0.0.1:1"), "cannot be reached"),
    ):
        code, _, err = segbench(*ask, *arguments)
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err
    assert not (tmp_path / "a.npz").exists()


def test_whole_scans_are_for_segbench_predict(segbench, tmp_path):
    np.save(tmp_path / "scan.npy", np.zeros((300, 300, 300), np.uint8))
    with started(max_request_mib=1) as there:
        ask = ("client", "infer", tmp_path / "scan.npy", "--url", there.url, "--out", tmp_path / "a.npz")
        code, _, err = segbench(*ask, "--model", "tiny")
        assert code == 2
        assert "413" in err
        assert f"segbench predict {tmp_path / 'scan.npy'} --zoo tiny --out RESULT.zarr" in err
        huge = tmp_path / "huge.raw"
        with huge.open("wb") as file:
            file.truncate(1000**3)
        code, _, err = segbench(
            "client", "infer", huge, "--raw-shape", "1000,1000,1000", "--raw-dtype", "uint8", "--url", there.url,
            "--out", tmp_path / "a.npz",
        )  # fmt: skip
        assert code == 2
        assert "too many for one request; segbench predict" in err


def test_status_says_how_a_server_is(running, segbench, tmp_path, monkeypatch):
    code, said, _ = segbench("client", "status", "--url", running.url)
    assert code == 0
    assert f"{running.url}: segbench" in said
    assert "  three 1  READY" in said
    code, said, _ = segbench("client", "status", "--url", running.url, "--json")
    assert json.loads(said)["models"][0] == {"name": "tiny", "version": "1", "state": "READY", "reason": ""}
    (tmp_path / "token").write_text(TOKEN)
    with started(Guard([TOKEN]), control=True) as there:
        assert segbench("client", "status", "--url", there.url)[0] == 2
        there.service.unload("tiny")
        code, said, _ = segbench("client", "status", "--url", there.url, "--token-file", tmp_path / "token")
        assert code == 1
        assert "not ready" in said
        assert "tiny 1  UNAVAILABLE: unloaded" in said
        monkeypatch.setenv("SEGBENCH_TOKEN", TOKEN)
        assert segbench("client", "status", "--url", there.url)[0] == 1
    assert segbench("client", "status", "--url", there.url)[0] == 2
