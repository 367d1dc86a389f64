"""How far a point lies from where the training scans lie, in a space of descriptors.

A Gaussian whose margins may be skewed: each descriptor is measured from its median in deviations of its own side. Their
covariance is that of its first principal axes and the same in all other directions (probabilistic PCA: Tipping and
Bishop, J. R. Stat. Soc. B 61, 1999), with `SHRINKAGE` added to every variance, so that what hardly varied in training
does not decide alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

SHRINKAGE = 0.1
LEAST_SIDE = 0.05  # of the usual deviation: what was constant in training may not be so exactly elsewhere


@dataclass(frozen=True, eq=False)
class Cloud:
    """A fitted Gaussian; D descriptors, K axes.

    Attributes:
        median: [D].
        below: Root mean square of the deviations below the median [D].
        above: Of those above it [D].
        axes: Orthonormal columns [D, K].
        variances: Along them, and last that in every other direction [K + 1].
    """

    median: Float64
    below: Float64
    above: Float64
    axes: Float64
    variances: Float64

    def __call__(self, points: Float64) -> Float64:
        """Mahalanobis distances of points [N, D], divided by the square root of D [N]."""
        z = _standardised(points, self.median, self.below, self.above)
        along = z @ self.axes
        rest = np.maximum((z * z).sum(axis=1) - (along * along).sum(axis=1), 0)
        squares = (along * along / self.variances[:-1]).sum(axis=1) + rest / self.variances[-1]
        return np.asarray(np.sqrt(squares / len(self.median)))


def fit(points: Float64, axes: int) -> Cloud:
    """Fits a cloud with at most so many axes to points [N, D]."""
    median = np.median(points, axis=0)
    below, above = _side(median - points), _side(points - median)
    least = max(LEAST_SIDE * float(np.median(below + above)), 1e-9)
    below, above = np.maximum(below, least), np.maximum(above, least)
    z = _standardised(points, median, below, above)
    variances, vectors = np.linalg.eigh(z.T @ z / len(z))
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
    rest = float(variances[axes:].mean()) if axes < len(variances) else 0.0
    kept = np.append(variances[:axes], rest) + SHRINKAGE
    return Cloud(median, below, above, np.ascontiguousarray(vectors[:, :axes]), kept)


def _side(deviations: Float64) -> Float64:
    """Root mean square of the positive ones in each column."""
    positive = np.maximum(deviations, 0)
    return np.asarray(np.sqrt((positive * positive).sum(axis=0) / np.maximum((positive > 0).sum(axis=0), 1)))


def _standardised(points: Float64, median: Float64, below: Float64, above: Float64) -> Float64:
    apart = points - median
    return np.asarray(np.where(apart < 0, apart / below, apart / above))
