"""MLServer beside segbench: in an environment of its own, with a small runtime around the same exported graph.

The environment is made once, in the user's cache, by pip. What runs in it is MLServer as it comes, one worker process,
and ONNX Runtime on as many threads; the graph is the aggregated one of `segbench export`, which draws the same masks
and says what the samples say together, over the window that segbench's tile has for this image: the same work, and the
same answer up to rounding. Normalisation is left out of it: the image comes normalised.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import onnx

from segbench.bench.row import Triple
from segbench.bench.serving.process import Server
from segbench.data.cache import home
from segbench.errors import EngineError
from segbench.export.kinds import graphs
from segbench.zoo import Model

VERSION = "1.7.1"
BESIDE = "uvloop<0.22"  # its workers ask for an event loop where there is none, which later ones refuse
OUTPUTS = ("mean", "entropy", "mutual_information")
LARGEST = 2**30  # bytes of a gRPC message; MLServer takes gRPC's 4 MiB where it is not told
RUNTIME = """\
import json

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Aggregated(MLModel):
    async def load(self):
        self.told = self.settings.parameters.extra
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.told["threads"]
        path = self.settings.parameters.uri
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        image = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        before, after = self.told["before"], self.told["after"]
        padded = np.pad(image, [(0, 0), (0, 0), *zip(before, after)], mode="edge")
        asked = {
            "image": padded,
            "seed": np.array([self.told["seed"]], np.int32),
            "samples": np.arange(self.told["samples"], dtype=np.int32),
        }
        found = self.session.run(self.told["outputs"], asked)
        core = (..., *(slice(b, b + n) for b, n in zip(before, image.shape[2:])))
        outputs = [
            NumpyCodec.encode_output(name, np.ascontiguousarray(array[core]))
            for name, array in zip(self.told["outputs"], found)
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
"""


def environment(step: Callable[[str], None] = lambda _: None) -> Path:
    """The interpreter of an environment that has MLServer; made where it is not there, which asks for a network.

    Raises:
        EngineError: pip cannot.
    """
    runtime = version("onnxruntime")
    folder = home() / f"mlserver-{VERSION}-onnxruntime-{runtime}-py{sys.version_info.major}{sys.version_info.minor}"
    python, done = folder / "bin" / "python", folder / "installed"
    packages = [f"mlserver=={VERSION}", f"onnxruntime=={runtime}", BESIDE]
    if done.exists() and done.read_text() == " ".join(packages):
        return python
    step(f"installing MLServer {VERSION}")
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted installation left
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
    ):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            said = ([line for line in ended.stderr.splitlines() if line.strip()] or ["it said nothing"])[-1]
            raise EngineError(f"--against mlserver: cannot install {' '.join(packages)} in {folder}: {said}")
    done.write_text(" ".join(packages))
    return python


def start(
    model: Model, samples: int, seed: int, threads: int, paddings: tuple[Triple, Triple], ports: list[int], folder: Path
) -> Server:
    """MLServer with the model's aggregated graph, being started.

    Args:
        model: Of the zoo.
        samples: T.
        seed: Of the masks.
        threads: Of ONNX Runtime.
        paddings: Voxels (Z, Y, X) that are added before and after the image by replication, as a tile's halo is.
        ports: Of HTTP, gRPC and metrics.
        folder: Empty; for its files.
    """
    home_ = folder / "model"
    home_.mkdir()
    ((_, graph),) = graphs(model, ["aggregated"])
    onnx.save(graph, home_ / "model.onnx")
    (home_ / "segbench_runtime.py").write_text(RUNTIME)
    before, after = paddings
    extra = {
        "samples": samples, "seed": seed, "threads": threads, "before": before, "after": after, "outputs": OUTPUTS,
    }  # fmt: skip
    told = {
        "name": model.card.name, "implementation": "segbench_runtime.Aggregated",
        "parameters": {"uri": str(home_ / "model.onnx"), "extra": extra},
    }  # fmt: skip
    (home_ / "model-settings.json").write_text(json.dumps(told))
    settings = {
        "host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1], "metrics_port": ports[2], "debug": False,
        "grpc_max_message_length": LARGEST, "parallel_workers": 1,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    python = environment()
    command = [str(python.parent / "mlserver"), "start", str(folder)]
    told_environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLSERVER_"))
    }
    # protobuf's check of versions, and nothing of the installation beside it
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    ready = f"/v2/models/{model.card.name}/ready"  # the server itself is ready before its models are
    return Server("MLServer", command, ports[0], told_environment | {"PATH": path}, folder, ready)
