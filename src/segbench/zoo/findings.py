"""What a card says that was found out about a model: how it was trained, and what was measured of it."""

from typing import Annotated

from pydantic import Field

from segbench.recipe import Strict

Positive = Annotated[int, Field(ge=1)]


class TrainingCard(Strict):
    """Where the weights come from.

    Attributes:
        recipe: The recipe's text as it was.
        start: The model whose weights it started from, in words; None: from random ones.
        data: In words, with the generator's version.
        domains: Domains of battery16 among it, at other seeds than the benchmark's.
        batch: Boxes or slices a step; None where that was not noted.
        epochs: Training images seen, over how many there are; None where boxes are cut out of volumes.
        hours: Wall time on `device`.
        processor_s: Processor time of all threads, in seconds; None where it was not measured.
        budget_s: Processor time at which it stopped; None: it was trained by steps alone.
        loss: Mean of the last hundred steps.
        validation: What was validated on, in words; None: phantoms, volumes of another simulator.
        validation_accuracy: Of a few samples' calibrated mean there.
        validation_miou: Likewise.
    """

    recipe: str
    recipe_sha256: str
    start: str | None = None
    data: str
    domains: tuple[str, ...] = ()
    labels: str
    seed: int
    steps: int
    batch: int | None = None
    epochs: float | None = None
    hours: float
    processor_s: float | None = None
    budget_s: float | None = None
    device: str
    torch: str
    finished: str
    loss: float
    validation: str | None = None
    validation_accuracy: float
    validation_miou: float


class CalibrationCard(Strict):
    """A sample's calibrated logit is scale * logit + shift (Platt scaling); every engine's logits go through it.

    Attributes:
        on: What it was fitted on; never on what is reported.
        nll_before: Negative log-likelihood of the mean probability there, in nats, uncalibrated.
        nll_after: Calibrated.
    """

    scale: float = Field(gt=0, allow_inf_nan=False)
    shift: float = Field(allow_inf_nan=False)
    on: str
    nll_before: float
    nll_after: float


class SeedsCard(Strict):
    """Sibling trainings of one recipe that differ in their seed; the best by validation mIoU is released.

    Attributes:
        seeds: Of all of them, the released one included.
        validation_accuracy: In the order of `seeds`.
        validation_miou: In the order of `seeds`.
    """

    seeds: tuple[int, ...] = Field(min_length=2)
    validation_accuracy: tuple[float, ...]
    validation_miou: tuple[float, ...]


class SeamsCard(Strict):
    """What changes where the halo is doubled; `segbench zoo seams` measures it.

    Attributes:
        labels_per_million: Labels that change.
        entropy: By how much the mean entropy of a volume changes, in nats; mean over volumes.
        on: What was predicted, and how.
    """

    labels_per_million: float
    entropy: float
    on: str


class ConformalCard(Strict):
    """How far a phase fraction and a mask are to be trusted; `segbench zoo conformal` fits it on simulated blocks.

    `metrics.conformal` says what is promised: something of the mean over blocks like those of the fit.

    Attributes:
        on: The blocks, in words; none that is trained on or reported.
        blocks: How many.
        edge: Of a block, in voxels.
        samples: T; with fewer samples nothing is said.
        level: Of the interval of the share of class 1, such as 0.9.
        floor: Of the unit of that interval, as a share of the volume.
        widen: Units by which the samples' interval is moved outwards, or inwards where it is negative.
        risk: Bound on the mean share of a class that a mask misses.
        possible: A voxel may be class 1 where its mean probability is at least this; at most the card's threshold.
        sure: It surely is where it exceeds this; at least the card's threshold.
    """

    on: str
    blocks: Positive
    edge: Positive
    samples: Positive
    level: float = Field(gt=0, lt=1)
    floor: float = Field(gt=0, lt=1)
    widen: float = Field(allow_inf_nan=False)
    risk: float = Field(gt=0, lt=1)
    possible: float = Field(ge=0, le=1)
    sure: float = Field(ge=0, le=1)


class ForeignCard(Strict):
    """When a scan is called foreign; `segbench zoo foreign` fits it to training scans.

    Attributes:
        threshold: Of the score, the share of training scans that are nearer; scans above it are warned of.
        features: Channels of the bottleneck that are looked at besides grey values; 0 for none.
        on: What it was fitted to.
    """

    threshold: float = Field(gt=0, lt=1)
    features: int = Field(ge=0)
    on: str


class ResultCard(Strict):
    """What an evaluation measured, as means over its domains; added by `segbench zoo add`.

    Attributes:
        data: Name of the data set.
        domains: How many.
        samples: T.
        seed: Of the masks.
        engine: And its version.
        precision: Of the engine.
        device: What it ran on.
        means: Scores by name.
    """

    data: str
    domains: int
    samples: int
    seed: int
    engine: str
    precision: str
    device: str
    means: dict[str, float]
