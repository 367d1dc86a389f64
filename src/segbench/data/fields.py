"""Smooth random fields, the raw material of roughness, texture, binder, drift and inattention."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], sigma: float) -> NDArray[np.float32]:
    """Gaussian random field of unit variance and correlation length `sigma` voxels."""
    step = max(1, int(sigma / 1.8))
    coarse = tuple(max(2, -(-n // step) + 1) for n in shape)
    field = gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma / step, mode="wrap", truncate=3.0)
    if step > 1:
        field = zoom(field, step, order=1, mode="nearest", grid_mode=True)
    field = field[: shape[0], : shape[1], : shape[2]]
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), dtype=np.float32)
