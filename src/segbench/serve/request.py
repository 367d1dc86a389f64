"""What a client asks and what it gets, whichever wire it came over."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from segbench.volume import Float32

Array = npt.NDArray[np.generic]
Parameter = str | bool | int | float
IMAGE = "image"
"""Name of the one input, as in the card's graph."""
SAMPLES, SEED, OUTPUTS, INVERT = "segbench_samples", "segbench_seed", "segbench_outputs", "segbench_invert"
"""Names of the parameters of a request; others beginning with "segbench_" are refused."""


@dataclass(frozen=True)
class Tensor:
    """One input or output of a model, as its metadata says it.

    Attributes:
        name: Of the tensor.
        datatype: As the protocol spells it: "FP32", "UINT8".
        shape: -1 where a size is open.
        optional: Whether it comes only where it is asked for.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, eq=False)
class Request:
    """One inference.

    Attributes:
        model: Its name.
        images: Grey values (N, Z, Y, X), a 2-D image having Z = 1; each is a volume of its own.
        version: As in the card; empty for the newest.
        outputs: Names that are wanted, in order; empty for those that are not optional.
        samples: Monte-Carlo samples T; 0 for the network without dropout.
        seed: Of their masks.
        invert: Segment the negative.
        flat: The images came as [N, 1, Y, X], and so the outputs go.
        id: The client's own, echoed.
        client: Who asks, for fairness between clients.
        deadline: `time.monotonic()` after which nobody waits for the answer; None without one.
    """

    model: str
    images: Float32
    version: str = ""
    outputs: tuple[str, ...] = ()
    samples: int = 16
    seed: int = 0
    invert: bool = False
    flat: bool = False
    id: str = ""
    client: str = ""
    deadline: float | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """Of one inference.

    Attributes:
        model: Its name.
        version: That answered.
        outputs: By name, in the order asked for, each [N, ...] with the shape that goes over the wire.
        parameters: What else there is to say: "segbench_warnings", "segbench_samples", "segbench_seed".
    """

    model: str
    version: str
    outputs: Mapping[str, Array]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True)
class Described:
    """A model as its metadata says it.

    Attributes:
        name: Of the model.
        versions: That are loaded, the newest last.
        version: The one described.
        platform: As the protocol spells it, such as "onnx_onnxv1".
        inputs: One.
        outputs: All that can be asked for.
        max_batch: Most images in one request; 0 for no limit but that of its size.
    """

    name: str
    versions: tuple[str, ...]
    version: str
    platform: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch: int


@dataclass(frozen=True)
class Listed:
    """A model in the repository's index.

    Attributes:
        name: Of the model.
        version: Of the card.
        state: "READY", "LOADING", "UNLOADING" or "UNAVAILABLE".
        reason: Why it is not ready; empty where it is.
    """

    name: str
    version: str
    state: str
    reason: str = ""


class Service(Protocol):
    """What stands behind both wires. Every method may be called from any thread and raises `Refusal` alone."""

    def ready(self) -> bool:
        """Whether all models that were asked for have been loaded and warmed up, and no stop has begun."""
        ...

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether this model would answer; refuses as "unknown" where it never can."""
        ...

    def describe(self, name: str, version: str = "") -> Described:
        """Metadata of a model; refuses as "unknown"."""
        ...

    def submit(self, request: Request) -> "Future[Answer]":
        """Queues a request, or refuses it at once; cancelling the future takes it out, or ends it at its next tile."""
        ...

    def statistics(self, name: str = "", version: str = "") -> list[dict[str, Any]]:
        """Of one model or of all, in the shape of Triton's ModelStatistics as JSON."""
        ...

    def index(self) -> list[Listed]:
        """All models of the repository, loaded or not."""
        ...

    def load(self, name: str) -> None:
        """Loads or reloads a model of the repository; requests that wait for the old one are still answered."""
        ...

    def unload(self, name: str) -> None:
        """Takes a model out once what waits for it is answered."""
        ...

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        ...

    def drain(self) -> bool:
        """Takes no more requests and waits for those that it took; whether all were answered in time."""
        ...
