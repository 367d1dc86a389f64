"""What the second network makes of doubted pixels."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segbench.cascade.doubt import doubt_of, hiding_of
from segbench.cascade.loading import Graphs, Loads
from segbench.cascade.local import local_of
from segbench.engines import Engine
from segbench.volume import Float32
from segbench.zoo import Model

SEES = ("image", "classes", "logits")
"""What a local network may be shown; what its card leaves out is zeros to it."""
TINY = np.float32(1e-30)


@dataclass(frozen=True, eq=False)
class Refined:
    """Of the pixels of some slices.

    Attributes:
        probability: Of each class, float32 (K, Z, Y, X): the local network's where doubted, else softmax(F).
        doubted: Where the local network decides, bool (Z, Y, X).
    """

    probability: Float32
    doubted: npt.NDArray[np.bool_]


class Cascade(Protocol):
    """The second network of a model, ready to run.

    Attributes:
        margin: Pixels around a core (Y and X) that it has to be given.
    """

    margin: int

    def __call__(self, image: Float32, mean: Float32) -> Refined:
        """Refines slices.

        Args:
            image: Normalised (Z, Y + 2 margin, X + 2 margin); past the scan's edges it is replicated.
            mean: Mean logits F of the samples (K, Z, Y + 2 margin, X + 2 margin), likewise.
        """
        ...


def cascade_of(model: Model, engine: Engine) -> Cascade | None:
    """The second network of a model beside an engine, on that engine's runtime; None for a model without one.

    Beside an engine that runs no ONNX graphs (torch, tensorrt, fake) it runs on the first runtime that is installed.

    Raises:
        EngineError: The runtime refuses, or none is installed.
    """
    if model.card.cascade is None:
        return None
    return Second(model, Graphs(model, engine))


class Second:
    """Doubt and local network, slice by slice; see `Cascade`."""

    def __init__(self, model: Model, graphs: Loads) -> None:
        assert model.card.cascade is not None
        self.doubt, self.local = doubt_of(model, graphs), local_of(model, graphs)
        self.hiding = hiding_of(model, graphs, self.doubt)
        self.margin = self.local.margin
        self._sees = frozenset(model.card.cascade.options.get("sees", SEES))

    def __call__(self, image: Float32, mean: Float32) -> Refined:
        """See `Cascade`."""
        m = self.margin
        inner = (slice(m, image.shape[1] - m), slice(m, image.shape[2] - m))
        probability = np.empty((len(mean), *image[:, *inner].shape), np.float32)
        doubted = np.empty(probability.shape[1:], np.bool_)
        for z, slice_ in enumerate(image):
            own = np.ascontiguousarray(mean[:, z])
            said = softmax(own)
            unsure = entropy(said)
            found = self.doubt(own, unsure)
            hidden = found if self.hiding is self.doubt else self.hiding(own, unsure)
            seen, context = self.shown(slice_, own, hidden)
            probability[:, z], doubted[z] = said[:, *inner], found[inner]
            logits = self.local(seen, context, doubted[z])
            probability[:, z, doubted[z]] = softmax(logits.T)
        return Refined(probability, doubted)

    def shown(self, image: Float32, mean: Float32, hidden: npt.NDArray[np.bool_]) -> tuple[Float32, Float32]:
        """What the local network is given of a slice: image and classes (Y, X, 1 + K), and F of the core (K, Y, X).

        Args:
            image: Normalised, with the margin (Y, X).
            mean: F (K, Y, X), likewise.
            hidden: Whose class it does not see (Y, X), likewise.
        """
        m, (height, width) = self.margin, image.shape
        seen = np.zeros((height, width, 1 + len(mean)), np.float32)
        if "image" in self._sees:
            seen[..., 0] = image
        if "classes" in self._sees:
            called = mean.argmax(axis=0)
            for k in range(len(mean)):
                seen[..., 1 + k] = (called == k) & ~hidden
        context = np.ascontiguousarray(mean[:, m : height - m, m : width - m])
        return seen, context if "logits" in self._sees else np.zeros_like(context)


def softmax(logits: Float32) -> Float32:
    """Probabilities of logits, both [K, ...], float32."""
    powers = np.exp(logits - logits.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), dtype=np.float32)


def entropy(probability: Float32) -> Float32:
    """In nats, of probabilities [K, ...], float32."""
    return np.asarray(-(probability * np.log(np.maximum(probability, TINY))).sum(axis=0), dtype=np.float32)
