"""What all networks share: masks enter as data, never as a random draw."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from segbench.masks import Site


class Network(nn.Module):
    """A segmentation network whose dropout masks are an input.

    Attributes:
        sites: Where channels are dropped, in the order of the masks' columns.
        stride: Edges of the image along (Z, Y, X) must be multiples of these.
        border: What convolutions see past the edge: zeros, or the border replicated.
        fixed_tile: The answer depends on the tile's size, as with group norm.
        classes: How many it tells apart: two share one logit, more have a logit each.
        context: Voxels along (Z, Y, X) on either side of a training box that are seen and not labelled (`inside`).
    """

    sites: Sequence[Site] = ()
    stride: tuple[int, int, int] = (1, 1, 1)
    border: Literal["zero", "replicate"] = "zero"
    fixed_tile: bool = False
    classes: int = 2
    context: tuple[int, int, int] = (0, 0, 0)

    def begin(self, seed: int, step: int) -> None:
        """Told before each training step, for what it draws itself: the step is to be a function of both."""

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """Logits [T, K, Z, Y, X] of an image [1 or T, 1, Z, Y, X] under masks [T, channels]."""
        raise NotImplementedError

    def inside(self, image: Tensor, masks: Tensor) -> Tensor:
        """Logits of an image less `context` on either side: what training asks for."""
        return self(image, masks)  # type: ignore[no-any-return]

    def parameter_count(self) -> int:
        """Trainable parameters, also of a copy that is not trained, as the average of weights is."""
        return sum(p.numel() for p in self.parameters())

    def folded(self) -> "Network":
        """The same function for inference, with what can be folded folded; by default the network itself."""
        return self


def repeated(logits: Tensor, masks: Tensor) -> Tensor:
    """Logits of a network without sites: those of one image as many times as there are masks, which have no columns."""
    return logits if logits.shape[0] > 1 else logits.expand(masks.shape[0], -1, -1, -1, -1)


def columns(masks: Tensor, sites: Sequence[Site], number: int) -> Tensor:
    """The columns [T, C] of `masks` that belong to site `number`."""
    first = sum(site.channels for site in sites[:number])
    return masks[:, first : first + sites[number].channels]


def apply(x: Tensor, mask: Tensor) -> Tensor:
    """Multiplies the channels of x [1 or T, C, ...] by a mask [T, C]."""
    return x * mask.reshape(mask.shape[0], mask.shape[1], *[1] * (x.dim() - 2)).to(x.dtype)


def drop(x: Tensor, masks: Tensor, sites: Sequence[Site], number: int) -> Tensor:
    """Multiplies the channels of x [1 or T, C, ...] by the columns of `masks` that belong to site `number`."""
    return apply(x, columns(masks, sites, number))
