"""Labelled volumes to evaluate on, whether simulated or a user's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Protocol

from segbench.data import battery16
from segbench.data.domains import DOMAINS
from segbench.data.manifest import Manifest, read_manifest
from segbench.data.manifest_load import load_case
from segbench.errors import InputError, UnknownNameError
from segbench.volume import UInt8, Volume

BATTERY16, ROBUSTNESS = "battery16", "robustness"


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
    """

    data: str
    domain: str
    name: str
    image: Volume
    truth: UInt8 | None
    human: UInt8
    hash: str
    stack: bool = False

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
        name: battery16, or the manifest's.
        classes: Names in the order of their index.
        domains: Chosen ones, in the set's order.
        note: What the set is, in a sentence.
        manifest: None for battery16.
        root: Folder of the manifest's files.
        size: Edge of a simulated volume.
    """

    name: str
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    note: str
    manifest: Manifest | None = None
    root: Path | None = None
    size: int = 96

    def prepare(self, progress: battery16.Progress | None = None) -> None:
        """Makes simulated volumes that are not in the cache yet."""
        if self.manifest is None:
            battery16.load(self.domains, self.size, progress=progress)

    def __iter__(self) -> Iterator[Labelled]:
        for domain in self.domains:
            yield from self.cases(domain)

    def cases(self, domain: str) -> Iterator[Labelled]:
        """The cases of one domain; of a manifest those of split "test"."""
        if self.manifest is None:
            case = battery16.load([domain], self.size)[0]
            volume = Volume(case.image, source=f"{BATTERY16}/{domain}")
            yield Labelled(self.name, domain, domain, volume, case.truth, case.label, battery16.data_hash(case))
            return
        for located in self.manifest.cases(self.root, domain, "test"):
            loaded = load_case(located)
            yield Labelled(self.name, domain, loaded.name, loaded.image, None, loaded.label, loaded.sha256)


def open_data(data: str, domain: str = "all", root: Path | None = None, size: int = 96) -> DataSet:
    """The data set `data`, battery16 or a manifest's file, with the domains that `domain` chooses.

    Raises:
        UnknownNameError: No such data set or domain.
        InputError: The manifest is wrong, or has no test cases.
    """
    if data == BATTERY16:
        note = "simulated stand-ins named after the domains of the Sandia study; not measured data"
        return DataSet(data, battery16.CLASSES, choose(domain, list(DOMAINS)), note, size=size)
    path = Path(data)
    if path.suffix != ".toml":
        raise UnknownNameError("data set", data, [BATTERY16, ROBUSTNESS, "a manifest FILE.toml"])
    manifest = read_manifest(path)
    there = [d.name for d in manifest.domain if any(case.split == "test" for case in d.case)]
    if not there:
        raise InputError(f'{path}: no case has split = "test", so there is nothing to evaluate on')
    said = (manifest.title, manifest.source, f"licence: {manifest.licence}", f"use: {manifest.use}")
    note = "; ".join(part for part in said if part)
    return DataSet(manifest.name, manifest.classes, choose(domain, there), note, manifest, root or path.parent)


def made_by(data: str) -> dict[str, str]:
    """Version of the simulator that made a data set, by its name; nothing for measured data."""
    return {"battery16": str(battery16.GENERATOR_VERSION)} if data in (BATTERY16, ROBUSTNESS) else {}


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
