"""Inference engines, by name, behind one protocol.

An engine is asked for by name or by "auto", says what it really runs on, and never falls back silently.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from segbench.errors import EngineError, UnknownNameError
from segbench.volume import Float32
from segbench.zoo import Model
from segbench.zoo.proof import check_proved

# name -> (where it is, the packages that it needs, its own first, and what installs them)
ENGINES = {
    "openvino": ("segbench.engines.openvino:OpenVino", ("openvino", "onnx"), "pip install 'segbench[cpu]'"),
    "onnxruntime": ("segbench.engines.onnxruntime:OnnxRuntime", ("onnxruntime", "onnx"), "pip install 'segbench[cpu]'"),
    "torch-compiled": ("segbench.engines.pytorch:Compiled", ("torch",), "pip install 'segbench[train]'"),
    "torch": ("segbench.engines.pytorch:PyTorch", ("torch",), "pip install 'segbench[train]'"),
    "tensorrt": ("segbench.engines.tensorrt:TensorRT", ("tensorrt",), "pip install 'segbench[tensorrt]'"),
    "tensorrt-rtx": (
        "segbench.engines.tensorrt:TensorRTRtx",
        ("tensorrt_rtx",),
        "pip install 'segbench[tensorrt-rtx]'",
    ),
    "fake": ("segbench.engines.fake:Fake", (), ""),
}
AUTO = ("openvino", "onnxruntime", "torch")
RUNTIMES = ("openvino", "onnxruntime")
"""Those that load any ONNX graph (`engines.graph.Runtime`)."""


Box = tuple[slice, slice, slice]
WHOLE: Box = (slice(None), slice(None), slice(None))


class Bound(Protocol):
    """The networks of some masks, one for each sample."""

    def __call__(self, image: Float32, inner: Box = WHOLE) -> Float32:
        """Logits [T, K, Z, Y, X] of one normalised image [1, 1, Z, Y, X], of its part `inner`."""
        ...


class Engine(Protocol):
    """A model ready to run.

    Attributes:
        name: As it is asked for.
        version: Of the runtime.
        device: What it really runs on.
        precision: Of the convolutions: "f32", "bf16", "f16" or "int8".
        threads: Processor threads in use.
        thin: Whether a sample computes only the channels that it keeps.
        note: Why not, where the model is such that it cannot; else empty.
    """

    name: str
    version: str
    device: str
    precision: str
    threads: int
    thin: bool
    note: str

    def bind(self, masks: Float32) -> Bound:
        """The networks of masks [T, channels]. What depends on the masks alone is done here, once for all tiles."""
        ...

    def fresh(self, masks: Float32) -> Bound:
        """The same for a caller who remembers networks himself: the engine does not keep what it gives."""
        ...


def available() -> list[str]:
    """Engines whose package is installed, the fake one left out."""
    return [name for name in AUTO if all(find_spec(package) is not None for package in ENGINES[name][1])]


def runtime_for(engine: str) -> str | None:
    """The runtime of a graph that runs beside an engine: its own, or the first that is installed; None without any."""
    own = (engine,) if engine in RUNTIMES else RUNTIMES
    return next((name for name in own if all(find_spec(package) for package in ENGINES[name][1])), None)


def start(
    model: Model,
    engine: str = "auto",
    precision: str = "f32",
    threads: int | None = None,
    *,
    device: str = "cpu",
    thin: bool | None = None,
    unverified: bool = False,
) -> Engine:
    """Starts an engine for a model.

    Args:
        model: Of the zoo or of a folder.
        engine: Its name, or "auto" for the fastest that is installed.
        precision: Of the convolutions.
        threads: Processor threads; all that this process may use by default.
        device: "cpu" or "cuda".
        thin: True insists on thin sampling, False on the masked graph; None thins what can be thinned.
        unverified: Run an artifact that segbench verify has not passed here.

    Raises:
        UnknownNameError: There is no engine of that name.
        EngineError: It is not installed, or has not that precision, device or sampling; the message says what is.
            Or the model is of an artifact that was not proved here.
    """
    if engine == "auto":
        there = available()
        if not there:
            raise EngineError(f"no inference engine is installed: {ENGINES['onnxruntime'][2]}")
        engine = there[0]
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ["auto", *ENGINES])
    where, packages, install = ENGINES[engine]
    for package in (package for package in packages if find_spec(package) is None):
        raise EngineError(
            f"engine {engine!r} needs the package {package}: {install} (installed: {', '.join(available()) or 'none'})"
        )
    if not unverified:
        check_proved(model, engine)
    module, kind = where.split(":")
    started: Engine = getattr(import_module(module), kind)(model, precision, threads, device, thin)
    return started


def check_precision(engine: str, precision: str, known: tuple[str, ...]) -> None:
    """Refuses a precision that an engine does not have."""
    if precision not in known:
        raise EngineError(f"engine {engine!r} has no precision {precision!r}; it has {', '.join(known)}")


def check_device(engine: str, device: str, known: tuple[str, ...]) -> None:
    """Refuses a kind of device that an engine does not run on."""
    if device not in known:
        raise EngineError(f"engine {engine!r} does not run on {device!r}; it runs on {', '.join(known)}")
