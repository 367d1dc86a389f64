"""A model that is ready to answer, and how it becomes so."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segbench.cascade import Cascade, cascade_of
from segbench.engines import Engine, start
from segbench.foreign import Look, look_of
from segbench.predict import Asked, Case, predict_cases
from segbench.serve.bounds import Bounds
from segbench.serve.settings import Settings
from segbench.volume import Volume
from segbench.zoo import Model
from segbench.zoo.card import Card


@dataclass(eq=False)
class Loaded:
    """A model that answers.

    Attributes:
        card: What it is.
        engine: That runs it.
        look: Says how foreign an image is, if the model has a fit of that.
        cascade: Its second network, if it has one.
        bounds: Its networks that stay compiled.
        users: Requests that were accepted for it and are not answered.
    """

    card: Card
    engine: Engine
    look: Look | None
    cascade: Cascade | None
    bounds: Bounds
    users: int = 0


def loaded(model: Model, settings: Settings, bound: Callable[[str, bool], None]) -> Loaded:
    """A model on its engine, as `segbench.load` has it, warmed up.

    Args:
        model: With its files proved.
        settings: Of the server.
        bound: Told of each use of networks: the model's name, whether they were there.

    Raises:
        SegbenchError: See `segbench.load`.
    """
    card = model.card
    engine = start(
        model,
        settings.engine,
        settings.precision,
        settings.threads,
        device=settings.device,
        unverified=settings.unverified,
    )
    bounds = Bounds(card, engine, settings.bound, lambda hit: bound(card.name, hit))
    found = Loaded(card, engine, look_of(model, engine), cascade_of(model, engine), bounds)
    warm_up(found, settings)
    return found


def warm_up(loaded: Loaded, settings: Settings) -> None:
    """One inference of noise, so that what is compiled at the first one is compiled before anybody waits for it."""
    core = loaded.card.input.core
    z, y, x = (min(edge, of) for edge, of in zip(settings.warmup, core, strict=True))
    image = np.random.default_rng(0).standard_normal((z, y, x), dtype=np.float32)
    asked = Asked(loaded.card, settings.samples, 0, threads=loaded.engine.threads)
    case = Case(Volume(image), asked, loaded.look, loaded.cascade)
    predict_cases([case], loaded.bounds.get(settings.samples, 0, case.grid.shape), lambda _: None)
    if case.refused is not None:
        raise case.refused
    case.found()
