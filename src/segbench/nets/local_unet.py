"""Local-U-Net, the baseline in which a plain U-Net takes LCGAR's place: a whole slice in, doubted pixels count."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.nets.local import LEAK, Local


class LocalUNet(Local):
    """Two convolutions a stage, max-pooling, nearest upsampling; batch norm; no dropout.

    Edges need not be multiples of anything: what is left over is pooled as well. A pixel's answer is the same in every
    tile whose margin is `edge` // 2, a multiple of the coarsest pixel.

    Args:
        classes: K.
        widths: Channels of each level.
    """

    kind = "dense"

    def __init__(self, classes: int = 3, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        if len(widths) < 2:
            raise TypeError(f"widths {widths} are to be at least 2")
        coarsest = 2 ** (len(widths) - 1)
        # two convolutions on every level, twice but at the bottom, and a pooling between two levels
        reach = 2 * coarsest + sum((4 + 1) * 2**level for level in range(len(widths) - 1))
        self.edge = 2 * (-(-reach // coarsest) * coarsest) + 1
        inputs = (1 + classes, *widths[:-1])
        self.down = nn.ModuleList(_stage(a, b) for a, b in zip(inputs, widths, strict=True))
        self.up = nn.ModuleList(_stage(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits [Z, K, Y, X]."""
        x, skips = self.down[0](image), []
        for stage in self.down[1:]:
            skips.append(x)
            x = stage(F.max_pool2d(x, 2, ceil_mode=True))
        for stage in self.up:
            skip = skips.pop()
            x = stage(torch.cat([skip, _doubled(x, skip)], dim=1))
        return self.head(x)  # type: ignore[no-any-return]


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    """Nearest upsampling by 2, cut to the edges of `like`: resizing to them would shift it where they are odd."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")[:, :, : like.shape[2], : like.shape[3]]


def _stage(inputs: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, width):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, padding_mode="replicate", bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(LEAK),
        ]
    return nn.Sequential(*layers)
