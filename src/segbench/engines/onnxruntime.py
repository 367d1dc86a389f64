"""ONNX Runtime: the reference engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segbench.engines import check_device, check_precision
from segbench.engines.graph import GraphEngine, Loaded, Shape
from segbench.errors import EngineError
from segbench.hardware import cores, graphics, processor
from segbench.volume import Float32
from segbench.zoo import Model

PRECISIONS = ("f32",)
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntime(GraphEngine):
    """Runs graphs as they are, on the processor or on an NVIDIA card."""

    name = "onnxruntime"

    def __init__(self, model: Model, precision: str, threads: int | None, device: str, thin: bool | None) -> None:
        import onnxruntime as ort

        check_precision(self.name, precision, PRECISIONS)
        check_device(self.name, device, tuple(PROVIDERS))
        self._ort, self._provider = ort, PROVIDERS[device]
        if self._provider not in ort.get_available_providers():
            raise EngineError(f"this ONNX Runtime has no {self._provider}: pip install onnxruntime-gpu in its place")
        self.version = str(ort.__version__)
        self.device = processor() if device == "cpu" else graphics()
        self.precision = precision
        self.threads = threads or cores()
        super().__init__(model, self, self.threads, thin)

    def load(self, graph: bytes | Path, shapes: Mapping[str, Shape], outputs: Sequence[str], threads: int) -> Loaded:
        """See `Runtime.load`; shapes stay open."""
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        source = graph if isinstance(graph, bytes) else str(graph)
        session = self._ort.InferenceSession(source, options, providers=[self._provider])
        if session.get_providers()[0] != self._provider:
            raise EngineError(f"ONNX Runtime runs on {session.get_providers()[0]}, not on {self._provider}")
        names = list(outputs)

        def run(inputs: Mapping[str, Float32]) -> list[Float32]:
            return list(session.run(names, dict(inputs)))

        return run
