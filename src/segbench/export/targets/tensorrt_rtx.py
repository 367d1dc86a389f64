"""TensorRT-RTX: engines for the RTX cards of workstations, built ahead of time on a machine without a card.

The engine that is loaded on the card finishes compiling there. It runs with the version that built it and no other.
"""

from pathlib import Path
from typing import Any

from segbench.engines.plan import Capability, Plan
from segbench.errors import InputError
from segbench.export.plan import Settings, engines, package
from segbench.export.profile import Profile
from segbench.export.targets import Built
from segbench.recipe import validate
from segbench.zoo import Model

INSTALL = "pip install 'segbench[tensorrt-rtx]'"


class RtxSettings(Settings):
    """The profile's options.

    Attributes:
        capabilities: Compute capabilities of the cards to build for, such as "8.6"; none: Ampere and all that is newer.
    """

    capabilities: tuple[str, ...] = ()


def build(model: Model, profile: Profile, precision: str, folder: Path) -> Built:
    """See `Build`."""
    settings = validate(profile.options, RtxSettings, f"profile {profile.target!r}: options")
    trt = package("tensorrt_rtx", INSTALL)
    targets = [_target(trt, capability) for capability in settings.capabilities]

    def configure(config: Any) -> None:  # noqa: ANN401
        if targets:
            config.num_compute_capabilities = len(targets)
            for number, (_, member) in enumerate(targets):
                config.set_compute_capability(member, number)

    about = Plan(
        runtime="tensorrt-rtx",
        version=str(trt.__version__),
        cards="listed" if targets else "ampere-and-newer",
        listed=tuple(capability for capability, _ in targets),
        shapes={},
    )
    parts = engines(trt, model, precision, settings, folder, about, configure)
    return Built(parts, {"tensorrt-rtx": about.version}, about.fits)


def _target(trt: Any, text: str) -> tuple[Capability, Any]:  # noqa: ANN401
    """A compute capability and TensorRT's member for it."""
    known = {name.removeprefix("SM"): member for name, member in trt.ComputeCapability.__members__.items()}
    digits = text.replace(".", "")
    if not digits.isdigit() or digits not in known:
        numbers = ", ".join(f"{name[:-1]}.{name[-1]}" for name in known if name.isdigit())
        raise InputError(f"TensorRT-RTX builds for no compute capability {text!r}; it has {numbers}")
    return (int(digits[:-1]), int(digits[-1])), known[digits]
