"""OpenVINO: the fast engine on a processor."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from segbench.engines import check_device, check_precision
from segbench.engines.graph import GraphEngine, Loaded, Shape
from segbench.engines.mending import mended
from segbench.engines.quantise import quantised, ranges_of
from segbench.errors import EngineError
from segbench.hardware import cores, processor
from segbench.volume import Float32
from segbench.zoo import Model

PRECISIONS = ("f32", "bf16", "int8")


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
        if precision == "int8" and "INT8" not in abilities:
            raise EngineError("this processor has no int8 instructions; use --precision f32")
        self._ranges = ranges_of(model) if precision == "int8" else None
        self.version = importlib.metadata.version("openvino")
        self.device = processor()
        self.precision = precision
        self.threads = threads or cores()
        super().__init__(model, self, self.threads, thin)

    def load(self, graph: bytes | Path, shapes: Mapping[str, Shape], outputs: Sequence[str], threads: int) -> Loaded:
        """See `Runtime.load`."""
        loaded = onnx.load_from_string(graph) if isinstance(graph, bytes) else onnx.load(graph)
        if self._ranges is not None:
            loaded = quantised(loaded, self._ranges)
        model = self._core.read_model(mended(loaded, open_shapes=False).SerializeToString())
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        settings = {
            # what int8 leaves in float32 stays so: its error is its own, and bf16 would reorder more than it gains
            "INFERENCE_PRECISION_HINT": "f32" if self.precision == "int8" else self.precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # graphs that run side by side would be pinned to the same cores
        }
        model, turned = _channels_last(model)
        request = self._core.compile_model(model, "CPU", settings).create_infer_request()

        def run(inputs: Mapping[str, Float32]) -> list[Float32]:
            given = {
                name: np.ascontiguousarray(np.moveaxis(value, 1, -1)) if name in turned else value
                for name, value in inputs.items()
            }
            done = request.infer(given, share_inputs=True, share_outputs=True)
            return [np.moveaxis(done[name], -1, 1) if name in turned else done[name] for name in outputs]

        return run


def _channels_last(model: Any) -> tuple[Any, frozenset[str]]:  # noqa: ANN401  (OpenVINO has no types)
    """The model with its inputs and outputs of several channels as [N, ..., C], and their names.

    The kernels work in that order. What goes from the shared graph to the thin ones would be turned round and back,
    which takes over a quarter of an int8 encoder's time; as a view of the same memory it stays as it is.
    """
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    process, turned = PrePostProcessor(model), set()
    for ports, handle in ((model.inputs, process.input), (model.outputs, process.output)):
        for port in ports:
            shape, name = port.partial_shape, port.any_name
            if len(shape) > 3 and (shape[1].is_dynamic or shape[1].get_length() > 1):
                space = "DHW"[5 - len(shape) :]
                handle(name).model().set_layout(Layout(f"NC{space}"))
                handle(name).tensor().set_layout(Layout(f"N{space}C"))
                turned.add(name)
    return process.build(), frozenset(turned)
