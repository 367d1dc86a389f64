"""What the grey values of a scan say, as numbers: how bright, how rough at which scale, how edgy, which way it bulges.

They are of windows, pieces of single slices of the normalised image, so that slices and volumes are described alike;
all windows of a scan are described together. Chosen on training data, phantoms and synthetic images (docs/foreign.md).
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from segbench.volume import Float32

Float64 = npt.NDArray[np.float64]

QUANTILES = (1, 5, 25, 50, 75, 95, 99)
LAGS = (1, 2, 4, 8, 16)  # pixels
BOTH_WAYS = (1, 4)  # lags at which rows are held against columns
TAILS = (1, 4, 16)  # lags whose differences are held against a Gaussian's
SIGMAS = (1.0, 2.0, 4.0)  # pixels; widths at which gradients are looked at
SMOOTH = 2.0  # pixels; noise is taken out before phases are counted
FLOOR = 1e-6  # what a constant piece has of variance, so that its logarithm is low, not infinite
SMALLEST = 48  # pixels along an edge; below, little is left at the largest lag

NAMES = (
    *(f"quantile {q} %" for q in QUANTILES),
    *(f"roughness at {lag}" for lag in LAGS),
    *(f"rows against columns at {lag}" for lag in BOTH_WAYS),
    *(f"tails at {lag}" for lag in TAILS),
    *(f"edges at {sigma:g}" for sigma in SIGMAS),
    *(f"bulge at {sigma:g}" for sigma in SIGMAS),
    *("lobes", "lobes, smoothed"),
)
BULGE = NAMES.index("bulge at 2")
"""The one that tells an inverted image: where the bright side bulges it is above 0."""

# What a field of noise has, white or not, that is no more than its spectrum (a Gaussian random field): the median over
# the square of its gradient has 1 / log2(20) of the 95 % quantile, and nothing else stands out. By how much sixteen
# windows of such fields differ from that is rounded from a few simulated ones, smooth and scale-free.
_FORMLESS = {"tails": 0.0, "edges": float(np.log(np.log(20) / np.log(2))), "bulge": 0.0, "lobes": 0.0}
_SCATTER = {
    **{"tails at 1": 0.02, "tails at 4": 0.02, "tails at 16": 0.04, "edges at 1": 0.03, "edges at 2": 0.05},
    **{"edges at 4": 0.12, "bulge at 1": 0.02, "bulge at 2": 0.03, "bulge at 4": 0.07, "lobes": 0.04},
    **{"lobes, smoothed": 0.06},
}
_AT = [NAMES.index(name) for name in _SCATTER]
_EXPECTED = np.array([next(value for key, value in _FORMLESS.items() if name.startswith(key)) for name in _SCATTER])
_SCALE = np.array(list(_SCATTER.values()))
MOST = 1e4  # of a squared deviation; sharp edges are not more form than this


def describe(windows: Float32) -> Float64:
    """The values of `NAMES` for windows (N, Y, X) of a normalised image, no edge shorter than `SMALLEST`."""
    grey = windows.astype(np.float64)
    found = [*np.percentile(grey, QUANTILES)]
    rough = {lag: (_differences(grey, lag, 1), _differences(grey, lag, 2)) for lag in LAGS}
    powers = {lag: (_log(_square(dy)), _log(_square(dx))) for lag, (dy, dx) in rough.items()}
    found += [float(np.logaddexp(dy, dx)) for dy, dx in powers.values()]
    found += [powers[lag][0] - powers[lag][1] for lag in BOTH_WAYS]
    found += [_tails(np.concatenate([part.ravel() for part in rough[lag]])) for lag in TAILS]
    shapes = [_shape(grey, sigma) for sigma in SIGMAS]
    found += [edges for edges, _ in shapes] + [bulge for _, bulge in shapes]
    smooth = gaussian_filter(grey, (0, SMOOTH, SMOOTH), mode="nearest", truncate=3)
    found += [_tails(part - part.mean()) for part in (grey, smooth)]
    return np.array(found)


def structure(described: Float64) -> Float64:
    """How far windows with descriptors [..., len(NAMES)] are from noise that has no form, as a logarithm [...]."""
    apart = (described[..., _AT] - _EXPECTED) / _SCALE
    return np.asarray(np.log(np.mean(np.minimum(apart * apart, MOST), axis=-1) + FLOOR))


def _differences(grey: Float64, lag: int, axis: int) -> Float64:
    n = grey.shape[axis] - lag
    return np.asarray(grey[:, lag:] - grey[:, :n] if axis == 1 else grey[:, :, lag:] - grey[:, :, :n])


def _square(values: Float64) -> float:
    return float(np.mean(values * values))


def _log(variance: float) -> float:
    return float(np.log(variance + FLOOR))


def _tails(values: Float64) -> float:
    """Logarithm of the fourth moment over three times the squared second.

    0 for a Gaussian, above for sharp edges, below for two values of which each is common.
    """
    squares = values * values
    second = float(squares.mean())
    return float(np.log((np.mean(squares * squares) + FLOOR**2) / (3 * second * second + FLOOR**2)))


def _shape(grey: Float64, sigma: float) -> tuple[float, float]:
    """How much steeper the steep places are than the usual one, and whether the bright side bulges (see `polarity`)."""
    g = gaussian_filter(grey, (0, sigma, sigma), mode="nearest", truncate=3)
    c = g[:, 1:-1, 1:-1]
    gy, gx = (g[:, 2:, 1:-1] - g[:, :-2, 1:-1]) / 2, (g[:, 1:-1, 2:] - g[:, 1:-1, :-2]) / 2
    yy, xx = g[:, 2:, 1:-1] + g[:, :-2, 1:-1] - 2 * c, g[:, 1:-1, 2:] + g[:, 1:-1, :-2] - 2 * c
    xy = (g[:, 2:, 2:] + g[:, :-2, :-2] - g[:, 2:, :-2] - g[:, :-2, 2:]) / 4
    steep = gy * gy + gx * gx
    usual, high = np.percentile(steep, (50, 95))
    bends = np.sign(yy * gx * gx + xx * gy * gy - 2 * xy * gx * gy)
    return _log(high) - _log(usual), -float((steep * bends).sum() / (steep.sum() + FLOOR))
