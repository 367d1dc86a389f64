"""Whether a model was trained on what it is tested on, as far as its card tells."""

from segbench.evaluate.cases import FIB, FIB_PAPER
from segbench.zoo.card import Card

SPLITS = {FIB: "clean", FIB_PAPER: "paper"}
"""Two splits of one volume: what is held back in one is trained on in the other."""
OTHERS = ("specimen-2",)
"""Domains of `FIB` of which nothing is trained on in either."""


def seen(card: Card, data: str, domain: str) -> tuple[str, ...]:
    """What to say of a model that was trained on the other split of the volume that it is tested on."""
    if data not in SPLITS or domain in OTHERS:
        return ()
    trained = next((split for split in SPLITS.values() if f"{split} split" in card.training.data), None)
    if FIB not in card.training.data or trained in (None, SPLITS[data]):
        return ()
    return (
        f"{card.name} was trained on the {trained} split of {FIB}: images of {data}, {domain}, that it is tested on "
        "are among those it learned from, or neighbours of them",
    )
