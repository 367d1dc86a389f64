"""What the second networks of a cascade share: they see what the first one said, pixel by pixel or as an image."""

from typing import Literal

from torch import nn

LEAK = 0.01
"""Slope of all leaky ReLUs below zero."""


class Local(nn.Module):
    """A network for the pixels that the first one is likely to be wrong about.

    One of kind "patch" maps `patches` [N, 1 + K, edge, edge] and `context` [N, K] to logits [N, K]; one of kind
    "dense" maps `image` [Z, 1 + K, Y, X] to logits [Z, K, Y, X]. Channel 0 is the normalised image, the others are the
    one-hot class of the first network, zero where it is doubted; `context` is the pixel's mean logits.

    Attributes:
        kind: Which of the two.
        edge: Of a patch in pixels, odd; of a dense network, what it sees around a pixel.
    """

    kind: Literal["patch", "dense"] = "patch"
    edge: int

    def parameter_count(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
