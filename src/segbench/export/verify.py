"""Proof that an exported model is what its card says: alive, repeatable, and the same network as PyTorch's."""

from dataclasses import dataclass

import numpy as np

from segbench.engines import Engine, start
from segbench.errors import EngineError
from segbench.export.lint import check
from segbench.masks import masks, ones
from segbench.volume import Float32
from segbench.zoo import Model

TOLERANCE = 1e-4  # absolute, of logits, float32 against float32 across runtimes


@dataclass(frozen=True)
class Verdict:
    """What was measured; logits throughout.

    Attributes:
        engine: What ran the graph.
        difference: Largest difference from PyTorch, all-ones masks and two samples together.
        liveness: Smallest mean difference between two samples; 0 for a model without dropout.
    """

    engine: str
    difference: float
    liveness: float

    def __str__(self) -> str:
        alive = (
            f"dropout is alive (samples differ by {self.liveness:.3g} on average)" if self.liveness else "no dropout"
        )
        return f"{self.engine} equals PyTorch within {self.difference:.2g}, repeats bit for bit, {alive}"


def probe(model: Model) -> Float32:
    """A small image [1, 1, Z, Y, X] of smooth noise, the same for everybody."""
    edges = [4 * multiple for multiple in model.card.input.multiple]
    noise = np.random.default_rng(0).standard_normal(edges).astype(np.float32)
    for axis in range(3):
        noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)) / np.float32(3**0.5)
    return noise[None, None]


def verify(model: Model, engine: str = "onnxruntime") -> Verdict:
    """Runs graph and PyTorch network on a probe.

    Raises:
        EngineError: The graph draws random numbers, does not repeat, ignores its masks, or is another network.
    """
    check(model.graph)
    image, sites = probe(model), model.card.dropout
    drawn = np.concatenate([ones(sites), masks(sites, 0, range(2))]) if sites else ones(sites)
    runtime = start(model, engine)
    run = runtime.bind(drawn)
    logits = run(image)
    if not np.array_equal(logits, run(image)):
        raise EngineError(f"{model.graph}: equal masks gave different results on {engine}")
    difference = float(np.abs(logits - start(model, "torch").bind(drawn)(image)).max())
    if not difference <= TOLERANCE:
        raise EngineError(f"{model.graph}: differs from the PyTorch network by {difference:.3g} (at most {TOLERANCE})")
    return Verdict(engine, difference, _liveness(model, runtime, logits))


def _liveness(model: Model, runtime: Engine, logits: Float32) -> float:
    if not model.card.dropout:
        return 0.0
    pairs = [(0, 1), (0, 2), (1, 2)]
    liveness = min(float(np.abs(logits[a] - logits[b]).mean()) for a, b in pairs)
    if not liveness > 1e-3 * float(logits.std()):
        raise EngineError(f"{model.graph}: other masks give the same result on {runtime.name}: its dropout is dead")
    return liveness
