"""OpenVINO: the fast engine on a processor."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

from segbench.engines import check_device, check_precision
from segbench.engines.graph import GraphEngine, Loaded, Shape
from segbench.errors import EngineError
from segbench.hardware import cores, processor
from segbench.volume import Float32
from segbench.zoo import Model

PRECISIONS = ("f32", "bf16")


class OpenVino(GraphEngine):
    """Compiles a graph for each shape it meets: with open shapes it merges sums whose sizes differ."""

    name = "openvino"

    def __init__(self, model: Model, precision: str, threads: int | None, device: str, thin: bool | None) -> None:
        import openvino as ov

        check_precision(self.name, precision, PRECISIONS)
        check_device(self.name, device, ("cpu",))
        self._core = ov.Core()
        abilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in abilities:
            raise EngineError("this processor has no bf16 instructions; use --precision f32")
        self.version = importlib.metadata.version("openvino")
        self.device = processor()
        self.precision = precision
        self.threads = threads or cores()
        super().__init__(model, self, self.threads, thin)

    def load(self, graph: bytes | Path, shapes: Mapping[str, Shape], outputs: Sequence[str], threads: int) -> Loaded:
        """See `Runtime.load`."""
        model = self._core.read_model(graph)
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        settings = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # graphs that run side by side would be pinned to the same cores
        }
        request = self._core.compile_model(model, "CPU", settings).create_infer_request()

        def run(inputs: Mapping[str, Float32]) -> list[Float32]:
            done = request.infer(dict(inputs), share_inputs=True, share_outputs=True)
            return [done[name] for name in outputs]

        return run
