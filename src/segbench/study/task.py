"""What one worker process is asked for, as a file that it reads."""

from pathlib import Path
from typing import Any, Literal, Protocol

from segbench.evaluate.measured import Key, Measured, Trained, read
from segbench.evaluate.methods import Scale, SplitName, Study
from segbench.evaluate.naive import Naive
from segbench.evaluate.source import code
from segbench.recipe import Strict
from segbench.study.plan import Job
from segbench.zoo import CARD, find

TASK, RECIPE, LOG, MEASURED = "task.json", "recipe.toml", "log.txt", "measured"


class Task(Strict):
    """A training, then its measurement.

    Attributes:
        method: Of the key; seed and split with it.
        title: Of a model that is made of another one.
        place: Folder of the model.
        recipe: File of its recipe; None where it is made of another model.
        first: Folder of its first network.
        of: Folder of the model that it is made of.
        card: What its card says otherwise than that of `of`.
        budget_s: Processor seconds of the training; None for no limit.
        data: What it is evaluated on.
        samples: T of the evaluation.
        findings: Whether its errors are looked at pixel by pixel.
        naive: The method without a network that it is; None where there is a model.
        speed: Whether its model is timed.
        domains: On at most so many of the data's domains it is evaluated; None for all.
        layers: At most so many layers of every volume are scored, and timed; None for all.
    """

    kind: Literal["train and measure"] = "train and measure"
    method: str
    seed: int
    split: SplitName
    title: str
    place: Path
    recipe: Path | None
    first: Path | None
    of: Path | None
    card: dict[str, Any]
    budget_s: float | None
    data: str
    samples: int
    findings: bool
    naive: Naive | None = None
    speed: bool = False
    domains: int | None = None
    layers: int | None = None

    @property
    def key(self) -> Key:
        """Which training."""
        return Key(self.method, self.seed, self.split)


def task(job: Job, study: Study, scale: Scale, needed: Path | None) -> Task:
    """The task of a job; `needed` is the folder of the model that it needs."""
    return Task(
        method=job.key.method,
        seed=job.key.seed,
        split=job.key.split,
        title=job.method.title,
        place=job.place.resolve(),
        recipe=None if job.recipe is None else (job.place / RECIPE).resolve(),
        first=needed.resolve() if needed and job.method.first else None,
        of=needed.resolve() if needed and job.method.of else None,
        card=job.method.card,
        budget_s=job.budget_s,
        data=study.data_of(job.key.split),
        samples=scale.samples,
        findings=job.method.findings,
        naive=job.method.naive,
        speed=job.method.speed,
        domains=scale.domains,
        layers=scale.layers,
    )


class Extent(Protocol):
    """How much is measured, as a scale and a task both say."""

    @property
    def samples(self) -> int:
        """T."""

    @property
    def domains(self) -> int | None:
        """On at most so many of the data's domains."""

    @property
    def layers(self) -> int | None:
        """At most so many layers of every volume."""


def same_extent(trained: Trained, extent: Extent) -> bool:
    """Whether what was scored of a training is what is asked for."""
    return (trained.domains, trained.layers) == (extent.domains, extent.layers)


def measured(place: Path, key: Key, extent: Extent, *, naive: bool = False) -> Measured | None:
    """What was measured of the model in a folder; None where there is none, or where measuring again would differ.

    Raises:
        InputError: A file of the folder cannot be read, or is not the one that its card pins.
    """
    if not naive and not (place / CARD).is_file():
        return None
    found = read(place / MEASURED, key)
    if found is None or not same_extent(found.trained, extent):
        return None
    if naive:
        return found if all(row.code == code() for row in found.rows) else None
    model = find(str(place))
    wanted = (model.hash, code(), extent.samples if model.card.dropout else 1)
    return found if all((row.model_hash, row.code, row.samples) == wanted for row in found.rows) else None
