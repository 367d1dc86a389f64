"""What the second network makes of doubted pixels."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segbench.engines import Engine
from segbench.volume import Float32
from segbench.zoo import Model


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

    Raises:
        EngineError: The runtime refuses.
    """
    if model.card.cascade is None:
        return None
    raise NotImplementedError
