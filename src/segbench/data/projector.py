"""Parallel-beam projection and filtered back-projection of many slices at once, slices on the last axis."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]


@njit(cache=True)  # type: ignore[untyped-decorator]
def project(slices: Float32Array, angles: FloatArray, bins: int) -> Float32Array:
    """Line integrals by Joseph's method.

    Args:
        slices: (M, M, Z) attenuation per voxel, rows y, columns x; rotation axis in the middle.
        angles: (A,) radians.
        bins: Detector bins, one voxel wide, centred on the axis.

    Returns:
        (A, bins, Z) float32.
    """
    width = slices.shape[0]
    depth = slices.shape[2]
    middle = 0.5 * (width - 1)
    out = np.zeros((angles.shape[0], bins, depth), dtype=np.float32)
    for a in range(angles.shape[0]):
        cos, sin = np.cos(angles[a]), np.sin(angles[a])
        along_y = abs(cos) >= abs(sin)  # the ray runs mostly along y: step over rows
        step = np.float32(1.0 / max(abs(cos), abs(sin)))
        for b in range(bins):
            t = b - 0.5 * (bins - 1)
            row = out[a, b]
            for i in range(width):
                s = i - middle
                position = ((t - s * sin) / cos if along_y else (t - s * cos) / sin) + middle
                j = int(np.floor(position))
                if j < 0 or j >= width - 1:
                    continue
                upper = np.float32(position - j) * step
                lower = step - upper
                near = slices[i, j] if along_y else slices[j, i]
                far = slices[i, j + 1] if along_y else slices[j + 1, i]
                for k in range(depth):
                    row[k] += lower * near[k] + upper * far[k]
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def back_project(sinogram: Float32Array, angles: FloatArray, size: int) -> Float32Array:
    """Sum a filtered sinogram (A, bins, Z) back over the rays: (size, size, Z) float32."""
    count, bins, depth = sinogram.shape
    out = np.zeros((size, size, depth), dtype=np.float32)
    scale = np.float32(np.pi / count)
    middle = 0.5 * (size - 1)
    for y in range(size):
        for a in range(count):
            cos, sin = np.cos(angles[a]), np.sin(angles[a])
            for x in range(size):
                position = (x - middle) * cos + (y - middle) * sin + 0.5 * (bins - 1)
                position = min(max(position, 0.0), bins - 1.001)
                j = int(position)
                upper = np.float32(position - j) * scale
                lower = scale - upper
                near, far, row = sinogram[a, j], sinogram[a, j + 1], out[y, x]
                for k in range(depth):
                    row[k] += lower * near[k] + upper * far[k]
    return out


def ramp(length: int, cutoff: float) -> Float32Array:
    """Frequency response of the band-limited ramp, Hann window ending at `cutoff` of Nyquist; `length` even."""
    kernel = np.zeros(length)
    kernel[0] = 0.25
    odd = np.arange(1, length // 2 + 1, 2)
    kernel[odd] = kernel[-odd] = -1.0 / (np.pi * odd) ** 2
    frequency = np.minimum(np.fft.rfftfreq(length) * 2 / cutoff, 1.0)
    response = np.fft.rfft(kernel).real * 0.5 * (1 + np.cos(np.pi * frequency))
    return np.asarray(response, dtype=np.float32)


def filter_sinogram(sinogram: Float32Array, cutoff: float) -> Float32Array:
    """Ramp-filter along the bins of (A, bins, Z); the edges are continued outwards, falling to zero."""
    count, bins, depth = sinogram.shape
    length = 1 << int(np.ceil(np.log2(2 * bins)))
    pad = (length - bins) // 2
    fade = np.cos(0.5 * np.pi * np.arange(1, pad + 1) / (pad + 1)).astype(np.float32) ** 2
    wide = np.zeros((count, length, depth), dtype=np.float32)
    wide[:, pad : pad + bins] = sinogram
    wide[:, :pad] = sinogram[:, :1] * fade[::-1, None]
    wide[:, pad + bins : pad + bins + pad] = sinogram[:, -1:] * fade[:, None]
    spectrum = fft.rfft(wide, axis=1) * ramp(length, cutoff)[:, None]
    return np.ascontiguousarray(fft.irfft(spectrum, length, axis=1)[:, pad : pad + bins], dtype=np.float32)


def reconstruct(sinogram: Float32Array, angles: FloatArray, size: int, cutoff: float = 2.0) -> Float32Array:
    """Filtered back-projection of (A, bins, Z) to the central (size, size, Z)."""
    result: Float32Array = back_project(filter_sinogram(sinogram, cutoff), angles, size)
    return result
