"""A model's classes made the data's: one of three phases looked at against the rest, or classes in another order.

A merged class's probability is the sum of those of its parts, whether the model takes a mean of probabilities or of
logits; what is called is the merged class with the largest one. Entropy follows from those. How far samples disagree
about a merged class cannot be told from maps of the model's own classes, so that scores of it are undefined.
"""

from dataclasses import dataclass, replace

import numpy as np

from segbench.errors import InputError
from segbench.evaluate.tallied import Curves, Scores
from segbench.metrics.uncertainty import categorical
from segbench.predict import Prediction
from segbench.volume import Float32, UInt8
from segbench.zoo.card import Card

OPTION = "--merge"
EXAMPLE = f"{OPTION} nickel=active,carbon+pore=rest"
UNKNOWN = ("mutual_information", "spread", "deviation")
"""Measures that need the samples."""


@dataclass(frozen=True)
class Merge:
    """Which class of the data each class of a model is.

    Attributes:
        text: As written; a row keeps it.
        target: Index of the data's class, of each class of the model.
        classes: K of the data.
    """

    text: str
    target: tuple[int, ...]
    classes: int

    def of(self, prediction: Prediction) -> Prediction:
        """The prediction in the data's classes.

        Its mutual information, spread and deviation stay those of the model's own classes, the first as far as the
        merged entropy reaches; shares of single samples are gone.
        """
        own = prediction.probabilities
        if own is None:
            own = np.stack([1 - prediction.probability, prediction.probability])
        summed = np.zeros((self.classes, *prediction.labels.shape), np.float32)
        for index, part in zip(self.target, own, strict=True):
            summed[index] += part
        np.minimum(summed, 1, out=summed)  # sums of float32 may reach beyond
        entropy = np.minimum(categorical(summed[None]).entropy, np.float32(np.log(self.classes)))
        two = self.classes == 2
        labels: UInt8 = (summed[1] > 0.5 if two else summed.argmax(axis=0)).astype(np.uint8)
        probability: Float32 = summed[1] if two else summed.max(axis=0)
        return replace(
            prediction, labels=labels, probability=probability, probabilities=None if two else summed, entropy=entropy,
            mutual=np.minimum(prediction.mutual, entropy), shares=(),
        )  # fmt: skip


def merge(text: str, model: tuple[str, ...], data: tuple[str, ...]) -> Merge:
    """What `--merge` says, such as "nickel=active,carbon+pore=rest".

    Args:
        text: CLASS=NAME with commas between them; several classes of the model with + between them.
        model: Names of the model's classes.
        data: Names of the data's.

    Raises:
        InputError: Not of that form, an unknown name, or a class of either that is left out or named twice.
    """
    target: dict[str, str] = {}
    for part in text.split(","):
        left, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not left or not name:
            raise _wrong(text, f"{part.strip()!r} is not CLASS=NAME", model, data)
        if name not in data:
            raise _wrong(text, f"the data has no class {name!r}", model, data)
        for own in (piece.strip() for piece in left.split("+")):
            if own not in model:
                raise _wrong(text, f"the model has no class {own!r}", model, data)
            if own in target:
                raise _wrong(text, f"class {own!r} is named twice", model, data)
            target[own] = name
    for own in model:
        if own not in target:
            raise _wrong(text, f"class {own!r} of the model is left out", model, data)
    for name in data:
        if name not in target.values():
            raise _wrong(text, f"no class of the model becomes {name!r}", model, data)
    return Merge(text, tuple(data.index(target[own]) for own in model), len(data))


def fit(card: Card, data: str, classes: tuple[str, ...], text: str) -> Merge | None:
    """How a model's classes become the data's; None where they are the same in number and nothing is asked for.

    Args:
        card: The model's.
        data: Name of the data set.
        classes: Names of its classes.
        text: As written; "" to take classes as they are.

    Raises:
        InputError: Another number of classes than the data has, or `text` cannot be used.
    """
    if text:
        return merge(text, card.classes, classes)
    if len(classes) != len(card.classes):
        raise InputError(
            f"model {card.name!r} tells {len(card.classes)} classes apart ({', '.join(card.classes)}), {data} has "
            f"{len(classes)} ({', '.join(classes)}): say which is which, in the manner of {EXAMPLE}"
        )
    return None


def doubts(card: Card, data: str, classes: tuple[str, ...], merged: Merge | None) -> tuple[str, ...]:
    """What to say where classes are matched by number and bear other names; of two classes nothing.

    Two classes are named as it comes (void and active, rest and solid); that they are swapped shows in any score.
    """
    if merged is not None or len(classes) == 2 or classes == card.classes:
        return ()
    return (
        f"classes are matched by number: {card.name} has {', '.join(card.classes)}, {data} has {', '.join(classes)}; "
        f"{OPTION} matches them by name",
    )


def without_samples(scores: Scores) -> Scores:
    """Scores of a merged prediction: what needs the samples is undefined."""
    return {key: float("nan") if any(name in key for name in UNKNOWN) else value for key, value in scores.items()}


def curves_without_samples(curves: Curves) -> Curves:
    """Its curves: those are left out."""
    return {key: values for key, values in curves.items() if not any(name in key for name in UNKNOWN)}


def _wrong(text: str, why: str, model: tuple[str, ...], data: tuple[str, ...]) -> InputError:
    return InputError(
        f"{OPTION} {text}: {why}; the model has {', '.join(model)}, the data {', '.join(data)}; write it in the manner "
        f"of {EXAMPLE}"
    )
