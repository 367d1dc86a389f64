"""Accuracy and calibration of a part on simulated scans, beside the reference runtime on the model's own graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from segbench.cascade import cascade_of
from segbench.data import battery16, fib
from segbench.data.case import Case
from segbench.data.domains import DOMAINS
from segbench.engines import WHOLE, Bound, Box, Engine, start
from segbench.export.runners import Run
from segbench.metrics.reliability import Reliability
from segbench.predict import predict
from segbench.volume import Float32, Volume
from segbench.zoo import Model
from segbench.zoo.artifact import Kind
from segbench.zoo.card import Card

DOMAINS_SEEN, EDGE = 2, 64
SAMPLES, SEED = 2, 0  # of vnet-sandia, whose tile is large, four at once take more than 20 GB
TINY = 1e-7


@dataclass(frozen=True)
class Score:
    """Means over the voxels of all volumes.

    Attributes:
        accuracy: Share of voxels whose label is the true one.
        nll: Negative log-likelihood of the mean probability, in nats.
        ece: Expected calibration error.
    """

    accuracy: float
    nll: float
    ece: float


def volumes(card: Card) -> list[Case]:
    """The first domains of battery16 that the model did not learn from; of battery-fib what is validated on.

    The slices of battery-fib are scored against their labels, which the study's tables do too, and not against the
    truth that the labels err about.
    """
    if card.classes == fib.CLASSES:
        pairs = fib.split(fib.load()).validation
        return [Case("validation slices", pairs.image, pairs.label, pairs.label)]
    names = [name for name in DOMAINS if name not in card.training.domains] or list(DOMAINS)
    return battery16.load(names[:DOMAINS_SEEN], EDGE)


def score(model: Model, engine: Engine, cases: Sequence[Case], samples: int, *, first: bool = False) -> Score:
    """Predicts the volumes, T samples or none, and scores them against the truth.

    Args:
        model: Whose card and second network are meant.
        engine: Of the first network.
        cases: The volumes.
        samples: T.
        first: Without the second network, if there is one.
    """
    card, cascade = model.card, None if first else cascade_of(model, engine)
    if first:
        card = card.model_copy(update={"cascade": None})
    right, voxels, surprise, said = 0, 0, 0.0, Reliability()
    for case in cases:
        found = predict(Volume(case.image, source=case.domain), card, engine, samples, SEED, cascade=cascade)
        hit = found.labels == case.truth
        right += int(np.count_nonzero(hit))
        voxels += case.truth.size
        if found.probabilities is None:
            said = said.add(found.probability, case.truth)
            continue
        true = np.take_along_axis(found.probabilities, case.truth[None].astype(np.intp), axis=0)
        surprise -= float(np.log(np.clip(true.astype(np.float64), TINY, 1)).sum())
        said = said.add(found.probability, hit, 0.0)  # of the event that the called class is the true one
    nll = surprise / voxels if len(card.classes) > 2 else said.mean_nll
    return Score(right / voxels, nll, said.ece)


def where(card: Card) -> str:
    """What a part is scored on, in words."""
    if card.classes == fib.CLASSES:
        return "the validation slices of battery-fib"
    return f"{DOMAINS_SEEN} volumes of battery16, {EDGE}^3"


@dataclass
class PartEngine:
    """A part as an engine, so that it predicts volumes as any other does; see `Engine`."""

    kind: Kind
    run: Run
    card: Card
    name: str
    device: str = ""
    version: str = ""
    precision: str = "f32"
    threads: int = 1
    thin: bool = False
    note: str = ""

    def bind(self, masks: Float32) -> Bound:
        """See `fresh`."""
        return self.fresh(masks)

    def fresh(self, masks: Float32) -> Bound:
        """Masks for a graph that takes them; one that draws its own is told seed and samples."""
        numbers = np.arange(len(masks), dtype=np.int32)
        seeded = {"seed": np.array([SEED], np.int32), "samples": numbers}
        more = {"masked": {"masks": masks}, "deterministic": {}}.get(self.kind, seeded)

        def run(image: Float32, inner: Box = WHOLE) -> Float32:
            outputs = self.run({"image": image, **more})
            logits = outputs["logits"] if "logits" in outputs else self._logits(outputs["mean"])
            return np.ascontiguousarray(logits[(..., *inner)], dtype=np.float32)

        return run

    def _logits(self, mean: Float32) -> Float32:
        """What one sample would have had to say for this mean: `predict` calibrates it back."""
        p = np.clip(mean.astype(np.float64), TINY, 1 - TINY)
        logits = np.log(p / (1 - p)) if self.card.activation == "sigmoid" else np.log(p)
        fitted = self.card.calibration
        return np.asarray(logits if fitted is None else (logits - fitted.shift) / fitted.scale, dtype=np.float32)


class Yardstick:
    """Volumes and the reference's scores on them, computed once and only where they are needed."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._scores: dict[tuple[int, bool], Score] = {}

    @cached_property
    def cases(self) -> list[Case]:
        """Volumes with their truth."""
        return volumes(self.model.card)

    def reference(self, kind: Kind) -> Score:
        """Of the model's own masked graph in ONNX Runtime, f32; what a part of this kind is held against.

        Raises:
            EngineError: It is not installed.
        """
        samples, first = samples_of(kind), first_alone(kind)
        if (samples, first) not in self._scores:
            engine = start(self.model, "onnxruntime", thin=False)
            self._scores[samples, first] = score(self.model, engine, self.cases, samples, first=first)
        return self._scores[samples, first]

    def part(self, kind: Kind, run: Run, name: str) -> Score:
        """Of a part."""
        engine = PartEngine(kind, run, self.model.card, name)
        return score(self.model, engine, self.cases, samples_of(kind), first=first_alone(kind))


def samples_of(kind: Kind) -> int:
    """How many samples a part is scored with; 0 for the network without dropout."""
    return 0 if kind == "deterministic" else SAMPLES


def first_alone(kind: Kind) -> bool:
    """Whether a part is scored without a second network, which decides by the samples' logits: here there are none."""
    return kind == "aggregated"
