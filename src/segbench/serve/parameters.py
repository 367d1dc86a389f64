"""What the parameters of a request ask for, the same on both wires."""

import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from segbench.serve.refusal import Refusal
from segbench.serve.request import INVERT, OUTPUTS, SAMPLES, SEED
from segbench.serve.settings import Settings

OURS = "segbench_"
TIMEOUT = "timeout"
"""Microseconds; Triton's clients send it."""
MOST = 2**31 - 1
"""Of any whole number; what a model takes is for `outputs.check` to say."""
COUNT = 64
"""Parameters, and names of outputs, that a request may have."""
ELSEWHERE = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size", "classification")
"""Parameters of tensors that would change what is meant, so that they cannot be left alone."""


@dataclass(frozen=True)
class Asked:
    """What `Request` takes of them; see there."""

    samples: int
    seed: int
    outputs: tuple[str, ...]
    invert: bool
    deadline: float


def asked(parameters: Mapping[str, object], outputs: Sequence[str], settings: Settings) -> Asked:
    """Reads them; other servers' parameters are left alone, unknown ones of ours are refused.

    Args:
        parameters: Of the request, as they came.
        outputs: Names in the request's list of outputs; empty for none, and then the parameter speaks.
        settings: For what the request leaves open.

    Raises:
        Refusal: "invalid".
    """
    check_counts(len(parameters), len(outputs))
    known = (SAMPLES, SEED, OUTPUTS, INVERT)
    if any(name.startswith(OURS) and name not in known for name in parameters):
        raise Refusal("invalid", f"an unknown parameter begins with {OURS}; known are {', '.join(known)}")
    named = parameters.get(OUTPUTS, "")
    if not isinstance(named, str) or len(named) > 1024:
        raise Refusal("invalid", f"{OUTPUTS} must be names with commas, such as 'labels,entropy'")
    wanted = tuple(outputs) or tuple(name.strip() for name in named.split(",") if name.strip())
    if len(set(wanted)) != len(wanted):
        raise Refusal("invalid", "an output is asked for twice")
    invert = parameters.get(INVERT, False)
    if not isinstance(invert, bool):
        raise Refusal("invalid", f"{INVERT} must be true or false")
    samples = _integer(parameters, SAMPLES, settings.samples)
    seed = _integer(parameters, SEED, 0)
    return Asked(samples, seed, wanted, invert, time.monotonic() + _patience(parameters, settings))


def check_tensor(parameters: Container[str]) -> None:
    """Whether a tensor's parameters leave it where it is, and what it is.

    Raises:
        Refusal: "unsupported".
    """
    if found := next((name for name in ELSEWHERE if name in parameters), None):
        raise Refusal("unsupported", f"the parameter {found} of a tensor is not supported")


def check_counts(parameters: int, outputs: int) -> None:
    """Whether there are not more of them than anybody asks for.

    Raises:
        Refusal: "invalid".
    """
    if parameters > COUNT or outputs > COUNT:
        raise Refusal("invalid", f"more than {COUNT} parameters or outputs")


def _integer(parameters: Mapping[str, object], name: str, default: int) -> int:
    value = parameters.get(name, default)
    if isinstance(value, float) and value.is_integer():  # some clients have no other numbers
        value = int(value)
    if type(value) is not int or not 0 <= value <= MOST:
        raise Refusal("invalid", f"{name} must be a whole number from 0 to {MOST}")
    return value


def _patience(parameters: Mapping[str, object], settings: Settings) -> float:
    """Seconds until the deadline."""
    value = parameters.get(TIMEOUT, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        raise Refusal("invalid", f"{TIMEOUT} must be a number of microseconds")
    return min(settings.timeout_s, value / 1e6) if value else settings.timeout_s
