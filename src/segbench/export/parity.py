"""Whether two runtimes give the same array: by how much they differ, where most, and what tolerance would pass."""

import math
from dataclasses import dataclass

import numpy as np

from segbench.export.profile import Tolerance
from segbench.zoo.reference import Array

MILLION = 1e6


@dataclass(frozen=True)
class Difference:
    """Between what a part gave and what PyTorch gave.

    Attributes:
        name: Of the output.
        largest: Largest absolute difference; infinite where something is not a number.
        ppm: Elements per million that lie outside the tolerance.
        worst: Index of the largest difference.
        found: The part's value there.
        expected: The reference's.
        needed: The atol that would pass, rtol and ppm being what they are.
        tolerance: That was asked for.
    """

    name: str
    largest: float
    ppm: float
    worst: tuple[int, ...]
    found: float
    expected: float
    needed: float
    tolerance: Tolerance

    @property
    def passed(self) -> bool:
        """No more elements lie outside than may."""
        return self.ppm <= self.tolerance.ppm

    @property
    def numbers(self) -> dict[str, float]:
        """For a record, which has no infinity."""
        values = {"max": self.largest, "ppm": self.ppm, "atol_needed": self.needed, "found": self.found,
                  "expected": self.expected}  # fmt: skip
        values |= {f"worst_{axis}": float(at) for axis, at in enumerate(self.worst)}
        return {f"{self.name}_{key}": value for key, value in values.items() if math.isfinite(value)}

    def __str__(self) -> str:
        where = ", ".join(map(str, self.worst))
        return (
            f"{self.name} within {self.largest:.2g}, {self.ppm:.0f} ppm outside rtol {self.tolerance.rtol:g} and "
            f"atol {self.tolerance.atol:g}; worst [{where}]: {self.found:.6g} for {self.expected:.6g}; "
            f"atol {self.needed:.2g} would pass"
        )


def compare(name: str, found: Array, expected: Array, tolerance: Tolerance) -> Difference:
    """Compares two arrays of one shape; a NaN on one side only, or on both, is a difference without end."""
    a, b = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
        apart[~np.isfinite(apart)] = np.inf
        over = apart - tolerance.rtol * np.abs(np.where(np.isfinite(b), b, 0))
    outside = int(np.count_nonzero(over > tolerance.atol))
    worst = tuple(int(at) for at in np.unravel_index(int(apart.argmax()), apart.shape))
    spared = min(int(tolerance.ppm / MILLION * a.size), a.size - 1)
    needed = np.partition(over.ravel(), a.size - 1 - spared)[a.size - 1 - spared]
    return Difference(
        name=name,
        largest=float(apart.max()),
        ppm=MILLION * outside / a.size,
        worst=worst,
        found=float(a[worst]),
        expected=float(b[worst]),
        needed=max(float(needed), 0.0),
        tolerance=tolerance,
    )
