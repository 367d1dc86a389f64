"""What runs the parts of an artifact as they are, to prove them: a module for each runtime, imported on demand."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from segbench.errors import EngineError, SegbenchError, UnknownNameError
from segbench.zoo.artifact import Part
from segbench.zoo.reference import Array

RUNNERS = {
    "onnxruntime": "segbench.export.runners.onnxruntime:load",
    "openvino": "segbench.export.runners.openvino:load",
    "tensorrt": "segbench.export.runners.tensorrt:load",
    "tensorrt-rtx": "segbench.export.runners.tensorrt_rtx:load",
}
Run = Callable[[Mapping[str, Array]], dict[str, Array]]
"""A part ready to run: its inputs to its outputs, by name."""


class NotHereError(EngineError):
    """This machine cannot run a part: it stays unproved, which is no fault of the part."""


class Load(Protocol):
    """Makes a part ready to run."""

    def __call__(self, folder: Path, part: Part, device: str) -> Run:
        """Loads `part` of the artifact in `folder`, for "cpu" or "cuda".

        Raises:
            NotHereError: The runtime, the card or an ability is missing here.
            EngineError: The runtime refuses the part.
        """
        ...


def runner(folder: Path, part: Part, device: str) -> Run:
    """A part ready to run; whatever its runtime raises comes as one line.

    Raises:
        UnknownNameError: Nothing runs parts for that runtime.
        NotHereError: The runtime, the card or an ability is missing here.
        EngineError: The runtime refuses the part, or later its inputs.
    """
    if part.runtime not in RUNNERS:
        raise UnknownNameError("runtime", part.runtime, list(RUNNERS))
    module, function = RUNNERS[part.runtime].split(":")
    try:
        load: Load = getattr(import_module(module), function)
        run = load(folder, part, device)
    except SegbenchError:
        raise
    except ModuleNotFoundError as error:
        raise NotHereError(f"{error.name} is not installed") from error
    except Exception as error:  # runtimes raise what they like
        raise EngineError(f"{part.runtime} does not load {part.path}: {_line(error)}") from error

    def guarded(inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return run(inputs)
        except SegbenchError:
            raise
        except Exception as error:
            raise EngineError(f"{part.runtime} does not run {part.path}: {_line(error)}") from error

    return guarded


def _line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300]
