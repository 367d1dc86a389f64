"""An engine without a network, for tests of everything around engines."""

import numpy as np

from segbench.engines import WHOLE, Bound, Box, check_device, check_precision
from segbench.errors import EngineError
from segbench.volume import Float32
from segbench.zoo import Model


class Fake:
    """Logits are the normalised grey value plus a shift of each sample, which its masks decide.

    Of a softmax model they are those of K classes that lie 2 apart along that value g: c g - c^2 / 2 for the class
    around c, so that each class is called somewhere and the samples disagree at its ends.
    """

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
        count = len(model.card.classes)
        centres = np.arange(1 - count, count, 2, dtype=np.float32) if model.card.activation == "softmax" else None
        self._centres = None if centres is None else centres.reshape(1, -1, 1, 1, 1)

    def bind(self, masks: Float32) -> Bound:
        """See `Engine.bind`."""
        return self.fresh(masks)

    def fresh(self, masks: Float32) -> Bound:
        """See `Engine.fresh`."""
        assert masks.shape[1] == self._columns
        weights = np.arange(1, self._columns + 1, dtype=np.float64)
        shift = ((masks @ weights) / max(weights.sum(), 1) - 1).astype(np.float32)

        def run(image: Float32, inner: Box = WHOLE) -> Float32:
            assert image.shape[:2] == (1, 1)
            logits = 2 * image[(..., *inner)] + shift.reshape(-1, 1, 1, 1, 1)
            if self._centres is not None:
                logits = self._centres * logits - self._centres**2 / 2
            return np.asarray(logits, dtype=np.float32)

        return run
