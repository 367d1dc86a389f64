"""An engine without a network, for tests of everything around engines."""

import numpy as np

from segbench.engines import WHOLE, Bound, Box, check_device, check_precision
from segbench.errors import EngineError
from segbench.volume import Float32
from segbench.zoo import Model


class Fake:
    """Logits are the normalised grey value plus a shift of each sample, which its masks decide."""

    name = "fake"
    version = "1"
    device = "none"
    threads = 1
    thin = False
    note = ""

    def __init__(self, model: Model, precision: str, threads: int | None, device: str, thin: bool | None) -> None:
        check_precision(self.name, precision, ("f32",))
        check_device(self.name, device, ("cpu",))
        if thin:
            raise EngineError("engine 'fake' has no thin sampling; openvino and onnxruntime have")
        self.precision = precision
        self._columns = sum(site.channels for site in model.card.dropout)
        self._classes = 1 if model.card.activation == "sigmoid" else len(model.card.classes)

    def bind(self, masks: Float32) -> Bound:
        """See `Engine.bind`."""
        assert masks.shape[1] == self._columns
        weights = np.arange(1, self._columns + 1, dtype=np.float64)
        shift = ((masks @ weights) / max(weights.sum(), 1) - 1).astype(np.float32)

        def run(image: Float32, inner: Box = WHOLE) -> Float32:
            assert image.shape[:2] == (1, 1)
            logits = 2 * image[(..., *inner)] + shift.reshape(-1, 1, 1, 1, 1)
            return np.repeat(logits, self._classes, axis=1).astype(np.float32)

        return run
