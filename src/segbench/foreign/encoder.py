"""What the network makes of a window before its first dropout: the graph of `foreign.graph` on a runtime."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from segbench.engines import start
from segbench.volume import Float32
from segbench.zoo import Model

if TYPE_CHECKING:
    from segbench.engines.graph import Loaded, Runtime

IMAGE = "image"


class Encoder(Protocol):
    """What a network makes of a window, up to its first dropout."""

    def __call__(self, window: Float32) -> npt.NDArray[np.float64]:
        """The mean of each channel over a window (Y, X) of a normalised image [channels]."""
        ...


def encoder(model: Model, runtime: str) -> Encoder | None:
    """A model's encoder, in float32 on one thread of the processor; None for a model without dropout.

    Raises:
        EngineError: The runtime refuses.
    """
    # these need onnx, which is there where a runtime is
    from segbench.engines.graph import Runtime
    from segbench.foreign.graph import encoder_graph

    found = encoder_graph(model.graph)
    if found is None:
        return None
    engine = start(model, runtime, threads=1, thin=False, unverified=True)
    assert isinstance(engine, Runtime)
    z, y, x = model.card.input.multiple
    return _Encoder(engine, found.serialised, found.output, (1 if found.flat else z, y, x))


class _Encoder:
    """An encoder graph over a runtime, loaded for each shape of window."""

    def __init__(self, runtime: "Runtime", graph: bytes, output: str, multiple: tuple[int, int, int]) -> None:
        self._runtime, self._graph, self._output, self._multiple = runtime, graph, output, multiple
        self._loaded: dict[tuple[int, ...], Loaded] = {}

    def __call__(self, window: Float32) -> npt.NDArray[np.float64]:
        """See `Encoder`."""
        depth, *strides = self._multiple
        rest = [(0, -n % stride) for n, stride in zip(window.shape, strides, strict=True)]
        slice_ = np.pad(window, rest, mode="edge")[None, None, None]
        image = np.ascontiguousarray(np.repeat(slice_, depth, axis=2))
        if image.shape not in self._loaded:
            shapes = {IMAGE: image.shape}
            self._loaded[image.shape] = self._runtime.load(self._graph, shapes, [self._output], 1)
        features = self._loaded[image.shape]({IMAGE: image})[0][0]
        return np.asarray(features.reshape(len(features), -1).mean(axis=1, dtype=np.float64))
