"""What a zoo model is exported to: one module a target, found by name, imported when it is asked for.

A target's function writes its parts below a folder and says what they are; all else of an artifact is made here, in
`segbench.export.artifact`, the same for every target.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol

from segbench.errors import UnknownNameError
from segbench.export.profile import Profile
from segbench.zoo import Model
from segbench.zoo.artifact import Part

TARGETS = {
    "onnx": "segbench.export.targets.onnx:build",
    "openvino": "segbench.export.targets.openvino:build",
    "tensorrt": "segbench.export.targets.tensorrt:build",
    "tensorrt-rtx": "segbench.export.targets.tensorrt_rtx:build",
    "triton": "segbench.export.targets.triton:build",
    "bioimageio": "segbench.export.targets.bioimageio:build",
}


@dataclass(frozen=True)
class Built:
    """What a target made.

    Attributes:
        parts: What can be run, paths below the folder.
        tools: Versions of what made it.
        device: The card that it is for, or "any".
    """

    parts: tuple[Part, ...]
    tools: Mapping[str, str] = field(default_factory=dict)
    device: str = "any"


class Build(Protocol):
    """Makes a target's parts."""

    def __call__(self, model: Model, profile: Profile, precision: str, folder: Path) -> Built:
        """Writes below `folder`, which is there and empty but for `model/`.

        Raises:
            EngineError: What it needs is not installed, or refuses the graph.
        """
        ...


def target(name: str) -> Build:
    """The function that makes a target.

    Raises:
        UnknownNameError: There is no such target.
    """
    if name not in TARGETS:
        raise UnknownNameError("export target", name, list(TARGETS))
    module, function = TARGETS[name].split(":")
    build: Build = getattr(import_module(module), function)
    return build
