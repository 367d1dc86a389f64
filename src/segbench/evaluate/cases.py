"""Labelled volumes to evaluate on, whether simulated or a user's own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Protocol

from segbench.data import battery16, fib, fibre
from segbench.data.case import Case, array_hash, data_hash
from segbench.data.domains import DOMAINS
from segbench.data.fib.split import middle_trained
from segbench.data.manifest import UNLABELLED, Manifest, read_manifest
from segbench.data.manifest_load import load_case
from segbench.errors import InputError, UnknownNameError
from segbench.evaluate.baselines import LabelledSlice
from segbench.volume import UInt8, Volume

BATTERY16, ROBUSTNESS, FIB, FIB_PAPER = "battery16", "robustness", "battery-fib", "battery-fib-paper"
FIBRE = "fibre-composite"
PAPER = "paper"
"""The only domain of battery-fib-paper."""
_MADE = {
    BATTERY16: ("battery16", battery16.GENERATOR_VERSION),
    ROBUSTNESS: ("battery16", battery16.GENERATOR_VERSION),
    FIB: ("battery-fib", fib.FIB_VERSION),
    FIB_PAPER: ("battery-fib", fib.FIB_VERSION),
    FIBRE: ("fibre-composite", fibre.FIBRE_VERSION),
}
SIMULATED = tuple(_MADE)
"""Data sets that are made, not measured."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """One volume with what it is compared to; label arrays are uint8 (Z, Y, X).

    Attributes:
        data: Name of the data set.
        domain: The volume's domain.
        name: Of the case within its domain.
        image: Grey values.
        truth: The true phases; None where only a person knows.
        human: A human's labels, or human-like ones.
        hash: Of image and labels.
        stack: Its slices are images of their own: a row's blocks are these slices, one each, against the human label,
            which is what such a set is trained on and scored by.
        shown: The labelled slice that a forest may learn from; None: the middle one of this volume.
        training: The whole part of its data set that is trained on, for methods that learn from all of it; None where
            the data set does not say.
    """

    data: str
    domain: str
    name: str
    image: Volume
    truth: UInt8 | None
    human: UInt8
    hash: str
    stack: bool = False
    shown: LabelledSlice | None = None
    training: LabelledSlice | None = None

    @property
    def against(self) -> Literal["truth", "human"]:
        """What blocks, places and the scores of note are against."""
        return "human" if self.truth is None or self.stack else "truth"

    @property
    def reference(self) -> UInt8:
        """The labels of that name."""
        return self.human if self.truth is None or self.stack else self.truth


class Source(Protocol):
    """What can be evaluated on: named classes, and domains whose cases are loaded one domain at a time."""

    @property
    def name(self) -> str:
        """Of the data set."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of their index."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Chosen ones."""

    @property
    def note(self) -> str:
        """What the set is, in a sentence."""

    def prepare(self, progress: battery16.Progress | None = None) -> None:
        """Makes what has to be made."""

    def cases(self, domain: str) -> Iterator[Labelled]:
        """The cases of one domain."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set with its domains; cases are loaded one domain at a time.

    Attributes:
        name: Of the data set: one of `SIMULATED`, or the manifest's.
        classes: Names in the order of their index.
        domains: Chosen ones, in the set's order.
        note: What the set is, in a sentence.
        load: The cases of a domain.
        make: Makes simulated volumes that are not in the cache yet; None for measured ones.
    """

    name: str
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    note: str
    load: Callable[[str], Iterator[Labelled]]
    make: Callable[[battery16.Progress | None], object] | None = None

    def prepare(self, progress: battery16.Progress | None = None) -> None:
        """Makes simulated volumes that are not in the cache yet."""
        if self.make is not None:
            self.make(progress)

    def __iter__(self) -> Iterator[Labelled]:
        for domain in self.domains:
            yield from self.cases(domain)

    def cases(self, domain: str) -> Iterator[Labelled]:
        """The cases of one domain; of a manifest those of split "test"."""
        return self.load(domain)


def open_data(data: str, domain: str = "all", root: Path | None = None, size: int = 96) -> DataSet:
    """The data set `data`, a simulated one or a manifest's file, with the domains that `domain` chooses.

    Args:
        data: battery16, battery-fib, battery-fib-paper, fibre-composite, or FILE.toml.
        domain: As for `choose`.
        root: Folder of a manifest's files; the manifest's own by default.
        size: Edge of a volume of battery16; the others have a size of their own.

    Raises:
        UnknownNameError: No such data set or domain.
        InputError: The manifest is wrong, or has no test cases.
    """
    if data == BATTERY16:
        return _battery16(choose(domain, list(DOMAINS)), size)
    if data == FIB:
        return _fib(choose(domain, fib.DOMAINS))
    if data == FIB_PAPER:
        return _fib_paper(choose(domain, [PAPER]))
    if data == FIBRE:
        return _fibre(choose(domain, fibre.DOMAINS))
    path = Path(data)
    if path.suffix != ".toml":
        raise UnknownNameError("data set", data, [*SIMULATED, "a manifest FILE.toml"])
    return _measured(path, domain, root)


def _battery16(domains: tuple[str, ...], size: int) -> DataSet:
    def load(domain: str) -> Iterator[Labelled]:
        case = battery16.load([domain], size)[0]
        volume = Volume(case.image, source=f"{BATTERY16}/{domain}")
        yield Labelled(BATTERY16, domain, domain, volume, case.truth, case.label, data_hash(case))

    note = "simulated stand-ins named after the domains of the Sandia study; not measured data"
    return DataSet(
        BATTERY16, battery16.CLASSES, domains, note, load, lambda told: battery16.load(domains, size, progress=told)
    )


def _fib(domains: tuple[str, ...]) -> DataSet:
    def make(progress: battery16.Progress | None) -> None:
        for domain in domains:
            fib.load(domain, progress=progress)

    note = "simulated slices after the MatPhase study, split by depth without near-duplicates; not measured data"
    return DataSet(FIB, fib.CLASSES, domains, note, lambda domain: _slices(FIB, domain, domain, "clean"), make)


def _fib_paper(domains: tuple[str, ...]) -> DataSet:
    def make(progress: battery16.Progress | None) -> None:
        fib.load(progress=progress)

    note = "simulated slices after the MatPhase study, split as there: trained and tested on neighbours; not measured"
    return DataSet(
        FIB_PAPER, fib.CLASSES, domains, note, lambda domain: _slices(FIB_PAPER, domain, "clean", "paper"), make
    )


def _slices(data: str, domain: str, volume: str, split: fib.SplitName) -> Iterator[Labelled]:
    """The test images of a volume of battery-fib, as a stack of images of their own; the forest sees a trained one."""
    parts = fib.split(fib.load(volume), split)
    test, trained = parts.test, middle_trained(parts.train)
    shown = LabelledSlice(trained.image, 0, trained.label[0])
    hash_ = data_hash(Case(domain, test.image, test.truth, test.label))
    image = Volume(test.image, source=f"{data}/{domain}")
    yield Labelled(data, domain, domain, image, test.truth, test.label, hash_, stack=True, shown=shown)


def _fibre(domains: tuple[str, ...]) -> DataSet:
    def make(progress: battery16.Progress | None) -> None:
        for domain in domains:
            fibre.load(domain, progress=progress)

    note = "simulated glass fibres in a polymer after the tomo2seg study; test layers apart from others; not measured"
    return DataSet(FIBRE, fibre.CLASSES, domains, note, _layers, make)


def _layers(domain: str) -> Iterator[Labelled]:
    """The test layers of a volume of fibre-composite; the forest sees a trained one, among those around it."""
    parts = fibre.split(fibre.load(domain))
    test, trained = parts.test, parts.train
    shown = LabelledSlice(trained.image, trained.middle, trained.label[trained.middle])
    image = Volume(test.image, source=f"{FIBRE}/{domain}")
    hash_ = array_hash((test.image, test.label))
    training = LabelledSlice(trained.image, tuple(range(len(trained.image))), trained.label)
    yield Labelled(FIBRE, domain, domain, image, test.label, test.label, hash_, shown=shown, training=training)


def _measured(path: Path, domain: str, root: Path | None) -> DataSet:
    manifest = read_manifest(path)
    there = [d.name for d in manifest.domain if any(case.split == "test" for case in d.case)]
    if not there:
        raise InputError(f'{path}: no case has split = "test", so there is nothing to evaluate on')
    said = (manifest.title, manifest.source, f"licence: {manifest.licence}", f"use: {manifest.use}")
    note = "; ".join(part for part in said if part)
    domains = choose(domain, there)
    return DataSet(
        manifest.name, manifest.classes, domains, note, lambda name: _located(manifest, root or path.parent, name)
    )


def _located(manifest: Manifest, root: Path, domain: str) -> Iterator[Labelled]:
    for located in manifest.cases(root, domain, "test"):
        loaded = load_case(located)
        if (loaded.label == UNLABELLED).any():
            raise InputError(
                f"{located.label}: has voxels without a label, and an evaluation scores all of a case: give it slices "
                "that are labelled throughout, by z"
            )
        yield Labelled(manifest.name, domain, loaded.name, loaded.image, None, loaded.label, loaded.sha256)


def made_by(data: str) -> dict[str, str]:
    """Version of the simulator that made a data set, by its name; nothing for measured data."""
    if data not in _MADE:
        return {}
    simulator, version = _MADE[data]
    return {simulator: str(version)}


def version_of(data: str) -> int | None:
    """The number of the simulator's version that makes a data set; None for measured data."""
    return _MADE[data][1] if data in _MADE else None


def choose(wanted: str, known: Sequence[str]) -> tuple[str, ...]:
    """Names out of `known`, in its order: "all", a name, a pattern such as "Electrode_I*", or several with commas.

    Raises:
        UnknownNameError: A part matches nothing.
    """
    chosen: set[str] = set()
    for part in (piece.strip() for piece in wanted.split(",")):
        found = known if part == "all" else [name for name in known if fnmatchcase(name, part)]
        if not found:
            raise UnknownNameError("domain", part, known)
        chosen.update(found)
    return tuple(name for name in known if name in chosen)
