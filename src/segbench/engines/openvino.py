"""OpenVINO: the fast engine on a processor."""

import importlib.metadata
from typing import Any

import numpy as np

from segbench.engines import check_precision
from segbench.errors import EngineError
from segbench.hardware import cores, processor
from segbench.volume import Float32
from segbench.zoo import Model

PRECISIONS = ("f32", "bf16")


class OpenVino:
    """Compiles the graph for each shape it meets: with open shapes it merges sums whose sizes differ."""

    name = "openvino"

    def __init__(self, model: Model, precision: str, threads: int | None) -> None:
        import openvino as ov

        check_precision(self.name, precision, PRECISIONS)
        self._core = ov.Core()
        abilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in abilities:
            raise EngineError("this processor has no bf16 instructions; use --precision f32")
        self.version = importlib.metadata.version("openvino")
        self.device = processor()
        self.precision = precision
        self.threads = threads or cores()
        self._graph = model.graph
        self._compiled: dict[tuple[tuple[int, ...], tuple[int, ...]], Any] = {}

    def run(self, image: Float32, masks: Float32) -> Float32:
        """See `Engine.run`."""
        key = (image.shape, masks.shape)
        if key not in self._compiled:
            graph = self._core.read_model(self._graph)
            graph.reshape({"image": list(image.shape), "masks": list(masks.shape)})
            settings = {"INFERENCE_PRECISION_HINT": self.precision, "INFERENCE_NUM_THREADS": self.threads}
            self._compiled[key] = self._core.compile_model(graph, "CPU", settings)
        return np.array(self._compiled[key]([image, masks])[0], dtype=np.float32)
