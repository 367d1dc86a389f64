"""What every engine that runs ONNX graphs has in common: masked or thin sampling over a runtime that loads graphs."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from segbench.engines import WHOLE, Bound, Box
from segbench.engines.channels import UnthinnableError
from segbench.engines.cropping import cut
from segbench.engines.regions import Region
from segbench.engines.thin import IMAGE, LOGITS, MASKS, ThinGraphs, Thinner
from segbench.errors import EngineError
from segbench.masks import ones
from segbench.volume import Float32
from segbench.zoo import Model

SAMPLES_AT_ONCE = 4  # a fixed batch: the same request gives the same bytes however many samples it asks for
Shape = tuple[int, ...]
Loaded = Callable[[Mapping[str, Float32]], list[Float32]]
"""A graph ready to run: named inputs to its outputs, which are valid until the next call."""


@runtime_checkable
class Runtime(Protocol):
    """Loads ONNX graphs."""

    def load(self, graph: bytes | Path, shapes: Mapping[str, Shape], outputs: Sequence[str], threads: int) -> Loaded:
        """A graph ready to run on inputs of exactly these shapes; safe to call from several threads in turn."""
        ...


def thinner(model: Model, wanted: bool | None) -> tuple[Thinner | None, str]:
    """How a model's samples can be thinned, or why they cannot.

    Args:
        model: Whose graph it is.
        wanted: True insists, False does not ask, None takes it where it can be had.

    Raises:
        EngineError: Thin sampling is insisted on and the model cannot do it.
    """
    if wanted is False or (wanted is None and not model.card.dropout):
        return None, ""
    try:
        found = Thinner(model.graph)
        found.channels(ones(model.card.dropout))
    except UnthinnableError as error:
        if wanted:
            raise EngineError(f"model {model.card.name!r}: {error}") from error
        return None, f"model {model.card.name!r}: {error}; every sample runs the full width"
    return found, ""


class GraphEngine:
    """An engine over a runtime; see `Engine`."""

    def __init__(self, model: Model, runtime: Runtime, threads: int, thin: bool | None) -> None:
        self._thinner, self.note = thinner(model, thin)
        self.thin = self._thinner is not None
        self._graph, self._runtime, self._threads = model.graph, runtime, threads
        self._last: tuple[Float32, _Masked | _Thin] | None = None

    def bind(self, masks: Float32) -> Bound:
        """See `Engine.bind`; the last masks are remembered, so that many volumes compile their graphs once."""
        if self._last is None or not np.array_equal(self._last[0], masks):
            self._last = (masks.copy(), self.fresh(masks))
        return self._last[1]

    def fresh(self, masks: Float32) -> "_Masked | _Thin":
        """See `Engine.fresh`."""
        if self._thinner is None:
            return _Masked(self._graph, self._runtime, self._threads, masks)
        return _Thin(self._thinner.graphs(masks, self._threads), self._runtime, self._threads)


class _Masked:
    """The graph as it is: a fixed number of samples at once, all of their width computed."""

    def __init__(self, graph: Path, runtime: Runtime, threads: int, masks: Float32) -> None:
        self._graph, self._runtime, self._threads, self._masks = graph, runtime, threads, masks
        self._loaded: dict[Shape, Loaded] = {}

    def __call__(self, image: Float32, inner: Box = WHOLE) -> Float32:
        """See `Bound`."""
        shape = (min(SAMPLES_AT_ONCE, len(self._masks)), self._masks.shape[1])
        if image.shape not in self._loaded:
            shapes = {IMAGE: image.shape, MASKS: shape}
            self._loaded[image.shape] = self._runtime.load(self._graph, shapes, [LOGITS], self._threads)
        parts = []
        for first in range(0, len(self._masks), shape[0]):
            chunk = self._masks[first : first + shape[0]]
            filler = np.repeat(chunk[-1:], shape[0] - len(chunk), axis=0)
            logits = self._loaded[image.shape]({IMAGE: image, MASKS: np.concatenate([chunk, filler])})[0]
            parts.append(logits[(slice(len(chunk)), slice(None), *inner)].copy())
        return np.concatenate(parts)


@dataclass(frozen=True)
class _Ready:
    """The graphs of one shape of tile, loaded.

    Attributes:
        shared: Image to links.
        samples: Links to logits of the samples that each graph computes.
        box: The part of the tile that they compute.
    """

    shared: Loaded
    samples: list[Loaded]
    box: Region


class _Thin:
    """The shared graph on all threads, then the samples side by side, each on threads of its own."""

    def __init__(self, graphs: ThinGraphs, runtime: Runtime, threads: int) -> None:
        self._graphs, self._runtime, self._threads = graphs, runtime, threads
        self._pool = ThreadPoolExecutor(len(graphs.samples))
        self._ready: dict[tuple[Shape, Region], _Ready] = {}

    def __call__(self, image: Float32, inner: Box = WHOLE) -> Float32:
        """See `Bound`."""
        graphs, box = self._graphs, _middle(image.shape[2:], inner)
        if (image.shape, box) not in self._ready:
            self._ready[image.shape, box] = self._load(image.shape, box)
        ready = self._ready[image.shape, box]
        links = dict(zip(graphs.links, ready.shared({IMAGE: image}), strict=True))
        done = [self._pool.submit(loaded, links) for loaded in ready.samples]
        said = {
            number: logits
            for numbers, future in zip(graphs.numbers, done, strict=True)
            for number, logits in zip(numbers, future.result(), strict=True)
        }
        z, y, x = (
            slice((s.start or 0) - low, (edge if s.stop is None else s.stop) - low)
            for s, edge, (low, _) in zip(inner, image.shape[2:], box, strict=True)
        )
        return np.concatenate([said[number][..., z, y, x] for number in sorted(said)])

    def _load(self, shape: Shape, box: Region) -> _Ready:
        """Graphs that compute no more of a tile than its box needs."""
        each = max(1, self._threads // len(self._graphs.samples))
        shared, samples = cut(self._graphs, shape, box)
        loaded = [self._runtime.load(piece.graph, piece.inputs, piece.outputs, each) for piece in samples]
        first = self._runtime.load(shared.graph, shared.inputs, shared.outputs, self._threads)
        return _Ready(first, loaded, box)


def _middle(edges: Shape, inner: Box) -> Region:
    """The box that tiles of this shape ask for: their last ones ask for less of it, and all run the same graphs."""
    found = []
    for edge, part in zip(edges, inner, strict=True):
        low, high = part.start or 0, edge if part.stop is None else part.stop
        found.append((low, max(high, edge - low)))
    return tuple(found)
