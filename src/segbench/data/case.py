"""One simulated volume with its truth and its human-like label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = ("void", "active")
"""Class 0 is pore, binder and whatever lies outside the specimen; class 1 the active material."""


@dataclass(frozen=True)
class Case:
    """A simulated scan; all arrays are (Z, Y, X)."""

    domain: str
    image: NDArray[np.float32]  # grey levels as a scanner gives them, not normalised
    truth: NDArray[np.uint8]  # 0 or 1
    label: NDArray[np.uint8]  # 0 or 1, human-like


def data_hash(case: Case) -> str:
    """SHA-256 over image, truth and label, their types and shapes."""
    return array_hash((case.image, case.truth, case.label))


def array_hash(arrays: Iterable[NDArray[Any]]) -> str:
    """SHA-256 over arrays in their order, their types and shapes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
