"""The embedded benchmark: sixteen simulated battery scans, each a pure function of (domain, size, seed)."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from segbench.data import cache as disk
from segbench.data import geometry, tomograph
from segbench.data.annotator import annotate
from segbench.data.case import CLASSES, Case, data_hash
from segbench.data.domains import DOMAINS, Domain
from segbench.data.workers import each
from segbench.errors import InputError, UnknownNameError

__all__ = ["CLASSES", "GENERATOR_VERSION", "SMALLEST", "Case", "data_hash", "load", "make_case"]

GENERATOR_VERSION = 5
"""Bumped whenever an array would change; part of the cache's path."""

SMALLEST = 32
"""Least width of a volume, in voxels."""

Progress = Callable[[int, int, str], None]


def make_case(domain: Domain, size: int = 96, seed: int = 0) -> Case:
    """Simulate one volume of size^3 voxels; the same arguments give the same bits."""
    _check(size, seed)
    name = zlib.crc32(domain.name.encode())
    packing, scanning, labelling = (np.random.default_rng([seed, size, name, part]) for part in range(3))
    specimen = geometry.build(domain.geometry, size, packing)
    image = tomograph.scan(specimen.attenuation, size, domain.scan, scanning)
    label = annotate(image, specimen.truth, domain.annotator, labelling)
    return Case(domain.name, image, specimen.truth, label)


def load(
    names: Iterable[str],
    size: int = 96,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> list[Case]:
    """Cases of the named domains, in the order asked for; made in worker processes where not yet cached.

    Args:
        names: Names out of `domains.DOMAINS`.
        size: Width of the volumes, in voxels.
        seed: Another seed gives other volumes of the same domains.
        cache: Folder to keep them in; default $SEGBENCH_CACHE, else the user's cache folder.
        progress: Called with (made, to make, name) after each volume that had to be made.
    """
    wanted = list(names)
    for name in wanted:
        if name not in DOMAINS:
            raise UnknownNameError("domain", name, DOMAINS)
    _check(size, seed)
    folder = disk.folder(GENERATOR_VERSION, size, seed, cache)
    cases = {name: disk.read(folder / f"{name}.npz") for name in dict.fromkeys(wanted)}
    missing = [name for name, case in cases.items() if case is None]
    for done, made in enumerate(each(_make, [(name, size, seed, folder) for name in missing]), start=1):
        cases[made.domain] = made
        if progress is not None:
            progress(done, len(missing), made.domain)
    return [case for name in wanted if (case := cases[name]) is not None]


def _make(name: str, size: int, seed: int, folder: Path) -> Case:
    case = make_case(DOMAINS[name], size, seed)
    disk.write(folder / f"{name}.npz", case)
    return case


def _check(size: int, seed: int) -> None:
    if size < SMALLEST:
        raise InputError(f"size {size} is too small for battery16: at least {SMALLEST} voxels")
    if seed < 0:
        raise InputError(f"seed {seed} is negative: seeds start at 0")
