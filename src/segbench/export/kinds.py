"""The graphs of a model by kind, each made of the one masked graph that the zoo pins."""

from collections.abc import Iterator, Sequence
from typing import get_args

import onnx

from segbench.engines.quantise import quantised, ranges_of
from segbench.errors import InputError
from segbench.export.profile import Profile
from segbench.export.seeded import aggregated, seeded
from segbench.export.twin import twin
from segbench.zoo import Model
from segbench.zoo.artifact import Kind

OPTION = "kinds"


def graphs(model: Model, wanted: Sequence[Kind], rounded: bool = False) -> Iterator[tuple[Kind, onnx.ModelProto]]:
    """The graphs of these kinds, in their order; a model without dropout has none that draws.

    Args:
        model: Of the zoo, or of a folder.
        wanted: See `segbench.zoo.artifact.Part`.
        rounded: To 8 bits, by the model's ranges.

    Raises:
        EngineError: It is to be rounded and has no ranges.
    """
    masked, sites = onnx.load(model.graph), model.card.dropout
    if rounded:
        masked = quantised(masked, ranges_of(model))
    for kind in wanted:
        if kind == "masked":
            yield kind, masked
        elif kind == "deterministic":
            yield kind, twin(masked, sites)
        elif sites:
            yield kind, seeded(masked, sites) if kind == "seeded" else aggregated(masked, model.card)


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
