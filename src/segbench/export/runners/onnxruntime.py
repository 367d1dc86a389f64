"""ONNX Runtime with its default settings: what a user's own session does to the graph is done to it here."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from segbench.export.runners import NotHereError, Run
from segbench.hardware import cores
from segbench.zoo.artifact import Part
from segbench.zoo.reference import Array

# float32 stays float32 on cards that would round convolutions to TF32
PROVIDERS = {"cpu": ("CPUExecutionProvider", {}), "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"})}


def load(folder: Path, part: Part, device: str) -> Run:
    """See `Load`."""
    if find_spec("onnxruntime") is None:
        raise NotHereError("ONNX Runtime is not installed: pip install 'segbench[cpu]'")
    import onnxruntime as ort

    provider, settings = PROVIDERS[device]
    if provider not in ort.get_available_providers():
        raise NotHereError(f"this ONNX Runtime has no {provider}: pip install onnxruntime-gpu in its place")
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(folder / part.path), options, providers=[(provider, settings)])
    if session.get_providers()[0] != provider:
        raise NotHereError(f"ONNX Runtime runs on {session.get_providers()[0]} here, not on {provider}")
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run
