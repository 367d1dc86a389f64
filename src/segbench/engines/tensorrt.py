"""TensorRT and TensorRT-RTX: engine files that `segbench export` built, on an NVIDIA card."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.engines import check_device, check_precision
from segbench.engines.cuda import Cuda, Memory
from segbench.engines.graph import GraphEngine, Loaded, Shape
from segbench.engines.plan import Plan, beside
from segbench.errors import EngineError
from segbench.recipe import read_json
from segbench.volume import Float32
from segbench.zoo import Model
from segbench.zoo.artifact import Part

PACKAGES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
Array = npt.NDArray[Any]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]


def log(trt: Any) -> Any:  # noqa: ANN401  (the package is named when it runs)
    """A logger that prints nothing and keeps the lines of errors in its list `errors`."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            if severity in {trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR}:
                self.errors.append(" ".join(message.split()))

    return Log()


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Errors about an engine name its file."""
    try:
        yield
    except EngineError as error:
        raise EngineError(f"{file}: {error}") from error


class OnCard:
    """An engine file, loaded.

    Attributes:
        version: Of TensorRT.
        device: The card's name.
        plan: What it was built for.

    Raises:
        NoCardError: There is no card.
        EngineError: It was built with another version or for another card, or TensorRT refuses it.
    """

    def __init__(self, file: Path) -> None:
        self.plan = read_json(beside(file), Plan)
        self._trt = import_module(PACKAGES[self.plan.runtime])
        self.version = str(self._trt.__version__)
        with _named(file):
            self.plan.check_version(self.version)
        self._cuda = Cuda()
        self.device = self._cuda.card.name
        with _named(file):
            self.plan.check_card(self.device, self._cuda.card.capability)
        self._file, self._lock, self._log = file, Lock(), log(self._trt)
        self._runtime = self._trt.Runtime(self._log)
        if self.plan.newer_too:
            # such an engine brings code of its own, which runs: whoever loads it has compared it with artifact.json
            self._runtime.engine_host_code_allowed = True
        self._engine = self._made(self._runtime.deserialize_cuda_engine(file.read_bytes()), "could not be loaded")
        self._context = self._made(self._engine.create_execution_context(), "got no memory on the card")

    def _made(self, what: Any, wrong: str) -> Any:  # noqa: ANN401
        if what is None:
            said = self._log.errors[0] if self._log.errors else "it gives no reason"
            raise EngineError(f"{self._file}: {wrong}: TensorRT: {said}")
        return what

    def load(self, shapes: Mapping[str, Shape]) -> Run:
        """The engine for inputs of exactly these shapes, by name; safe to call from several threads in turn.

        Raises:
            EngineError: It was not built for such shapes, or lacks an input.
        """
        outputs = self._tensors(self._trt.TensorIOMode.OUTPUT)
        with self._lock:
            self._set(shapes)
            memory: dict[str, Memory] = {}
            kinds: dict[str, tuple[Shape, np.dtype[Any]]] = {}
            for name in [*shapes, *outputs]:
                kinds[name] = tuple(self._context.get_tensor_shape(name)), self._dtype(name)
                memory[name] = Memory(self._cuda, int(np.prod(kinds[name][0])) * kinds[name][1].itemsize)

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            given = {name: np.ascontiguousarray(inputs[name], kinds[name][1]) for name in shapes}
            made = {name: np.empty(*kinds[name]) for name in outputs}
            with self._lock:
                self._log.errors.clear()
                self._set(shapes)
                for name, buffer in memory.items():
                    if not self._context.set_tensor_address(name, buffer.address):
                        self._made(None, f"takes no address for {name!r}")
                for name, value in given.items():
                    self._cuda.upload(value, memory[name])
                if not self._context.execute_async_v3(self._cuda.stream):
                    self._made(None, "did not run")
                for name, value in made.items():
                    self._cuda.download(memory[name], value)
                self._cuda.wait()
            return made

        return run

    def _set(self, shapes: Mapping[str, Shape]) -> None:
        """Tells the context the shapes; one context serves all, for its memory is that of the largest shape."""
        for name in self._tensors(self._trt.TensorIOMode.INPUT):
            if name not in shapes:
                raise EngineError(f"{self._file}: its input {name!r} is not given")
            with _named(self._file):
                self.plan.check_shape(name, shapes[name])
            if not self._context.set_input_shape(name, tuple(shapes[name])):
                self._made(None, f"takes no {name!r} of shape {list(shapes[name])}")
        if left := self._context.infer_shapes():
            raise EngineError(f"{self._file}: the shape of {', '.join(left)} stays open")

    def _tensors(self, mode: Any) -> list[str]:  # noqa: ANN401
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        return [name for name in names if self._engine.get_tensor_mode(name) == mode]

    def _dtype(self, name: str) -> np.dtype[Any]:
        found: np.dtype[Any] = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        return found


class TensorRT(GraphEngine):
    """Runs the masked engine of an artifact; see `Engine`."""

    name = "tensorrt"

    def __init__(self, model: Model, precision: str, threads: int | None, device: str, thin: bool | None) -> None:
        check_device(self.name, device, ("cpu", "cuda"))  # "cpu" is the commands' default, not a wish
        if thin:
            raise EngineError(f"engine {self.name!r} has no thin sampling; openvino and onnxruntime have")
        part = self._part(model, precision)
        self._network = OnCard(model.path.parent / part.path)
        self.version, self.device = self._network.version, self._network.device
        self.precision, self.threads = precision, threads or 1
        super().__init__(model, self, self.threads, thin=False)

    def load(self, graph: bytes | Path, shapes: Mapping[str, Shape], outputs: Sequence[str], threads: int) -> Loaded:
        """See `Runtime.load`; the engine is the one that was built, whatever the graph."""
        run = self._network.load(shapes)

        def chosen(inputs: Mapping[str, Float32]) -> list[Float32]:
            made = run(inputs)
            return [made[name] for name in outputs]

        return chosen

    def _part(self, model: Model, precision: str) -> Part:
        """The engine file to run.

        Raises:
            EngineError: The model is not an artifact for this runtime, or was exported in another precision.
        """
        parts = model.artifact.parts if model.artifact else ()
        there = [part for part in parts if part.runtime == self.name and part.kind == "masked"]
        if not there:
            name = model.card.name
            raise EngineError(
                f"model {name!r} holds no engine for {self.name!r}; export it first, then name the folder: "
                f"segbench export {name} --to {self.name} --out DIR; --zoo DIR"
            )
        check_precision(self.name, precision, tuple(part.precision for part in there))
        return next(part for part in there if part.precision == precision)


class TensorRTRtx(TensorRT):
    """The same for TensorRT-RTX, which finishes compiling on the card when the engine is loaded."""

    name = "tensorrt-rtx"
