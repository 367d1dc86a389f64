"""The local network over the doubted pixels of a slice."""

from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from segbench.cascade.loading import Loads
from segbench.volume import Float32
from segbench.zoo import Model

if TYPE_CHECKING:
    from segbench.engines.graph import Loaded

PATCHES, CONTEXT, IMAGE, LOGITS = "patches", "context", "image", "logits"
BATCH = 64  # patches in one call: a fixed number, so that a pixel's answer does not depend on how many there are
SHAPES = 16  # of slices whose graphs a dense network keeps: a volume has four of cores, a server many volumes
Doubted = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


class Local(Protocol):
    """A local network.

    Attributes:
        margin: Pixels around a core that it has to be given.
    """

    margin: int

    def __call__(self, seen: Float32, mean: Float32, doubted: Doubted) -> Float32:
        """Logits of the doubted pixels of a core, in its order.

        Args:
            seen: Image and classes of a slice (Y + 2 margin, X + 2 margin, 1 + K).
            mean: Mean logits F of the core (K, Y, X).
            doubted: Pixels of the core (Y, X).

        Returns:
            Float32 [N, K].
        """
        ...


def local_of(model: Model, graphs: Loads) -> Local:
    """The local network of a model with a cascade, as its card says."""
    card = model.card.cascade
    assert card is not None
    return (Patches if card.kind == "patch" else Dense)(graphs, model)


class Patches:
    """A classifier of single pixels by what lies around each.

    Batches are small enough for a core's cache. Each is computed by one thread and several are side by side, which
    costs a fifth less than one large batch that all threads share; and no answer depends on how many threads there are.
    """

    def __init__(self, graphs: Loads, model: Model) -> None:
        card, classes = model.card.cascade, len(model.card.classes)
        assert card is not None
        assert model.local is not None
        self.margin, self._edge, self._classes = card.edge // 2, card.edge, classes
        shapes = {PATCHES: (BATCH, 1 + classes, card.edge, card.edge), CONTEXT: (BATCH, classes)}
        self._free: SimpleQueue[Loaded] = SimpleQueue()
        for _ in range(graphs.threads):
            self._free.put(graphs.load(model.local, shapes, [LOGITS], 1))
        self._pool = ThreadPoolExecutor(graphs.threads)

    def __call__(self, seen: Float32, mean: Float32, doubted: Doubted) -> Float32:
        """See `Local`."""
        rows, columns = np.nonzero(doubted)
        logits = np.empty((len(rows), self._classes), np.float32)

        def batch(first: int) -> None:
            y, x = rows[first : first + BATCH], columns[first : first + BATCH]
            inputs, run = self.inputs(seen, mean, y, x), self._free.get()
            try:
                logits[first : first + len(y)] = run(inputs)[0][: len(y)]
            finally:
                self._free.put(run)

        for _ in self._pool.map(batch, range(0, len(rows), BATCH)):
            pass
        return logits

    def inputs(self, seen: Float32, mean: Float32, y: Places, x: Places) -> dict[str, Float32]:
        """What the graph is given of at most `BATCH` pixels of the core; zeros behind them.

        Runtimes work with channels last: so the patches lie in memory, and are shown as [N, 1 + K, edge, edge].
        """
        patches = np.zeros((BATCH, self._edge, self._edge, 1 + self._classes), np.float32)
        context = np.zeros((BATCH, self._classes), np.float32)
        # (Y, X) patches of (edge, edge, 1 + K): no copy until some are taken
        around = np.moveaxis(sliding_window_view(seen, (self._edge, self._edge), axis=(0, 1)), 2, -1)
        patches[: len(y)], context[: len(y)] = around[y, x], mean[:, y, x].T
        return {PATCHES: np.moveaxis(patches, -1, 1), CONTEXT: context}


class Dense:
    """A segmentation network of whole slices; it is asked wherever there is a doubted pixel."""

    def __init__(self, graphs: Loads, model: Model) -> None:
        card = model.card.cascade
        assert card is not None
        assert model.local is not None
        self.margin, self._path, self._graphs = card.edge // 2, model.local, graphs
        self._loaded: dict[tuple[int, ...], Loaded] = {}

    def __call__(self, seen: Float32, mean: Float32, doubted: Doubted) -> Float32:
        """See `Local`."""
        if not doubted.any():
            return np.empty((0, len(mean)), np.float32)
        image = np.moveaxis(seen, -1, 0)[None]
        if image.shape not in self._loaded:
            while len(self._loaded) >= SHAPES:
                del self._loaded[next(iter(self._loaded))]
            self._loaded[image.shape] = self._graphs.load(
                self._path, {IMAGE: image.shape}, [LOGITS], self._graphs.threads
            )
        logits = self._loaded[image.shape]({IMAGE: image})[0][0]
        (height, width), m = doubted.shape, self.margin
        return np.ascontiguousarray(logits[:, m : m + height, m : m + width][:, doubted].T)
