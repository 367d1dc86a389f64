"""PyTorch: what training uses, eager, on the processor."""

import numpy as np
import torch

from segbench import nets
from segbench.engines import check_precision
from segbench.hardware import cores, processor
from segbench.nets.weights import load
from segbench.volume import Float32
from segbench.zoo import Model

PRECISIONS = ("f32", "bf16")


class PyTorch:
    """Builds the network of the card and loads its weights strictly."""

    name = "torch"

    def __init__(self, model: Model, precision: str, threads: int | None) -> None:
        check_precision(self.name, precision, PRECISIONS)
        self.version = str(torch.__version__)
        self.device = processor()
        self.precision = precision
        self.threads = threads or cores()
        torch.set_num_threads(self.threads)
        network = nets.build(model.card.network.kind, **model.card.network.options)
        load(network, model.weights)
        self._network = network.eval().folded()

    def run(self, image: Float32, masks: Float32) -> Float32:
        """See `Engine.run`."""
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self._network(torch.from_numpy(image), torch.from_numpy(masks))
        return np.asarray(logits.float().numpy(), dtype=np.float32)
