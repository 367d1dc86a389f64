"""ONNX Runtime: the reference engine."""

import numpy as np

from segbench.engines import check_precision
from segbench.errors import EngineError
from segbench.hardware import cores, processor
from segbench.volume import Float32
from segbench.zoo import Model

PRECISIONS = ("f32",)
PROVIDER = "CPUExecutionProvider"


class OnnxRuntime:
    """Runs the graph as it is, on the processor."""

    name = "onnxruntime"

    def __init__(self, model: Model, precision: str, threads: int | None) -> None:
        import onnxruntime as ort

        check_precision(self.name, precision, PRECISIONS)
        self.version = str(ort.__version__)
        self.device = processor()
        self.precision = precision
        self.threads = threads or cores()
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        self._session = ort.InferenceSession(str(model.graph), options, providers=[PROVIDER])
        if self._session.get_providers() != [PROVIDER]:
            raise EngineError(f"ONNX Runtime runs on {self._session.get_providers()}, not on {PROVIDER}")

    def run(self, image: Float32, masks: Float32) -> Float32:
        """See `Engine.run`."""
        return np.asarray(self._session.run(["logits"], {"image": image, "masks": masks})[0], dtype=np.float32)
