"""The volumes: image and truth, a pure function of a domain and a seed."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from segbench.data import cache as disk
from segbench.data.case import array_hash
from segbench.data.fibre.scan import Scan, scan
from segbench.data.fibre.specimen import Composite, Shape, build
from segbench.errors import InputError, UnknownNameError
from segbench.volume import Float32, UInt8

CLASSES = ("matrix", "fibre", "porosity")
SHAPE: Shape = (384, 320, 320)
"""Layers, rows, columns."""
FIBRE_VERSION = 3
"""Bumped whenever an array would change."""

COMPOSITE, SCAN = Composite(), Scan()


@dataclass(frozen=True)
class Domain:
    """What one volume is of.

    Attributes:
        specimen: Which one; those with the same number share everything but photons.
        composite: What it is made of.
        scan: How it is scanned.
        what: In words.
    """

    specimen: int
    composite: Composite
    scan: Scan
    what: str


KNOWN = {
    "aligned": Domain(0, COMPOSITE, SCAN, "the first specimen, which models are trained on; its test layers lie apart"),
    "skewed": Domain(
        1,
        replace(COMPOSITE, skin=50.0, core=50.0, azimuth=65.0, spread=18.0),
        SCAN,
        "another specimen, whose fibres lie another way and spread more, in another scan",
    ),
    "noisy": Domain(
        0, COMPOSITE, replace(SCAN, noise=2.5 * SCAN.noise), "the first specimen, scanned with fewer photons"
    ),
}
DOMAINS = tuple(KNOWN)
"""Of `segbench eval`, which looks at the test layers of each."""


@dataclass(frozen=True, eq=False)
class Fibre:
    """One simulated volume.

    Attributes:
        image: Grey values, whole numbers 0 to 255 (Z, Y, X).
        truth: True phases, indices into `CLASSES` (Z, Y, X).
        hash: sha256 of both.
    """

    image: Float32
    truth: UInt8
    hash: str


def load(
    domain: str = "aligned",
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Fibre:
    """The volume of a domain, from the cache or made.

    Args:
        domain: Out of `DOMAINS`.
        seed: Another one gives another volume.
        progress: Called with (made, to make, name) after a volume had to be made.
        cache: Folder to keep it in; default $SEGBENCH_CACHE, else the user's cache folder.
    """
    if domain not in DOMAINS:
        raise UnknownNameError("domain", domain, DOMAINS)
    path = disk.home(cache) / "fibre-composite" / f"{FIBRE_VERSION}-{seed}" / f"{domain}.npz"
    arrays = disk.read_arrays(path, ("image", "truth"))
    if arrays is None:
        image, truth = make(domain, seed)
        # whole numbers: a quarter of the room
        arrays = {"image": image.astype(np.uint8), "truth": truth}
        disk.write_arrays(path, arrays)
        if progress is not None:
            progress(1, 1, domain)
    return Fibre(arrays["image"].astype(np.float32), arrays["truth"], array_hash(arrays.values()))


def make(domain: str, seed: int = 0, shape: Shape = SHAPE) -> tuple[Float32, UInt8]:
    """Simulates image and truth; the same arguments give the same bits.

    "aligned" and "noisy" share the specimen and every error of the scan but its photons.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is negative: seeds start at 0")
    of = KNOWN[domain]
    geometry, scanning = (np.random.default_rng([seed, of.specimen, part]) for part in range(2))
    photons = np.random.default_rng([seed, DOMAINS.index(domain), 2])
    built = build(shape, geometry, of.composite)
    return scan(built, scanning, photons, of.scan), built.truth
