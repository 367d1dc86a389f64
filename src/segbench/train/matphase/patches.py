"""What the local network is given of a pixel: gathered for a whole batch at once from padded arrays."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segbench.train.matphase.recipe import Seen
from segbench.volume import Float32, UInt8

Bool = npt.NDArray[np.bool_]


def hidden(classes: UInt8, doubted: Bool, count: int) -> UInt8:
    """Classes with `count` in place of doubted ones: one-hot, these are zero in every channel."""
    return np.where(doubted, np.uint8(count), classes)


def one_hot(codes: Tensor, count: int) -> Tensor:
    """Float32 [N, K, ...] of codes [N, ...]; zero in every channel where the code is K."""
    each = torch.arange(count, dtype=codes.dtype).reshape(1, count, *[1] * (codes.dim() - 1))
    return (codes[:, None] == each).float()


class Patches:
    """Patches around the pixels of some images, past whose edges the image and the classes are replicated.

    Args:
        image: Normalised (N, Y, X).
        codes: Of `hidden` (N, Y, X).
        count: K.
        edge: Of a patch in pixels, odd.
        sees: What is given; zeros stand for the rest.
    """

    def __init__(self, image: Float32, codes: UInt8, count: int, edge: int, sees: Sequence[Seen]) -> None:
        self._count, self._sees, self._edge = count, sees, edge
        half = edge // 2
        around = ((0, 0), (half, half), (half, half))
        self._image = torch.from_numpy(np.pad(image, around, mode="edge")).reshape(-1)
        self._codes = torch.from_numpy(np.pad(codes, around, mode="edge")).reshape(-1)
        self._shape = image.shape
        self._width = image.shape[2] + 2 * half
        self._plane = (image.shape[1] + 2 * half) * self._width
        row, column = torch.arange(edge)[:, None], torch.arange(edge)[None]
        self._offsets = (row * self._width + column).reshape(1, -1)

    def __call__(self, pixels: npt.NDArray[np.int64]) -> Tensor:
        """Patches [N, 1 + K, edge, edge] around pixels, flat indices into (N, Y, X)."""
        number, y, x = np.unravel_index(pixels, self._shape)
        corner = torch.from_numpy(number * self._plane + y * self._width + x)  # of the patch, in the padded array
        at = corner[:, None] + self._offsets
        patches = torch.zeros(len(pixels), 1 + self._count, self._offsets.shape[1])
        if "image" in self._sees:
            patches[:, 0] = self._image[at]
        if "classes" in self._sees:
            patches[:, 1:] = one_hot(self._codes[at], self._count)
        return patches.reshape(len(pixels), 1 + self._count, self._edge, self._edge)


def dense(image: Float32, codes: UInt8, count: int, margin: int, sees: Sequence[Seen]) -> Tensor:
    """The same of whole images: [N, 1 + K, Y + 2 margin, X + 2 margin]."""
    around = ((0, 0), (margin, margin), (margin, margin))
    seen = torch.from_numpy(np.pad(image, around, mode="edge"))[:, None]
    classes = one_hot(torch.from_numpy(np.pad(codes, around, mode="edge")), count)
    return torch.cat([seen * ("image" in sees), classes * ("classes" in sees)], dim=1)
