"""PyTorch: what training uses, on the processor or on an NVIDIA card, eager or compiled."""

import warnings

import numpy as np
import torch

from segbench import nets
from segbench.engines import WHOLE, Bound, Box, check_device, check_precision
from segbench.errors import EngineError
from segbench.hardware import cores, graphics, processor
from segbench.nets.weights import load
from segbench.volume import Float32
from segbench.zoo import Model

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
PRECISIONS = {"cpu": ("f32", "bf16"), "cuda": ("f32", "bf16", "f16")}


class PyTorch:
    """Builds the network of the card and loads its weights strictly; the masked network, with a shared prefix."""

    name = "torch"
    thin = False
    note = ""

    def __init__(self, model: Model, precision: str, threads: int | None, device: str, thin: bool | None) -> None:
        check_device(self.name, device, tuple(PRECISIONS))
        check_precision(self.name, precision, PRECISIONS[device])
        if thin:
            raise EngineError(f"engine {self.name!r} has no thin sampling; openvino and onnxruntime have")
        if device == "cuda" and not torch.cuda.is_available():
            raise EngineError("torch finds no CUDA card here; use --device cpu")
        self.version = str(torch.__version__)
        self.device = processor() if device == "cpu" else graphics()
        self.precision = precision
        self.threads = threads or cores()
        torch.set_num_threads(self.threads)
        network = nets.build(model.card.network.kind, **model.card.network.options)
        load(network, model.weights)
        self._where = torch.device(device)
        self._network: torch.nn.Module = network.eval().folded().to(self._where)

    def bind(self, masks: Float32) -> Bound:
        """See `Engine.bind`."""
        return self.fresh(masks)

    def fresh(self, masks: Float32) -> Bound:
        """See `Engine.fresh`."""
        drawn = torch.from_numpy(masks).to(self._where)

        def run(image: Float32, inner: Box = WHOLE) -> Float32:
            dtype, kind = DTYPES[self.precision], self._where.type
            with torch.inference_mode(), torch.autocast(kind, dtype, enabled=dtype != torch.float32):
                x = torch.from_numpy(image).to(self._where)
                parts = (self._network(x, drawn[i : i + AT_ONCE]) for i in range(0, len(drawn), AT_ONCE))
                logits = [part[(..., *inner)].float().cpu() for part in parts]
            return np.asarray(torch.cat(logits).numpy(), dtype=np.float32)

        return run


AT_ONCE = 4  # samples in one call


class Compiled(PyTorch):
    """The same, compiled by torch for each shape that it meets."""

    name = "torch-compiled"

    def __init__(self, model: Model, precision: str, threads: int | None, device: str, thin: bool | None) -> None:
        super().__init__(model, precision, threads, device, thin)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside torch's own compiler
            self._network.compile(dynamic=False)
