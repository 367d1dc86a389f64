"""The examples of serve/clients and kserve's clients, against a started server."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from serving import expected_labels
from started import started

from segbench.serve.guard import Guard

ROOT = Path(__file__).parent.parent
CLIENTS, KSERVE = ROOT / "serve" / "clients", Path(__file__).parent / "kserve_client"
TOKEN = "a-token-of-thirty-two-characters"
IMAGE = np.random.default_rng(0).integers(0, 255, (8, 9, 10)).astype(np.uint8)
LABELS = expected_labels(IMAGE[None].astype(np.float32))[0]


@pytest.fixture(scope="module")
def guarded():
    with started(Guard([TOKEN])) as there:
        yield there


@pytest.fixture
def folder(tmp_path):
    """Holds the image as the examples read it."""
    np.save(tmp_path / "image.npy", IMAGE)
    IMAGE.tofile(tmp_path / "image.raw")
    return tmp_path


def run(name, *arguments, folder, token=TOKEN):
    program = ["bash"] if name.endswith(".sh") else [sys.executable]
    environment = {**os.environ, "SEGBENCH_TOKEN": token}
    return subprocess.run(
        [*program, str(CLIENTS / name), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["tritonclient_http.py", "tritonclient_grpc.py"])
def test_triton_s_clients(guarded, folder, name):
    where = guarded.grpc if "grpc" in name else guarded.url
    done = run(name, where, "tiny", "image.npy", "answer.npz", folder=folder)
    assert done.returncode == 0, done.stderr
    assert f"{LABELS.mean():.4f} of the voxels" in done.stdout
    with np.load(folder / "answer.npz") as found:
        np.testing.assert_array_equal(found["labels"], LABELS)
        np.testing.assert_array_equal(found["entropy"], IMAGE.astype(np.float32) / 2)
    assert run(name, where, "tiny", "image.npy", "answer.npz", folder=folder, token="wrong").returncode != 0


@pytest.mark.parametrize("name", ["plain_python.py", "curl.sh"])
def test_clients_that_need_nothing(guarded, folder, name):
    if name == "curl.sh" and shutil.which("curl") is None:
        pytest.skip("SKIPPED LOUDLY: curl is not installed")
    arguments = (guarded.url, "tiny", "image.raw", "8,9,10", "UINT8", "labels.raw")
    done = run(name, *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.fromfile(folder / "labels.raw", np.uint8).reshape(LABELS.shape), LABELS)
    if name == "curl.sh":
        lines = done.stdout.splitlines()
        assert json.loads(lines[0]) == {"ready": True}
        assert json.loads(lines[2])["outputs"][0]["data"] == [0, 0, 0, 0, 1, 1, 1, 1]
    done = run(name, *arguments, folder=folder, token="wrong")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_every_example_is_run_by_a_test():
    tested = {"tritonclient_http.py", "tritonclient_grpc.py", "plain_python.py", "curl.sh"}
    assert {path.name for path in CLIENTS.iterdir()} - {"README.md"} == tested


@pytest.fixture(scope="module")
def kserve():
    """Python of an environment with kserve alone, kept in the user's cache for as long as its versions stay.

    Made within 21 s where it was measured, of what the client imports alone: kserve's own dependencies are twice that.
    """
    pins = KSERVE / "requirements.txt"
    name = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = platformdirs.user_cache_path("segbench") / "tests" / f"kserve-{name}"
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        made = home.with_name(f"{home.name}.{os.getpid()}.part")
        began = time.monotonic()
        try:
            subprocess.run([sys.executable, "-m", "venv", str(made)], check=True, capture_output=True)
            pip = [str(made / python.relative_to(home)), "-m", "pip", "--disable-pip-version-check", "install"]
            options = ["--quiet", "--no-deps", "--no-compile", "--only-binary", ":all:", "--retries", "1"]
            subprocess.run(
                [*pip, *options, "--timeout", "15", "--requirement", str(pins)],
                check=True, capture_output=True, text=True, timeout=240,
            )  # fmt: skip
            made.rename(home)
        except (subprocess.SubprocessError, OSError) as error:
            said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
            pytest.skip(f"SKIPPED LOUDLY: kserve cannot be installed after {time.monotonic() - began:.0f} s: {said}")
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return python


def test_kserve_s_clients(kserve):
    with started() as there:
        done = subprocess.run(
            [str(kserve), str(KSERVE / "ask.py"), there.url, there.grpc, "tiny"],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["live"], told["ready"], told["model_ready"], told["other_ready"]) == (True, True, True, False)
    assert told["metadata"]["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, -1, -1, -1]}]
    assert "the request has 0 inputs" in told["refused"]
    image = np.arange(24, dtype=np.float32).reshape(1, 1, 2, 3, 4)
    wanted = {"labels": expected_labels(image[0])[None].tolist(), "entropy": (image / 2).tolist()}
    rpc = told["grpc"]
    assert (rpc["live"], rpc["ready"], rpc["model_ready"]) == (True, True, True)
    for answer in (told["json"], told["binary"], rpc["typed"], rpc["raw"]):
        assert (answer["id"], answer["model"], answer["outputs"]) == ("mine", "tiny", wanted)
    assert (told["json"]["raw"], told["binary"]["raw"]) == (False, True)
    assert told["binary"]["parameters"] == {"segbench_samples": 2, "segbench_seed": 3}
