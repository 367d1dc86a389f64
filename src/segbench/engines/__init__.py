"""Inference engines, by name, behind one protocol.

An engine is asked for by name or by "auto", says what it really runs on, and never falls back silently.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from segbench.errors import EngineError, UnknownNameError
from segbench.volume import Float32
from segbench.zoo import Model

# name -> (where it is, the package that it needs, what installs it)
ENGINES = {
    "openvino": ("segbench.engines.openvino:OpenVino", "openvino", "pip install 'segbench[cpu]'"),
    "onnxruntime": ("segbench.engines.onnxruntime:OnnxRuntime", "onnxruntime", "pip install 'segbench[cpu]'"),
    "torch": ("segbench.engines.pytorch:PyTorch", "torch", "pip install 'segbench[train]'"),
    "fake": ("segbench.engines.fake:Fake", "numpy", ""),
}
AUTO = ("openvino", "onnxruntime", "torch")


class Engine(Protocol):
    """A model ready to run.

    Attributes:
        name: As it is asked for.
        version: Of the runtime.
        device: What it really runs on.
        precision: Of the convolutions: "f32" or "bf16".
        threads: Processor threads in use.
    """

    name: str
    version: str
    device: str
    precision: str
    threads: int

    def run(self, image: Float32, masks: Float32) -> Float32:
        """Logits [T, K, Z, Y, X] of one normalised image [1, 1, Z, Y, X] under masks [T, channels]."""
        ...


def available() -> list[str]:
    """Engines whose package is installed, the fake one left out."""
    return [name for name in AUTO if find_spec(ENGINES[name][1]) is not None]


def start(model: Model, engine: str = "auto", precision: str = "f32", threads: int | None = None) -> Engine:
    """Starts an engine for a model.

    Raises:
        UnknownNameError: There is no engine of that name.
        EngineError: It is not installed, or does not have that precision; the message says what is there.
    """
    if engine == "auto":
        there = available()
        if not there:
            raise EngineError(f"no inference engine is installed: {ENGINES['onnxruntime'][2]}")
        engine = there[0]
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ["auto", *ENGINES])
    where, package, install = ENGINES[engine]
    if find_spec(package) is None:
        raise EngineError(
            f"engine {engine!r} needs the package {package}: {install} (installed: {', '.join(available()) or 'none'})"
        )
    module, kind = where.split(":")
    started: Engine = getattr(import_module(module), kind)(model, precision, threads)
    return started


def check_precision(engine: str, precision: str, known: tuple[str, ...]) -> None:
    """Refuses a precision that an engine does not have."""
    if precision not in known:
        raise EngineError(f"engine {engine!r} has no precision {precision!r}; it has {', '.join(known)}")
