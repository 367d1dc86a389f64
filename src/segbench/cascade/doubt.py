"""Which pixels the first network is likely to be wrong about."""

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segbench.cascade.loading import Loads
from segbench.volume import Float32
from segbench.zoo import Model

FEATURES, LOGITS = "features", "logits"
BATCH = 16384  # pixels in one call: a fixed number, so that a pixel's answer does not depend on how many there are
Doubted = npt.NDArray[np.bool_]


class Doubt(Protocol):
    """Finds the pixels of a slice that the local network is to decide."""

    def __call__(self, mean: Float32, entropy: Float32) -> Doubted:
        """Which pixels (Y, X) are doubted, by the mean logits F (K, Y, X) and the entropy of softmax(F) in nats."""
        ...


def doubt_of(model: Model, graphs: Loads) -> Doubt:
    """The classifier of a model with a cascade; below a threshold of 0 there is nothing to classify."""
    card = model.card.cascade
    assert card is not None
    assert model.doubt is not None
    if card.threshold < 0:
        return _everywhere
    return Classifier(graphs, model, card.threshold)


def hiding_of(model: Model, graphs: Loads, decides: Doubt) -> Doubt:
    """Whose classes the local network does not see: those that it decides, unless the card says otherwise."""
    card = model.card.cascade
    assert card is not None
    return decides if card.hides in (None, card.threshold) else Classifier(graphs, model, card.hides)


def _everywhere(mean: Float32, entropy: Float32) -> Doubted:
    return np.ones(entropy.shape, np.bool_)


class Classifier:
    """The doubt graph over all pixels, in float32: it decides, and costs next to nothing."""

    def __init__(self, graphs: Loads, model: Model, threshold: float) -> None:
        self._columns = len(model.card.classes) + 1
        assert model.doubt is not None
        self._run = graphs.load(model.doubt, {FEATURES: (BATCH, self._columns)}, [LOGITS], 1, exact=True)
        # sigmoid(x) > t just where x > logit(t)
        self._above = math.log(threshold / (1 - threshold)) if threshold > 0 else -math.inf

    def __call__(self, mean: Float32, entropy: Float32) -> Doubted:
        """See `Doubt`."""
        pixels = entropy.size
        found = np.empty(pixels, np.bool_)
        batch = np.zeros((BATCH, self._columns), np.float32)
        each = [plane.reshape(-1) for plane in (*mean, entropy)]
        for first in range(0, pixels, BATCH):
            now = min(BATCH, pixels - first)
            for column, plane in enumerate(each):
                batch[:now, column] = plane[first : first + now]
            found[first : first + now] = self._run({FEATURES: batch})[0][:now, 0] > self._above
        return found.reshape(entropy.shape)
