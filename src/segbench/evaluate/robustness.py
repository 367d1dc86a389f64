"""Scans that get worse step by step, through the simulator: what a score does as one error of the scan grows.

Three domains of battery16, each degraded in one way at a time: noise, blur, ring artefacts, contrast of active
material and binder, voxel size, missing wedge. One level of each kind leaves the domain as it is. The specimen is
the same at every level and so is every other error of the scan, the voxel size's apart, whose specimen grows with
the voxel.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from skimage.transform import resize

from segbench.data import battery16, geometry, tomograph
from segbench.data.annotator import annotate
from segbench.data.case import Case, data_hash
from segbench.data.domains import DOMAINS, Domain
from segbench.data.workers import each
from segbench.errors import InputError
from segbench.evaluate.cases import ROBUSTNESS, Labelled, choose
from segbench.volume import Volume

PICKED = ("E35", "Electrode_III_2", "GCA2000")
"""A dense cell, flakes from few projections, and large spheres whose specimen ends in view."""

SIZE = 64
"""Edge of the volumes unless asked for otherwise: they are many."""


@dataclass(frozen=True)
class Kind:
    """One way in which a scan gets worse.

    Attributes:
        title: What it is.
        axis: What a level is, in words.
        levels: From mild to bad; `unchanged` is one of them.
        unchanged: The level that leaves the scan as it is.
    """

    title: str
    axis: str
    levels: tuple[float, ...]
    unchanged: float = 1.0


KINDS: dict[str, Kind] = {
    "noise": Kind("Noise", "photon noise, times the domain's", (0.5, 1.0, 1.5, 2.0, 3.0)),
    "blur": Kind("Blur", "detector's point spread, times the domain's", (1.0, 1.5, 2.0, 3.0, 4.0)),
    "rings": Kind("Ring artefacts", "gain error of detector pixels, times the domain's", (0.0, 1.0, 10.0, 20.0, 40.0)),
    "contrast": Kind("Contrast", "active material to binder, share of the domain's", (1.0, 0.8, 0.6, 0.4, 0.2)),
    "voxel-size": Kind("Voxel size", "edge of a voxel, times the domain's", (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)),
    "wedge": Kind("Missing wedge", "degrees covered, of 180", (180.0, 150.0, 120.0, 90.0, 60.0), 180.0),
}


def degrade(domain: Domain, kind: str, level: float, size: int = SIZE, seed: int = 0) -> Case:
    """A case of `domain` with about size^3 voxels, degraded; a pure function of its arguments.

    Raises:
        InputError: A level at which the simulator has no scan, or a volume that is too small for it.
    """
    scan, specimen = domain.scan, domain.geometry
    if kind == "voxel-size":
        return _resampled(_make_case(domain, round(size * level), seed), size)
    if kind == "noise":
        scan = replace(scan, noise=scan.noise * level)
    elif kind == "blur":
        scan = replace(scan, blur=scan.blur * level)
    elif kind == "rings":
        scan = replace(scan, rings=scan.rings * level)
    elif kind == "wedge":
        scan = replace(scan, wedge=level)
    elif kind == "contrast":
        grey = specimen.binder_grey
        specimen = replace(specimen, binder_grey=grey + (1 - level) * (1 - grey))
    else:
        raise InputError(f"unknown degradation {kind!r}; known: {', '.join(KINDS)}")
    return _make_case(replace(domain, scan=scan, geometry=specimen), size, seed)


def _make_case(domain: Domain, size: int, seed: int) -> Case:
    """The specimen of battery16, scanned with photons from a generator of their own: levels differ in nothing else."""
    if size < battery16.SMALLEST:
        raise InputError(f"size {size} is too small for {ROBUSTNESS}: at least {battery16.SMALLEST} voxels")
    name = zlib.crc32(domain.name.encode())
    packing, scanning, labelling, shot = (np.random.default_rng([seed, size, name, part]) for part in range(4))
    specimen = geometry.build(domain.geometry, size, packing)
    image = tomograph.scan(specimen.attenuation, size, domain.scan, scanning, shot)
    return Case(domain.name, image, specimen.truth, annotate(image, specimen.truth, domain.annotator, labelling))


def _resampled(case: Case, size: int) -> Case:
    """The same specimen in size^3 voxels; finer voxels are interpolated, coarser ones are averages."""
    if len(case.image) == size:
        return case

    def voxels(array: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        out: npt.NDArray[np.float64] = resize(
            array.astype(np.float64), (size,) * 3, order=1, mode="edge", anti_aliasing=len(array) > size
        )
        return out

    image = voxels(case.image).astype(np.float32)
    truth, label = ((voxels(part) > 0.5).astype(np.uint8) for part in (case.truth, case.label))
    return Case(case.domain, image, truth, label)


@dataclass(frozen=True, eq=False)
class Degraded:
    """All levels of the chosen kinds as a data set: a kind is its domain, "level/domain" its case.

    Attributes:
        domains: Chosen kinds.
        size: Edge of the volumes.
        made: Volumes that `prepare` made, by kind, level and domain.
    """

    domains: tuple[str, ...]
    size: int = SIZE
    name: str = ROBUSTNESS
    classes: tuple[str, ...] = battery16.CLASSES
    note: str = f"simulated scans of {', '.join(PICKED)} that get worse step by step; not measured data"
    made: dict[tuple[str, float, str], Case] = field(default_factory=dict)

    def prepare(self, progress: battery16.Progress | None = None) -> None:
        """Makes all volumes, in worker processes."""
        wanted = [
            (kind, level, name, self.size)
            for kind in self.domains
            for level in KINDS[kind].levels
            for name in PICKED
            if (kind, level, name) not in self.made
        ]
        for done, (key, case) in enumerate(each(_make, wanted), start=1):
            self.made[key] = case
            if progress is not None:
                progress(done, len(wanted), f"{key[0]} {key[1]:g}")

    def cases(self, domain: str) -> Iterator[Labelled]:
        """Every level of one kind, in every picked domain."""
        self.prepare()
        for level in KINDS[domain].levels:
            for name in PICKED:
                case = self.made[domain, level, name]
                volume = Volume(case.image, source=f"{ROBUSTNESS}/{domain}/{level:g}/{name}")
                named = case_name(level, name)
                yield Labelled(self.name, domain, named, volume, case.truth, case.label, data_hash(case))


def degraded(kinds: str = "all", size: int = SIZE) -> Degraded:
    """The data set "robustness" with the kinds that `kinds` chooses.

    Raises:
        UnknownNameError: No such kind.
        InputError: The simulator makes no volumes as small as its smallest level needs.
    """
    chosen = choose(kinds, list(KINDS))
    least = min(1.0, *KINDS["voxel-size"].levels) if "voxel-size" in chosen else 1.0
    if round(size * least) < battery16.SMALLEST:
        raise InputError(f"size {size} is too small for {ROBUSTNESS}: at least {round(battery16.SMALLEST / least)}")
    return Degraded(chosen, size)


def case_name(level: float, domain: str) -> str:
    """Name of a row's case."""
    return f"{level:g}/{domain}"


def level_of(case: str) -> float:
    """The level in a row's case."""
    return float(case.split("/", maxsplit=1)[0])


def _make(kind: str, level: float, name: str, size: int) -> tuple[tuple[str, float, str], Case]:
    return (kind, level, name), degrade(DOMAINS[name], kind, level, size)
