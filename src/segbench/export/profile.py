"""Export profiles, `export/*.toml`: how a target is made, and what its outputs may differ by."""

from pathlib import Path
from typing import Any

from pydantic import Field

from segbench.errors import InputError, UnknownNameError
from segbench.recipe import Strict, read_toml
from segbench.resources import folder


class Tolerance(Strict):
    """What a precision's logits may differ by from the reference: |a - b| <= atol + rtol |b|.

    Attributes:
        rtol: Relative.
        atol: Absolute, in logits.
        ppm: Voxels per million that may lie outside.
        probability: What the probabilities of two networks together may differ by, absolute; None: as logits may.
        accuracy: By how much accuracy on battery16 may fall.
        nll: By how much the negative log-likelihood there may rise, in nats.
    """

    rtol: float = Field(ge=0)
    atol: float = Field(ge=0)
    ppm: float = Field(default=0, ge=0)
    probability: float | None = Field(default=None, ge=0, le=1)
    accuracy: float = Field(ge=0)
    nll: float = Field(ge=0)


class Profile(Strict):
    """How one target is made.

    Attributes:
        target: What it is for.
        about: One line for people.
        tolerance: By precision; the first is the default one, and what is not named is not made.
        options: The target's own; see its module.
    """

    target: str
    about: str
    tolerance: dict[str, Tolerance] = Field(min_length=1)
    options: dict[str, Any] = {}


def profiles() -> list[str]:
    """Targets that there are."""
    return sorted(path.stem for path in folder("export").glob("*.toml"))


def read_profile(name: str) -> tuple[Profile, Path]:
    """The profile of that target, or of that file.

    Raises:
        UnknownNameError: Neither a target nor a file.
        InputError: It is not a profile.
    """
    path = Path(name) if name.endswith(".toml") else folder("export") / f"{name}.toml"
    if not path.is_file():
        raise UnknownNameError("export target", name, profiles())
    return read_toml(path, Profile), path


def of_probabilities(tolerance: Tolerance) -> Tolerance:
    """The same for probabilities, which lie in [0, 1]: what is little for logits would be much."""
    if tolerance.probability is None:
        return tolerance
    return tolerance.model_copy(update={"rtol": 0.0, "atol": tolerance.probability})


def tolerance_of(profile: Profile, precision: str) -> Tolerance:
    """What a precision may differ by.

    Raises:
        InputError: The target is not made in that precision.
    """
    if precision not in profile.tolerance:
        known = ", ".join(profile.tolerance)
        raise InputError(f"target {profile.target!r} has no precision {precision!r}; it has {known}")
    return profile.tolerance[precision]
