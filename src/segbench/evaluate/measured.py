"""What a study measured of one training: rows, how it was trained, what its errors look like; where that is kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segbench.evaluate.findings import Findings
from segbench.evaluate.methods import Method, Scale, SplitName, Study
from segbench.io import check_output_folder, write_bytes
from segbench.recipe import Strict, read_json
from segbench.resources import folder
from segbench.rows import Row, read_rows, write_rows
from segbench.zoo.card import Card

ROWS, TRAINED, FINDINGS, SPEED = "rows.json", "trained.json", "findings.json", "speed.json"
SCALES = ("full", "cpu")
"""Scales whose rows are stored, the one that is shown first."""


@dataclass(frozen=True, order=True)
class Key:
    """One training of a study."""

    method: str
    seed: int
    split: SplitName = "clean"

    def __str__(self) -> str:
        return f"{self.method}-{self.seed}" + ("" if self.split == "clean" else f"-{self.split}")


class Trained(Strict):
    """How a model came about, as its card says.

    Attributes:
        method: Of the study.
        seed: Of the training.
        split: That it was trained on.
        parameters: Of all its networks.
        steps: Optimiser steps.
        processor_s: Processor seconds of the training; None where the card does not say.
        budget_s: Processor seconds that it was allowed; None for no limit.
        device: That trained it.
        recipe_sha256: Of its recipe; None of a method without a network.
        inputs: Digest of all that it was made of, its first network and the data among them; None where unknown.
        domains: On at most so many of the data's domains it was scored; None for all.
        layers: At most so many layers of every volume were scored; None for all.
    """

    method: str
    seed: int
    split: SplitName
    parameters: int
    steps: int
    processor_s: float | None
    budget_s: float | None
    device: str
    recipe_sha256: str | None
    inputs: str | None = None
    domains: int | None = None
    layers: int | None = None


class Speed(Strict):
    """How fast a model is, in processor time, which other work beside it changes little.

    Attributes:
        voxels: Useful ones, without halo.
        single_s: Processor seconds of one pass without dropout.
        sampled_s: Of all samples.
        samples: T.
        engine: That ran it.
        device: That it ran on.
    """

    voxels: int
    single_s: float
    sampled_s: float
    samples: int
    engine: str
    device: str

    @property
    def single(self) -> float:
        """Mvoxel a second, one pass."""
        return self.voxels / self.single_s / 1e6

    @property
    def sampled(self) -> float:
        """Mvoxel a second, T samples."""
        return self.voxels / self.sampled_s / 1e6


@dataclass(frozen=True)
class Measured:
    """Rows of one training, with what else is known of it."""

    key: Key
    rows: tuple[Row, ...]
    trained: Trained
    findings: Findings | None = None
    speed: Speed | None = None

    def of(self, domain: str) -> Row | None:
        """The row of a domain."""
        return next((row for row in self.rows if row.domain == domain), None)


@dataclass(frozen=True)
class Collection:
    """Everything that was measured at one scale.

    Attributes:
        study: Whose methods.
        scale: Its name.
        found: By key.
        failed: Why there is no model, by key.
    """

    study: Study
    scale: str
    found: dict[Key, Measured] = field(default_factory=dict)
    failed: dict[Key, str] = field(default_factory=dict)

    def of(self, method: str, split: SplitName = "clean") -> tuple[Measured, ...]:
        """All trainings of a method on a split, by seed."""
        return tuple(self.found[key] for key in sorted(self.found) if (key.method, key.split) == (method, split))

    def why_not(self, method: str, split: SplitName = "clean") -> str | None:
        """Why a method has no model; None where none has failed."""
        keys = [key for key in sorted(self.failed) if (key.method, key.split) == (method, split)]
        return self.failed[keys[0]] if keys else None


def keys(study: Study, scale: Scale, methods: Iterable[Method]) -> list[Key]:
    """The trainings of these methods at a scale, those that others need first, with the seeds that those have."""
    names = {method.name for method in methods}
    wanted: dict[tuple[str, SplitName], list[int]] = {}
    for method in reversed(study.method):
        if method.name not in names:
            continue
        for split in scale.splits:
            own = method.seeds_on(split)[: scale.seeds]
            seeds = sorted({*own, *wanted.get((method.name, split), ())})
            wanted[method.name, split] = seeds
            if needed := method.of or method.first:
                wanted[needed, split] = [*wanted.get((needed, split), ()), *seeds]
    return [
        Key(method.name, seed, split)
        for method in study.method
        if method.name in names
        for split in scale.splits
        for seed in wanted[method.name, split]
    ]


def trained(key: Key, card: Card, budget_s: float | None, domains: int | None, layers: int | None) -> Trained:
    """What a card says of a training, and of how many domains and layers of each it was scored."""
    local = card.cascade.parameters if card.cascade else 0
    return Trained(
        method=key.method,
        seed=key.seed,
        split=key.split,
        parameters=card.network.parameters + local,
        steps=card.training.steps,
        processor_s=card.training.processor_s,
        budget_s=budget_s,
        device=card.training.device,
        recipe_sha256=card.training.recipe_sha256,
        domains=domains,
        layers=layers,
    )


def stored_place(name: str, scale: str) -> Path:
    """The folder of what a study measured at a scale."""
    return folder("evaluate") / "results" / f"{name}-{scale}"


def write(place: Path, measured: Measured) -> None:
    """Writes rows, training and findings into a folder, the rows last: they say that all of it is there."""
    check_output_folder(place)
    write_bytes(place / TRAINED, measured.trained.model_dump_json(indent=1) + "\n")
    if measured.findings is not None:
        write_bytes(place / FINDINGS, measured.findings.model_dump_json() + "\n")
    if measured.speed is not None:
        write_bytes(place / SPEED, measured.speed.model_dump_json(indent=1) + "\n")
    write_rows(place / ROWS, measured.rows)


def read(place: Path, key: Key) -> Measured | None:
    """What a folder holds of a training; None where it holds no rows.

    Raises:
        InputError: A file is there and cannot be read.
    """
    if not (place / ROWS).is_file():
        return None
    findings = read_json(place / FINDINGS, Findings) if (place / FINDINGS).is_file() else None
    speed = read_json(place / SPEED, Speed) if (place / SPEED).is_file() else None
    return Measured(key, read_rows(place / ROWS), read_json(place / TRAINED, Trained), findings, speed)


def compact(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows as they are kept: without curves, which no table of a study reads."""
    return tuple(row.model_copy(update={"curves": {}}) for row in rows)


def read_stored(name: str, study: Study) -> Collection:
    """What is stored of a study, at the larger scale of which anything is."""
    for scale in SCALES:
        place = stored_place(name, scale)
        wanted = keys(study, study.scale_named(scale), study.method) if scale in study.scale else []
        found = {key: one for key in wanted if (one := read(place / str(key), key)) is not None}
        if found:
            return Collection(study, scale, found)
    return Collection(study, SCALES[-1])
