"""The volumes that a recipe trains on: made once, cached, normalised."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segbench.data import battery16
from segbench.data import cache as disk
from segbench.data.domains import DOMAINS, Domain
from segbench.data.phantom import phantom
from segbench.data.randomisation import Family, random_domain
from segbench.data.workers import each
from segbench.errors import InputError, UnknownNameError
from segbench.normalisation import Normalisation, fit
from segbench.volume import Float32, UInt8, Volume

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Sample:
    """A volume to learn from or to validate on: normalised image and label, both (Z, Y, X).

    Attributes:
        domain: What it is, in a word.
        image: Normalised.
        label: Classes; `manifest.UNLABELLED` where there is none.
        labelled: Indices into the flat label of the voxels that have one, to draw crops around; None: all have.
    """

    domain: str
    image: Float32
    label: UInt8
    labelled: npt.NDArray[np.int64] | None = None


Plan = tuple[tuple[Domain, int], ...]
"""Which volumes: domains with their seeds."""


def cache() -> Path:
    """Where training volumes are kept between runs."""
    return disk.home() / "training" / str(battery16.GENERATOR_VERSION)


def plan(
    domains: tuple[str, ...], per_domain: int, randomised: int, first_seed: int, wide: tuple[Family, ...] = ()
) -> Plan:
    """Named domains first, randomised ones after; seeds count up from `first_seed`, which is never 0.

    Raises:
        UnknownNameError: A domain is not one of the sixteen.
    """
    for name in domains:
        if name not in DOMAINS:
            raise UnknownNameError("domain", name, DOMAINS)
    named = [DOMAINS[name] for name in domains for _ in range(per_domain)]
    drawn = [
        random_domain(np.random.default_rng([first_seed, number, zlib.crc32(b"randomised")]), wide)
        for number in range(randomised)
    ]
    return tuple((domain, first_seed + number) for number, domain in enumerate([*named, *drawn]))


def _make(domain: Domain, size: int, seed: int, path: Path) -> str:
    disk.write(path, battery16.make_case(domain, size, seed))
    return domain.name


def make(wanted: Plan, size: int, folder: Path, progress: Progress | None = None) -> list[Path]:
    """Makes the volumes of a plan in worker processes, as files that a resumed run finds again."""
    paths = [folder / f"{size}-{seed:06d}-{zlib.crc32(repr(domain).encode()):08x}.npz" for domain, seed in wanted]
    missing = [(d, size, seed, path) for (d, seed), path in zip(wanted, paths, strict=True) if not path.exists()]
    before = len(paths) - len(missing)
    for done, name in enumerate(each(_make, missing), start=before + 1):
        if progress is not None:
            progress(done, len(paths), name)
    return paths


def read(path: Path, domain: str, normalisation: Normalisation, labels: str) -> Sample:
    """One volume of a pool, normalised; `labels` is "truth" or "human"."""
    case = disk.read(path)
    if case is None:
        path.unlink(missing_ok=True)
        raise InputError(f"{path}: the training volume was damaged and is removed; start again to make it anew")
    scaled = fit(normalisation, Volume(case.image, source=str(path)))(case.image)
    return Sample(domain, scaled, case.truth if labels == "truth" else case.label)


def phantoms(count: int, normalisation: Normalisation) -> list[Sample]:
    """The first `count` phantoms, normalised: volumes of another simulator, to validate on."""
    drawn = (phantom(number) for number in range(count))
    return [Sample(p.name, fit(normalisation, Volume(p.image, source=p.name))(p.image), p.truth) for p in drawn]
