"""Smooth random fields, the raw material of roughness, texture, binder, drift and inattention."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int, int], sigma: float | tuple[float, float, float]
) -> NDArray[np.float32]:
    """Gaussian random field of unit variance and correlation length `sigma` voxels, of all axes or of each."""
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma, sigma)
    steps = [max(1, int(s / 1.8)) for s in sigmas]
    coarse = tuple(max(2, -(-n // step) + 1) for n, step in zip(shape, steps, strict=True))
    widths = [s / step for s, step in zip(sigmas, steps, strict=True)]
    field = gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), widths, mode="wrap", truncate=3.0)
    if max(steps) > 1:
        field = zoom(field, steps, order=1, mode="nearest", grid_mode=True)
    field = field[: shape[0], : shape[1], : shape[2]]
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), dtype=np.float32)
