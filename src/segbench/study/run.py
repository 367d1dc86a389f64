"""Tables' methods at a scale: what is missing is trained and measured, all of it is collected."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from segbench.errors import InputError
from segbench.evaluate.cases import open_data
from segbench.evaluate.definitions import TableDefinition
from segbench.evaluate.measured import Collection, Key, Measured, read, stored_place, write
from segbench.evaluate.methods import Scale, Study, study
from segbench.evaluate.source import code
from segbench.hardware import cores
from segbench.io import check_output_folder, write_bytes
from segbench.study.plan import Job, plan
from segbench.study.pool import DONE, work
from segbench.study.process import Workers
from segbench.study.task import RECIPE, Task, measured, same_extent, task
from segbench.zoo import CARD


class Trainer(Protocol):
    """What trains and measures one task, and can end all that it is doing; `Workers` is the one."""

    def run(self, task: Task, share: Callable[[float], None]) -> None:
        """Does one task."""

    def stop(self) -> None:
        """Ends all."""


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        study: Its name.
        tables: Whose methods.
        scale: By name.
        root: Folder of the models; None for runs/STUDY-SCALE.
        side_by_side: Trainings at a time; None for as many as there are cores.
    """

    study: str
    tables: tuple[TableDefinition, ...]
    scale: str
    root: Path | None = None
    side_by_side: int | None = None

    @property
    def place(self) -> Path:
        """The folder of the models."""
        return self.root or Path("runs") / f"{self.study}-{self.scale}"


@dataclass(frozen=True)
class Telling:
    """What is called meanwhile: all in the main thread but `share`.

    Attributes:
        begun: With all jobs that have to be done.
        making: As data is made: (done, of, name).
        share: With a key and the share of its work that is done.
        ended: With a key, and `DONE` or why it failed.
    """

    begun: Callable[[Sequence[Key]], None] = lambda keys: None
    making: Callable[[int, int, str], None] = lambda done, of, name: None
    share: Callable[[Key, float], None] = lambda key, share: None
    ended: Callable[[Key, str], None] = lambda key, how: None


def run(asked: Asked, telling: Telling | None = None, trainer: Trainer | None = None) -> Collection:
    """Trains and measures what is missing.

    A finished model is kept, an unfinished one goes on from its checkpoint; a training that fails is said, the others
    go on. Rows of scales that may be stored are, in `evaluate/results` of the checkout.

    Args:
        asked: What for.
        telling: What is called meanwhile.
        trainer: What does a task; worker processes by default.

    Raises:
        InputError: A definition or recipe is wrong, or there is no such scale.
        OutputError: The folder cannot be written.
    """
    telling, trainer = telling or Telling(), trainer or Workers()
    defined = study(asked.study)
    scale = defined.scale_named(asked.scale)
    methods = defined.with_needs([line.method for table in asked.tables for line in table.line])
    jobs = plan(defined, scale, methods, check_output_folder(asked.place))
    kept = {job.key: one for job in jobs if (one := _kept(job, jobs, asked, scale)) is not None}
    todo = _missing(jobs, kept)
    telling.begun([job.key for job in todo])
    if todo:
        _prepare(defined, todo, telling)
    places = {job.key: job.place for job in jobs}

    def do(job: Job) -> None:
        if job.fault is not None:
            raise InputError(job.fault)
        if job.recipe is not None:
            write_bytes(check_output_folder(job.place) / RECIPE, job.recipe)
        needed = places[job.needs] if job.needs else None
        trainer.run(task(job, defined, scale, needed), lambda share: telling.share(job.key, share))

    collected: dict[Key, Measured] = {}

    def keep(key: Key, one: Measured) -> None:
        collected[key] = one
        if scale.stored:  # as soon as it is there: a study that is interrupted leaves the rows of what was done
            write(stored_place(asked.study, asked.scale) / str(key), one)

    def ended(job: Job, how: str) -> None:
        if how == DONE and (one := _measured(job, scale)) is not None:
            keep(job.key, one)
        telling.ended(job.key, how)

    for key, one in kept.items():
        keep(key, one)
    failed = work(todo, do, asked.side_by_side or cores(), ended, trainer.stop)
    return Collection(defined, asked.scale, collected, failed)


def places(asked: Asked) -> dict[Key, Path]:
    """Folders of finished models by key."""
    defined = study(asked.study)
    methods = defined.with_needs([line.method for table in asked.tables for line in table.line])
    jobs = plan(defined, defined.scale_named(asked.scale), methods, asked.place)
    return {job.key: job.place for job in jobs if (job.place / CARD).is_file()}


def _kept(job: Job, jobs: Sequence[Job], asked: Asked, scale: Scale) -> Measured | None:
    """What was measured of a job before: of its model, or stored rows of this very recipe, budget, T and layers.

    The model of stored rows need not be here.
    """
    found = _measured(job, scale)
    if found is not None or not scale.stored:
        return found
    stored = read(stored_place(asked.study, asked.scale) / str(job.key), job.key)
    origin = job
    while origin.method.of is not None:
        origin = next(other for other in jobs if other.key == origin.needs)
    if stored is None or stored.trained.recipe_sha256 != origin.recipe_sha256:
        return None
    if stored.trained.inputs not in (None, job.digest) or not same_extent(stored.trained, scale):
        return None  # inputs None: of before they were written down
    sound = stored.trained.budget_s == job.budget_s and all(row.samples in (1, scale.samples) for row in stored.rows)
    if job.method.naive is not None:
        sound = all(row.code == code() for row in stored.rows)
    return stored if sound else None


def _measured(job: Job, scale: Scale) -> Measured | None:
    """What was measured of the model in a job's folder, which is named by all that it was made of."""
    found = measured(job.place, job.key, scale, naive=job.method.naive is not None)
    return found and replace(found, trained=found.trained.model_copy(update={"inputs": job.digest}))


def _missing(jobs: Sequence[Job], kept: dict[Key, Measured]) -> list[Job]:
    """Jobs without stored rows, and those whose models they need; all in order."""
    there = {job.key for job in jobs if job.key in kept and (job.place / CARD).is_file()}
    wanted: set[Key] = set()
    for job in reversed(jobs):
        if job.key not in kept:
            wanted.add(job.key)
        if job.key in wanted and job.needs is not None and job.needs not in there:
            wanted.add(job.needs)
    return [job for job in jobs if job.key in wanted]


def _prepare(defined: Study, todo: Sequence[Job], telling: Telling) -> None:
    """Makes the data once, before several processes would."""
    for split in dict.fromkeys(job.key.split for job in todo):
        open_data(defined.data_of(split)).prepare(telling.making)
