"""Whether two scores rise and fall together over the cases."""

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError


def pearson(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Pearson's correlation of two lists of numbers, shape (N,) each.

    Pairs in which a number is NaN are left out.

    Returns:
        A value in [-1, 1]; NaN with fewer than two pairs, or where either list is constant.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"a correlation needs two lists of one length, not {x.shape} and {y.shape}")
    kept = ~(np.isnan(x) | np.isnan(y))
    x, y = x[kept], y[kept]
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    # Each is scaled before its square is taken: tiny or huge numbers neither vanish nor overflow.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))
