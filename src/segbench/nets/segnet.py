"""SegNet (Badrinarayanan et al. 2017): a decoder that puts each maximum back where its pooling found it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.nets.baselines import Slicewise

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)


def _block(inputs: int, width: int, outputs: int, count: int) -> nn.Sequential:
    """`count` times convolution, batch norm and ReLU; the last has `outputs` channels."""
    layers: list[nn.Module] = []
    for i in range(count):
        a, b = inputs if i == 0 else width, outputs if i == count - 1 else width
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four pixels of each 2 x 2 window."""
    return x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]


def pool(x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Maxima [N, C, Y/2, X/2] of 2 x 2 windows, and for each of a window's pixels 1 where the maximum was.

    The first of equal ones counts, as in PyTorch's own pooling with indices. Comparisons rather than indices, because
    runtimes take no graph that scatters by them, or take long.
    """
    largest = F.max_pool2d(x, 2)
    free, found = torch.ones_like(largest), []
    for part in _parts(x):
        here = free * (part.detach() == largest.detach()).to(x.dtype)
        found.append(here)
        free = free - here
    return largest, found


def unpool(x: Tensor, found: list[Tensor]) -> Tensor:
    """Puts x [N, C, Y, X] back to where `pool` found it, [N, C, 2Y, 2X]; zero elsewhere."""
    a, b, c, d = (x * here for here in found)
    rows = [torch.stack(pair, dim=-1).flatten(-2) for pair in ((a, b), (c, d))]
    return torch.stack(rows, dim=-2).flatten(-3, -2)


class _SegNet(nn.Module):
    def __init__(self, classes: int, widths: tuple[int, ...], convolutions: tuple[int, ...]) -> None:
        super().__init__()
        falling = zip((1, *widths[:-1]), widths, convolutions, strict=True)
        self.down = nn.ModuleList(_block(a, b, b, count) for a, b, count in falling)
        rising = zip(widths, (widths[0], *widths[:-1]), convolutions, strict=True)
        self.up = nn.ModuleList(_block(a, a, b, count) for a, b, count in rising)
        self.head = nn.Conv2d(widths[0], classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        places = []
        for stage in self.down:
            x, found = pool(stage(x))
            places.append(found)
        for stage in reversed(self.up):
            x = stage(unpool(x, places.pop()))
        return self.head(x)  # type: ignore[no-any-return]


class SegNet(Slicewise):
    """SegNet, with VGG-16's thirteen convolutions on the way down and as many upwards.

    Args:
        classes: K.
        widths: Channels of the levels; those of VGG-16 by default, 29 million parameters.
        convolutions: Of each level.
    """

    def __init__(
        self, classes: int = 3, widths: tuple[int, ...] = WIDTHS, convolutions: tuple[int, ...] = CONVOLUTIONS
    ) -> None:
        if len(widths) != len(convolutions):
            raise TypeError(f"widths {widths} and convolutions {convolutions} need the same length")
        super().__init__(_SegNet(classes, tuple(widths), tuple(convolutions)), classes, 2 ** len(widths))
