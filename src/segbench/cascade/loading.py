"""The graphs of a second network on the runtime of an engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from segbench.engines import Engine, runtime_for, start
from segbench.errors import EngineError, SegbenchError
from segbench.zoo import Model

if TYPE_CHECKING:
    from segbench.engines.graph import Loaded, Runtime, Shape

ROUNDED = ("bf16",)  # what a local network may be computed in, besides float32


class Loads(Protocol):
    """Loads graphs.

    Attributes:
        threads: That may work side by side.
    """

    threads: int

    def load(
        self, graph: Path, shapes: Mapping[str, "Shape"], outputs: Sequence[str], threads: int, exact: bool = False
    ) -> "Loaded":
        """A graph ready to run on inputs of these shapes.

        Args:
            graph: ONNX.
            shapes: Of its inputs.
            outputs: Names of those that are wanted.
            threads: Of its own.
            exact: In float32, whatever the engine's precision.
        """
        ...


class Graphs:
    """Loads graphs beside an engine: on its own runtime, else on the first that is installed; with its threads.

    Raises:
        EngineError: No runtime is installed, or it refuses.
    """

    def __init__(self, model: Model, engine: Engine) -> None:
        self._model, self._engine, self.threads = model, engine, engine.threads
        self._name = runtime_for(engine.name) or ""
        if not self._name:
            raise EngineError(
                f"model {model.card.name!r} has a second network, which engine {engine.name!r} does not run: "
                "pip install 'segbench[cpu]' beside it"
            )
        self._started: dict[str, Runtime] = {}

    def load(
        self, graph: Path, shapes: Mapping[str, "Shape"], outputs: Sequence[str], threads: int, exact: bool = False
    ) -> "Loaded":
        """See `Loads`."""
        rounded = self._engine.name == self._name and self._engine.precision in ROUNDED and not exact
        runtime = self._runtime(self._engine.precision if rounded else "f32")
        import onnx  # it is there where a runtime is

        from segbench.cascade.trimming import trimmed

        try:
            return runtime.load(trimmed(onnx.load(graph)).SerializeToString(), shapes, outputs, threads)
        except SegbenchError:
            raise
        except Exception as error:  # runtimes and protobuf raise what they like
            line = " ".join((str(error) or type(error).__name__).split())[:300]
            raise EngineError(f"{self._name} does not load {graph}: {line}") from error

    def _runtime(self, precision: str) -> "Runtime":
        from segbench.engines.graph import Runtime  # it needs onnx, too

        if isinstance(self._engine, Runtime) and self._engine.precision == precision:
            return self._engine
        if precision not in self._started:
            engine = start(self._model, self._name, precision, self.threads, thin=False, unverified=True)
            assert isinstance(engine, Runtime)
            self._started[precision] = engine
        return self._started[precision]
