"""The original V-Net (Milletari, Navab, Ahmadi 2016), from its published network file: no norm, no dropout."""

import torch
from torch import Tensor, nn

from segbench.nets.network import Network, repeated

WIDTHS = (16, 32, 64, 128, 256)
DOWN_CONVS = (1, 1, 2, 3, 3)
UP_CONVS = (3, 2, 1, 1)


def _convs(inputs: int, width: int, count: int) -> nn.Sequential:
    """`count` 5³ convolutions to `width` channels, each with a PReLU per channel."""
    layers: list[nn.Module] = []
    for i in range(count):
        layers += [nn.Conv3d(inputs if i == 0 else width, width, 5, padding=2), nn.PReLU(width)]
    return nn.Sequential(*layers)


class VNetMilletari(Network):
    """Two classes, softmax; 61,982,682 parameters. In the decoder the concatenated tensor is the residual."""

    stride = (16, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            _convs(1 if i == 0 else width, width, DOWN_CONVS[i]) for i, width in enumerate(WIDTHS)
        )
        self.downs = nn.ModuleList(
            nn.Sequential(nn.Conv3d(a, b, 2, stride=2), nn.PReLU(b))
            for a, b in zip(WIDTHS[:-1], WIDTHS[1:], strict=True)
        )
        self.ups = nn.ModuleList()
        self.joins = nn.ModuleList()
        inputs = WIDTHS[-1]
        for skip, count in zip(WIDTHS[-2::-1], UP_CONVS, strict=True):
            self.ups.append(nn.Sequential(nn.ConvTranspose3d(inputs, skip, 2, stride=2), nn.PReLU(skip)))
            self.joins.append(_convs(2 * skip, 2 * skip, count))
            inputs = 2 * skip
        self.last = _convs(inputs, 2, 1)
        self.head = nn.Conv3d(2, 2, 1)

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """Logits [B, 2, Z, Y, X]; see `repeated`."""
        x = self.stages[0](image) + image  # the one input channel is added to all sixteen
        skips = []
        for down, stage in zip(self.downs, list(self.stages)[1:], strict=True):
            skips.append(x)
            x = down(x)
            x = stage(x) + x
        for up, join, skip in zip(self.ups, self.joins, reversed(skips), strict=True):
            x = torch.cat([up(x), skip], dim=1)
            x = join(x) + x
        return repeated(self.head(self.last(x)), masks)
