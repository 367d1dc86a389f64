"""What can be asked of a model: names, shapes and sizes of its outputs, and whether a request asks for no more."""

from collections.abc import Mapping
from math import prod

import numpy as np

from segbench.masks import SEEDS
from segbench.serve.refusal import Refusal
from segbench.serve.request import IMAGE, SAMPLES, SEED, Request, Tensor
from segbench.serve.settings import MIB, Settings

LABELS, PROBABILITIES, SAMPLE_LABELS = "labels", "probabilities", "samples"
DEFAULT = (LABELS, "probability", "entropy", "mutual_information")
"""What an answer holds if nothing is asked for by name."""
Shape = tuple[int, ...]


def inputs() -> tuple[Tensor, ...]:
    """The one input of every model."""
    return (Tensor(IMAGE, "FP32", (-1, 1, -1, -1, -1)),)


def outputs(classes: int) -> tuple[Tensor, ...]:
    """All outputs of a model of so many classes."""
    found = [Tensor(name, "UINT8" if name == LABELS else "FP32", (-1, 1, -1, -1, -1)) for name in DEFAULT]
    if classes > 2:
        found.append(Tensor(PROBABILITIES, "FP32", (-1, classes, -1, -1, -1), optional=True))
    return (*found, Tensor(SAMPLE_LABELS, "UINT8", (-1, -1, -1, -1, -1), optional=True))


def check(request: Request, settings: Settings) -> None:
    """Refuses what no model answers: images of another kind or shape, or too many, and parameters out of range.

    Raises:
        Refusal: "invalid" or "too large".
    """
    images, most = request.images, settings.max_request_mib * MIB
    if images.dtype != np.float32 or images.ndim != 4 or 0 in images.shape:
        raise Refusal("invalid", f"images are float32 (N, Z, Y, X), these are {images.dtype} {list(images.shape)}")
    if request.flat and images.shape[1] != 1:
        raise Refusal("invalid", f"images [N, 1, Y, X] have one slice each, these have {images.shape[1]}")
    if images.nbytes > most:
        raise Refusal("too large", f"{images.nbytes} bytes of images; the server takes {most}: send parts of them")
    if not 0 <= request.samples <= settings.max_samples:
        raise Refusal("invalid", f"{SAMPLES} is {request.samples}; the server takes 0 to {settings.max_samples}")
    if not 0 <= request.seed < SEEDS:
        raise Refusal("invalid", f"{SEED} is {request.seed}; it must be from 0 to {SEEDS - 1}")


def shapes(request: Request, classes: int, passes: int, settings: Settings) -> dict[str, Shape]:
    """Names of the outputs that a checked request gets, in their order, with their shapes on the wire.

    Args:
        request: See `check`.
        classes: K of the model.
        passes: T, at least 1.
        settings: Of the server.

    Raises:
        Refusal: "invalid": a name that the model does not have, or twice; "too large": all of them together.
    """
    known = [tensor.name for tensor in outputs(classes)]
    names = request.outputs or DEFAULT
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise Refusal("invalid", f"no output {unknown[:80]!r}; model {request.model!r} has {', '.join(known)}")
    if len(set(names)) < len(names):
        raise Refusal("invalid", f"an output is asked for twice: {', '.join(names)}")
    count, *volume = request.images.shape
    axes = volume[1:] if request.flat else volume
    channels = {PROBABILITIES: classes, SAMPLE_LABELS: passes}
    found = {name: (count, channels.get(name, 1), *axes) for name in names}
    if (bytes_of := size(found)) > (most := settings.max_answer_mib * MIB):
        raise Refusal(
            "too large", f"the answer has {bytes_of} bytes; the server gives {most}: ask for fewer outputs or images"
        )
    return found


def size(found: Mapping[str, Shape]) -> int:
    """Bytes of outputs of these shapes."""
    return sum(prod(shape) * (1 if name in (LABELS, SAMPLE_LABELS) else 4) for name, shape in found.items())
