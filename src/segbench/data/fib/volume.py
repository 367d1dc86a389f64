"""The volume that the slices are of: image, labels and truth, a pure function of a domain and a seed."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from segbench.data import cache as disk
from segbench.data.case import Case, data_hash
from segbench.data.fib.labels import Labelling, label
from segbench.data.fib.scan import Scan, scan
from segbench.data.fib.specimen import Electrode, Shape, build
from segbench.errors import InputError, UnknownNameError
from segbench.volume import Float32, UInt8

CLASSES = ("pore", "carbon", "nickel")
SHAPE: Shape = (133, 224, 256)
"""Slices 200 nm apart, rows, columns."""
FIB_VERSION = 2
"""Bumped whenever an array would change."""

ELECTRODE, SCAN, LABELLING = Electrode(), Scan(), Labelling()


@dataclass(frozen=True)
class Domain:
    """What one volume is of.

    Attributes:
        specimen: Which one; those with the same number share everything but photons.
        scan: How it is scanned.
        what: In words.
    """

    specimen: int
    scan: Scan
    what: str


KNOWN = {
    "clean": Domain(0, SCAN, "the first specimen, which models are trained on; its test slices lie apart"),
    "specimen-2": Domain(1, SCAN, "another specimen in another scan"),
    "low-dose": Domain(0, replace(SCAN, noise=1.5 * SCAN.noise), "the first specimen, scanned with less dose"),
}
DOMAINS = tuple(KNOWN)
"""Of `segbench eval`, which looks at the test slices of each."""


@dataclass(frozen=True, eq=False)
class Fib:
    """One simulated volume.

    Attributes:
        image: Grey values (Z, Y, X).
        truth: True phases, indices into `CLASSES` (Z, Y, X).
        label: What training and scores see: labels from elsewhere, not cleaned yet (Z, Y, X).
        hash: sha256 of the three.
    """

    image: Float32
    truth: UInt8
    label: UInt8
    hash: str


def load(
    domain: str = "clean",
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Fib:
    """The volume of a domain, from the cache or made.

    Args:
        domain: Out of `DOMAINS`.
        seed: Another one gives another volume.
        progress: Called with (made, to make, name) after a volume had to be made.
        cache: Folder to keep it in; default $SEGBENCH_CACHE, else the user's cache folder.
    """
    if domain not in DOMAINS:
        raise UnknownNameError("domain", domain, DOMAINS)
    path = disk.home(cache) / "battery-fib" / f"{FIB_VERSION}-{seed}" / f"{domain}.npz"
    case = disk.read(path)
    if case is None:
        case = make(domain, seed)
        disk.write(path, case)
        if progress is not None:
            progress(1, 1, domain)
    return Fib(case.image, case.truth, case.label, data_hash(case))


def make(domain: str, seed: int = 0, shape: Shape = SHAPE) -> Case:
    """Simulates a volume; the same arguments give the same bits.

    "clean" and "low-dose" share specimen, labels and every error of the scan but its photons.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is negative: seeds start at 0")
    of = KNOWN[domain]
    geometry, scanning, labelling = (np.random.default_rng([seed, of.specimen, part]) for part in range(3))
    photons = np.random.default_rng([seed, DOMAINS.index(domain), 3])
    built = build(shape, geometry, ELECTRODE)
    image = scan(built, scanning, photons, of.scan)
    return Case(domain, image, built.truth, label(built, labelling, LABELLING))
