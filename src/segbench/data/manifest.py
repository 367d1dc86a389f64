"""Your own data: a manifest (TOML) names files of labelled images, their classes, split, licence and hashes.

Paths are relative to the manifest's folder, or to a root given at the call, and never lead out of it. A path
is a file, a folder of slices or a pattern (`slices/*.tif`). `manifest_load` reads what is named here, and
`manifest_check` proves that it all fits.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, StringConstraints, model_validator

from segbench.errors import InputError, UnknownNameError
from segbench.io import files_of
from segbench.io.location import locate
from segbench.recipe import Strict, read_toml

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
UNLABELLED = 255
"""Class index of voxels that nobody labelled, in arrays of labels; a manifest writes "ignore"."""


def _relative(path: str) -> str:
    parts = PurePosixPath(path)
    if not path.strip() or "\0" in path or "\\" in path or re.match(r"[A-Za-z]:", path):
        raise ValueError("write a relative path with forward slashes")
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"{path!r} leads out of the data folder: write a path below it")
    return str(parts)


def _index(value: object) -> object:
    if value == "ignore":
        return UNLABELLED
    if isinstance(value, str) or value == UNLABELLED:
        raise ValueError(f'{value!r} is no class index: a number from 0 to 254, or "ignore" for voxels without a label')
    return value


# A name becomes part of file names in the run folder.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
RelativePath = Annotated[str, AfterValidator(_relative)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Edge = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ClassIndex = Annotated[int, BeforeValidator(_index), Field(ge=0, le=UNLABELLED)]
Layer = Annotated[int, Field(ge=0)]


class Case(Strict):
    """One image with its label; `z` takes the slices from z[0] to z[1] - 1 of both files.

    With `slices` the label file holds only these slices of the image file, in this order, and all others are without a
    label; `z` then takes slices of the image alone.
    """

    name: Name
    split: Split
    image: RelativePath
    label: RelativePath
    image_sha256: Sha256 | None = None
    label_sha256: Sha256 | None = None
    z: tuple[int, int] | None = None
    slices: tuple[Layer, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.image == self.label:
            raise ValueError(f"case {self.name!r} has the same file as image and label")
        if self.z is not None and not 0 <= self.z[0] < self.z[1]:
            raise ValueError(f"case {self.name!r}: z = {list(self.z)} is no range [first, one past the last]")
        _distinct(f"slice of case {self.name!r}", [str(z) for z in self.slices or ()])
        first, last = self.z or (0, math.inf)
        outside = [z for z in self.slices or () if not first <= z < last]
        if outside:
            raise ValueError(f"case {self.name!r}: slice {outside[0]} has a label, but is not among z = {self.z}")
        return self


class Domain(Strict):
    """Cases of one material and scanner; `labels` maps a value in the label files to a class index or "ignore"."""

    name: Name
    labels: dict[int, ClassIndex] = Field(min_length=1)
    case: tuple[Case, ...] = Field(min_length=1)
    voxel_um: tuple[Edge, Edge, Edge] | None = None

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _distinct(f"case of domain {self.name!r}", [case.name for case in self.case])
        return self


class Manifest(Strict):
    """What is in a manifest file; `classes[i]` is the name of class i."""

    name: Name
    title: str = ""
    source: str
    licence: str
    use: Literal["check only", "train and check"]
    classes: tuple[str, ...] = Field(min_length=2, max_length=255)
    domain: tuple[Domain, ...] = Field(min_length=1)
    _path: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        _distinct("class", list(self.classes))
        _distinct("domain", [domain.name for domain in self.domain])
        for domain in self.domain:
            for value, index in domain.labels.items():
                if index != UNLABELLED and index >= len(self.classes):
                    raise ValueError(
                        f"domain {domain.name!r}: label {value} goes to class {index}, "
                        f"but there are {len(self.classes)} classes"
                    )
        everything = [(domain, case) for domain in self.domain for case in domain.case]
        for (domain, case), (other_domain, other) in combinations(everything, 2):
            here, there = locate(case.image), locate(other.image)
            # one file may hold several images, all under its hash
            same_hash = case.image_sha256 is not None and case.image_sha256 == other.image_sha256
            if (here == there or (same_hash and here.inner == there.inner)) and _overlap(case.z, other.z):
                raise ValueError(overlap(domain.name, case, other_domain.name, other))
        return self

    @property
    def path(self) -> Path | None:
        """The file it was read from."""
        return self._path

    def cases(self, root: Path | None = None, domain: str | None = None, split: str | None = None) -> list["Located"]:
        """Cases in the order of the file, with their paths below `root` (or the manifest's folder).

        Raises:
            InputError: An unknown domain or split, or a path that leads out of the root through a link.
        """
        names = [d.name for d in self.domain]
        if domain is not None and domain not in names:
            raise UnknownNameError("domain", domain, names)
        if split is not None and split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS)
        root = root if root is not None else self._path.parent if self._path else Path()
        if not root.is_dir():
            raise InputError(f"{root}: no such folder: give the folder that holds the data of {self.name!r}")
        return [
            Located(d, case, _below(root, case.image), _below(root, case.label), len(self.classes))
            for d in self.domain
            for case in d.case
            if domain in (None, d.name) and split in (None, case.split)
        ]


@dataclass(frozen=True)
class Located:
    """A case and where its files lie."""

    domain: Domain
    case: Case
    image: Path
    label: Path
    classes: int

    @property
    def slices(self) -> tuple[int, ...] | None:
        """Which slices of those that are taken of the image the label file holds; None: all."""
        first = self.case.z[0] if self.case.z else 0
        return None if self.case.slices is None else tuple(z - first for z in self.case.slices)


def read_manifest(path: str | Path) -> Manifest:
    """Reads a manifest; splits that share a file are refused already here.

    Raises:
        InputError: One line that names the file, the key and what is wrong with it.
    """
    manifest = read_toml(Path(path), Manifest)
    manifest._path = Path(path)
    return manifest


def overlap(domain: str, case: Case, other_domain: str, other: Case) -> str:
    """What to say of two cases that share slices."""
    pair = f"{domain}/{case.name} ({case.split}) and {other_domain}/{other.name} ({other.split})"
    fault = "splits overlap" if case.split != other.split else "the same image is named twice"
    shared = _shared(case.z, other.z) if case.image == other.image else ""
    return f"{fault}: {pair} share slices{shared} of their images: give each slice to one case"


def _shared(a: tuple[int, int] | None, b: tuple[int, int] | None) -> str:
    """Which slices two cases of one file share; nothing to say where both take all of them."""
    cuts = [cut for cut in (a, b) if cut is not None]
    return f" {max(cut[0] for cut in cuts)} to {min(cut[1] for cut in cuts) - 1}" if cuts else ""


def _overlap(a: tuple[int, int] | None, b: tuple[int, int] | None) -> bool:
    return a is None or b is None or (a[0] < b[1] and b[0] < a[1])


def _distinct(kind: str, names: list[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{kind} named twice: {', '.join(sorted(twice))}")


def _below(root: Path, relative: str) -> Path:
    """`root / relative`, unless a link on the way leads out of `root`."""
    path = root / relative
    for file in _files(path):
        try:
            inside = file.resolve().is_relative_to(root.resolve())
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise InputError(f"{path}: cannot be read ({error})") from error
        if not inside:
            raise InputError(f"{path}: a link leads out of {root}: put the file there, or give another root")
    return path


def _files(path: Path) -> Iterator[Path]:
    yield path
    try:
        yield from files_of(path)
    except InputError:
        return  # opening it says what is wrong
