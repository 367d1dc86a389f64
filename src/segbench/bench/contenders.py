"""Who is timed, and what of them: each is built from the scene alone, so that any of them can also run by itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, cast

import numpy as np

from segbench.bench import peak
from segbench.bench.flops import convolution_flops
from segbench.bench.row import Facts
from segbench.bench.scene import REFERENCE, Key, Scene
from segbench.bench.timing import Clock, Run, whole
from segbench.cascade import cascade_of
from segbench.engines import Bound, Engine
from segbench.engines.graph import GraphEngine, Loaded, Runtime
from segbench.engines.thin import IMAGE, LOGITS, MASKS
from segbench.foreign import look_of
from segbench.masks import ones
from segbench.predict import predict, probabilities
from segbench.tiling import read
from segbench.volume import Float32
from segbench.zoo import Model

if TYPE_CHECKING:
    from segbench.bench.monai import Passes

Triple = tuple[int, int, int]
MONAI = "T passes of MONAI's sliding window over the normalised volume, overlap 0.25, Gaussian; mean and variance"
TIMED = {
    "segbench": "checks, normalisation, tiles with their halo, all samples, aggregation, foreign score",
    "engine": "the engine's calls alone, all samples of all tiles with their halo",
    "dense": "the engine's calls alone, one pass of the deterministic twin over all tiles with their halo",
    "onnxruntime": "T runs of the masked graph over all tiles with their halo of the normalised volume; mean",
    "monai-torch": MONAI,
    "monai-engine": MONAI,
    "peak": f"plain convolutions in a row, the fastest of {peak.TAKES} runs",
}


@dataclass(frozen=True, eq=False)
class Contender:
    """What it is, how it runs once, and what it found where that is compared."""

    facts: Facts
    run: Run
    passes: "Passes | None" = None


def build(scene: Scene, key: Key) -> Contender:
    """The contender of that kind and precision; nothing has run yet, so its first run compiles graphs."""
    kind, precision = key
    if kind == "peak":
        return _peak(scene, precision)
    if kind == "onnxruntime":
        engine = scene.engine(precision, False, "onnxruntime")
        one = OneSample(engine, scene.model, scene.grid.shape)
        return Contender(_tiled(scene, key, engine), whole(lambda: mean_of_runs(scene, one)))
    if kind in ("monai-torch", "monai-engine"):
        return _monai(scene, key)
    engine = scene.engine(precision, False if kind == "dense" else None)
    facts = _tiled(scene, key, engine)
    if kind == "segbench":
        card, request, seeing = scene.model.card, scene.request, look_of(scene.model, engine)
        second = cascade_of(scene.model, engine)

        def run() -> object:
            return predict(scene.volume, card, engine, request.samples, request.seed, look=seeing, cascade=second)

        return Contender(facts, whole(run))
    masks = ones(scene.model.card.dropout) if kind == "dense" else scene.masks
    return Contender(facts, lambda: engine_seconds(scene, engine.bind(masks)))


def engine_seconds(scene: Scene, bound: Bound, clock: Clock = perf_counter) -> float:
    """Seconds that the engine takes for all tiles; reading them is not counted."""
    seconds = 0.0
    for tile in scene.grid:
        image = read(scene.image, tile)[None, None]
        start = clock()
        bound(image, tile.inner)
        seconds += clock() - start
    return seconds


class OneSample:
    """The masked graph, one sample a run; loaded at its first call, once for all masks.

    Args:
        engine: Which runs it.
        model: Whose graph it is.
        window: Voxels (Z, Y, X) of the image.
    """

    def __init__(self, engine: Engine, model: Model, window: Triple) -> None:
        self._engine, self._model, self._window = engine, model, window
        self._loaded: Loaded | None = None

    def __call__(self, image: Float32, row: Float32) -> Float32:
        """Logits [1, 1 or K, *window] of an image [1, 1, *window] and one mask row [1, channels]."""
        if not isinstance(self._engine, GraphEngine):
            return self._engine.bind(row)(image)
        if self._loaded is None:
            shapes = {IMAGE: (1, 1, *self._window), MASKS: row.shape}
            runtime = cast("Runtime", self._engine)  # an engine over a runtime is that runtime itself
            self._loaded = runtime.load(self._model.graph, shapes, [LOGITS], self._engine.threads)
        return self._loaded({IMAGE: image, MASKS: row})[0]


def mean_of_runs(scene: Scene, run: Callable[[Float32, Float32], Float32]) -> Float32:
    """Mean probability (1, Z, Y, X) of T runs a tile, or those of each class (K, Z, Y, X)."""
    card = scene.model.card
    mean = np.zeros((1 if card.activation == "sigmoid" else len(card.classes), *scene.volume.shape), dtype=np.float32)
    for tile in scene.grid:
        image = read(scene.image, tile)[None, None]
        for t in range(len(scene.masks)):
            logits = run(image, scene.masks[t : t + 1])[(..., *tile.inner)]
            mean[(..., *tile.core)] += probabilities(logits, card)[0]
    return mean / np.float32(len(scene.masks))


def _monai(scene: Scene, key: Key) -> Contender:
    from segbench.bench import monai

    kind, precision = key
    model, card, engine = scene.model, scene.model.card, scene.engine(precision, False)
    window = monai.roi(scene.volume.shape, card)
    threads = engine.threads
    if kind == "monai-torch":
        samples = monai.eager(model, scene.masks, threads)
    else:
        samples = monai.through(OneSample(engine, model, window), scene.masks, card, threads)
    passes = monai.Passes(scene.image, card, samples)
    windows = monai.count(scene.volume.shape, window)
    facts = Facts(
        kind=kind,
        engine="torch" if kind == "monai-torch" else engine.name,
        device=engine.device,
        precision=precision,
        threads=threads,
        samples=scene.request.samples,
        window=window,
        windows=windows,
        overlap=monai.OVERLAP,
        voxels=math.prod(scene.volume.shape),
        flops=windows * pass_flops(model, window),
        timed=TIMED[kind],
    )
    return Contender(facts, whole(passes.run), passes)


def _tiled(scene: Scene, key: Key, engine: Engine) -> Facts:
    """Facts of a contender that runs over the model's own tiles."""
    kind, precision = key
    grid = scene.grid
    z, y, x = (c if grid.fixed else min(c, v) for c, v in zip(grid.cores, grid.volume, strict=True))
    return Facts(
        kind=kind,
        engine=engine.name,
        device=engine.device,
        precision=precision,
        threads=engine.threads,
        thin=engine.thin,
        samples=0 if kind == "dense" else scene.request.samples,
        window=grid.shape,
        windows=len(grid),
        core=(z, y, x),
        halo=grid.halo,
        voxels=math.prod(grid.volume),
        flops=len(grid) * pass_flops(scene.model, grid.shape),
        timed=TIMED[kind],
    )


def pass_flops(model: Model, window: Triple) -> int:
    """Operations of the masked graph for one sample of one window."""
    return convolution_flops(model.graph, {IMAGE: (1, 1, *window), MASKS: ones(model.card.dropout).shape})


def _peak(scene: Scene, precision: str) -> Contender:
    engine = scene.engine(precision)
    graph, shape, image = peak.plain_convolutions(), peak.shape(), peak.features()
    facts = Facts(
        kind="peak",
        engine=engine.name,
        device=engine.device,
        precision=precision,
        threads=engine.threads,
        samples=0,
        window=shape[2:],
        windows=1,
        voxels=math.prod(shape[2:]),
        flops=convolution_flops(graph, {peak.IMAGE: shape}),
        timed=TIMED["peak"],
    )
    if precision == "int8":
        # an int8 engine rounds in the ranges of its model; rounded already, the graph is for the f32 engine
        graph, engine = peak.rounded(graph), scene.engine(REFERENCE)
    loaded = cast("Runtime", engine).load(graph, {peak.IMAGE: shape}, [peak.RESULT], engine.threads)
    once = whole(lambda: loaded({peak.IMAGE: image}))
    return Contender(facts, lambda: min(once() for _ in range(peak.TAKES)))
