"""The paper's augmentation: copies of an image without its first rows, resized to the height it had."""

from typing import TypeVar

import numpy as np

from segbench.volume import Float32, UInt8

COPIES = 10
"""k: copies of an image, the image itself among them."""


Pixels = TypeVar("Pixels", Float32, UInt8)


def copied(images: Pixels, rows: int) -> Pixels:
    """Images (N, Y, X) without their first `rows` rows, resized along Y to the old height.

    Grey values (floating) are interpolated linearly, labels (integers) are the nearest pixel's; the edges of pixels,
    not their centres, keep their places.
    """
    height = images.shape[1]
    assert 0 <= rows < height
    if not rows:
        return images.copy()
    at = rows + (np.arange(height) + 0.5) * (height - rows) / height - 0.5
    if images.dtype.kind != "f":
        return images[:, np.clip(np.rint(at).astype(np.int64), rows, height - 1)]
    at = np.clip(at, rows, height - 1)
    below = np.minimum(at.astype(np.int64), height - 2)
    share = (at - below).astype(images.dtype)[:, None]
    between: Pixels = images[:, below] * (1 - share) + images[:, below + 1] * share
    return between
