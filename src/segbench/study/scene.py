"""What the figures show: some slices of the test stack, what three models make of them, and the logits of the first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.cascade import cascade_of
from segbench.engines import start
from segbench.evaluate.cases import Labelled, open_data
from segbench.evaluate.findings import entropy
from segbench.evaluate.measured import Key
from segbench.predict import predict
from segbench.study.logits import mean_logits
from segbench.volume import Float32, UInt8
from segbench.zoo import find

SHOWN = {"ugsm": "UGSM", "unet": "U-Net", "matphase": "MatPhase"}
"""Methods whose models the figures need, of the first seed."""
ROWS = 3
SEED = 0


@dataclass(frozen=True, eq=False)
class Scene:
    """Slices evenly spread over the test stack; arrays are (N, Y, X) but for the logits [K, N, Y, X].

    Attributes:
        numbers: Of the slices within the stack.
        grey: Grey values.
        label: Cleaned labels.
        labels: Predicted classes by method.
        logits: F of UGSM.
        entropy: Of softmax(F) in nats.
        seed: Of the trainings.
    """

    numbers: tuple[int, ...]
    grey: Float32
    label: UInt8
    labels: Mapping[str, UInt8]
    logits: Float32
    entropy: Float32
    seed: int


def scene(models: Mapping[str, Path], data: str, samples: int, seed: int, told: Callable[[str], None]) -> Scene:
    """Predicts the test stack by three models.

    Args:
        models: Folders by method; all of `SHOWN`.
        data: Data set.
        samples: T.
        seed: Of the trainings, to be said.
        told: Called with the title of each model.
    """
    case: Labelled = next(iter(open_data(data)))
    depth = case.image.shape[0]
    numbers = tuple(sorted({round(at) for at in np.linspace(0, depth - 1, min(ROWS, depth))}))
    at = list(numbers)
    labels = {}
    logits = np.empty(0, np.float32)
    for name, title in SHOWN.items():
        told(title)
        model = find(str(models[name]))
        engine = start(model)
        second = cascade_of(model, engine)
        labels[name] = predict(case.image, model.card, engine, samples, SEED, cascade=second).labels[at]
        if name == "ugsm":
            logits = mean_logits(case.image, model.card, engine, samples, SEED)[:, at]
    grey = np.asarray(case.image.data[:], dtype=np.float32)[at]
    return Scene(numbers, grey, case.human[at], labels, logits, entropy(logits).astype(np.float32), seed)


def models_of(places: Mapping[Key, Path]) -> tuple[dict[str, Path], int] | None:
    """Folders of the models that figures need, and the first seed that all have; None where one is missing."""
    seeds = [{key.seed for key in places if (key.method, key.split) == (name, "clean")} for name in SHOWN]
    common = sorted(set.intersection(*seeds))
    if not common:
        return None
    return {name: places[Key(name, common[0])] for name in SHOWN}, common[0]
