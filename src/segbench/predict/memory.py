"""A volume in memory in, arrays out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segbench.cascade import Cascade
from segbench.engines import Engine
from segbench.errors import InputError
from segbench.foreign import Look
from segbench.io import as_volume, open_volume
from segbench.predict.case import Case, predict_cases
from segbench.predict.prediction import Asked, Prediction
from segbench.predict.sampling import sample_masks
from segbench.volume import Volume
from segbench.zoo.card import Card

Progress = Callable[[int, int], None]


def predict(
    volume: Volume,
    card: Card,
    engine: Engine,
    samples: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    invert: bool = False,
    look: Look | None = None,
    cascade: Cascade | None = None,
    keep: int = 0,
) -> Prediction:
    """Segments a volume.

    Args:
        volume: Grey values (Z, Y, X); a single slice is a volume of depth 1, replicated along Z.
        card: Of the model that `engine` runs.
        engine: A started engine.
        samples: Monte-Carlo samples T; 0 for the deterministic twin, in which nothing is dropped.
        seed: Of their masks.
        progress: Called with (tiles done, tiles).
        invert: Its material is dark: the normalised image is negated.
        look: Says how foreign the volume is (`foreign.look_of`); changes no other number.
        cascade: The model's second network (`cascade.cascade_of`), if its card has one.
        keep: So many samples' own labels are kept.

    Raises:
        InputError: Samples out of range, an image that is constant or not finite, or a cascade that is missing.
    """
    if (card.cascade is None) != (cascade is None):
        raise InputError(
            f"model {card.name!r}: a card with [cascade] is predicted with its second network, others without"
        )
    drawn = sample_masks(card, samples, seed)
    asked = Asked(card, samples, seed, invert, min(keep, len(drawn)), engine.threads)
    case = Case(volume, asked, look, cascade)
    case.prepare()
    done = 0

    def count(_: Case) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(case.grid))

    predict_cases([case], engine.bind(drawn), lambda _: None, count)
    if case.refused is not None:
        raise case.refused
    return case.found()


@dataclass(frozen=True)
class Predictor:
    """A model ready to predict; `segbench.load` makes one."""

    card: Card
    engine: Engine
    look: Look | None = None
    cascade: Cascade | None = None

    def predict(
        self,
        image: Volume | npt.NDArray[np.generic] | str | Path,
        samples: int = 16,
        seed: int = 0,
        progress: Progress | None = None,
        *,
        invert: bool = False,
        keep: int = 0,
    ) -> Prediction:
        """Segments a volume, what lies at a path, or an array that `as_volume` takes; see `predict`."""
        if isinstance(image, str | Path):
            image = open_volume(image)
        volume = as_volume(image)
        return predict(
            volume,
            self.card,
            self.engine,
            samples,
            seed,
            progress,
            invert=invert,
            look=self.look,
            cascade=self.cascade,
            keep=keep,
        )
