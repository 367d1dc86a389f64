"""The graphs of a model by kind, each made of the one masked graph that the zoo pins."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import onnx

from segbench.engines.quantise import quantised, ranges_of
from segbench.errors import InputError
from segbench.export.profile import Profile
from segbench.export.seeded import aggregated, seeded
from segbench.export.twin import twin
from segbench.zoo import Model
from segbench.zoo.artifact import Kind, Part

OPTION = "kinds"
SECOND: tuple[Kind, ...] = ("doubt", "patch", "dense")
"""Of a cascade's second network; a model has the first and one of the others, or none."""


def graphs(model: Model, wanted: Sequence[Kind], rounded: bool = False) -> Iterator[tuple[Kind, onnx.ModelProto]]:
    """The graphs of these kinds that there are, in their order.

    A model without dropout has none that draws, one without a cascade none of `SECOND`.

    Args:
        model: Of the zoo, or of a folder.
        wanted: See `segbench.zoo.artifact.Part`.
        rounded: To 8 bits, by the model's ranges; those of `SECOND` have none and stay as they are.

    Raises:
        EngineError: It is to be rounded and has no ranges.
    """
    masked, sites = onnx.load(model.graph), model.card.dropout
    if rounded:
        masked = quantised(masked, ranges_of(model))
    for kind in wanted:
        if kind in SECOND:
            path = second_graph(model, kind)
            if path is not None:
                yield kind, onnx.load(path)
        elif kind == "masked":
            yield kind, masked
        elif kind == "deterministic":
            yield kind, twin(masked, sites)
        elif sites:
            yield kind, seeded(masked, sites) if kind == "seeded" else aggregated(masked, model.card)


def second_graph(model: Model, kind: Kind) -> Path | None:
    """The file of a cascade's graph of this kind, if the model has it."""
    if model.card.cascade is None or kind not in ("doubt", model.card.cascade.kind):
        return None
    return model.doubt if kind == "doubt" else model.local


def second_parts(model: Model, runtime: str) -> tuple[Part, ...]:
    """A cascade's graphs as they lie beside the card."""
    found = ((kind, second_graph(model, kind)) for kind in SECOND)
    return tuple(Part(kind=kind, runtime=runtime, path=path.name) for kind, path in found if path is not None)


def precision_of(kind: Kind, precision: str) -> str:
    """What a part is computed in: a classifier that decides stays float32, a local network is never of 8 bits."""
    if kind not in SECOND or (kind != "doubt" and precision == "bf16"):
        return precision
    return "f32"


def wanted(profile: Profile, default: Sequence[Kind]) -> tuple[Kind, ...]:
    """The kinds that a profile's option `kinds` names.

    Raises:
        InputError: It names one that there is not, or the profile has other options.
    """
    if strange := sorted(set(profile.options) - {OPTION}):
        raise InputError(f"profile of target {profile.target!r}: unknown option {strange[0]!r}; it takes {OPTION!r}")
    named = profile.options.get(OPTION, list(default))
    known: tuple[Kind, ...] = get_args(Kind)
    if not isinstance(named, list) or not named or set(map(str, named)) - set(known):
        raise InputError(f"profile of target {profile.target!r}: `kinds` is a list of some of {', '.join(known)}")
    return tuple(kind for kind in known if kind in named)
