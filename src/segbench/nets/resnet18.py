"""ResNet-18 (He et al. 2016, table 1) as a classifier of single pixels by the patch around them.

Own, because torchvision has no build beside the PyTorch that segbench pins on CPUs; the layers and so the count of
parameters are the published ones (11,689,512 with three channels and 1000 classes). A patch of 11 pixels is 6 wide
after the stem's convolution and 3 after its pooling.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from segbench.nets.local import Local

WIDTHS = (64, 128, 256, 512)


class _Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.shortcut(x))


class ResNet18(Local):
    """Sees the patch alone; `context` is an input that it ignores, so that all local networks are called alike.

    Args:
        classes: K.
        edge: Of a patch in pixels.
        channels: Of a patch; None for 1 + K.
    """

    def __init__(self, classes: int = 3, edge: int = 11, channels: int | None = None) -> None:
        super().__init__()
        if edge < 3 or edge % 2 == 0:
            raise TypeError(f"edge {edge} of a patch is to be odd and at least 3")
        self.edge = edge
        self.stem = nn.Sequential(
            nn.Conv2d(channels or 1 + classes, 64, 7, 2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
        )
        inputs = (64, *WIDTHS[:-1])
        self.blocks = nn.Sequential(
            *(
                block
                for number, (a, b) in enumerate(zip(inputs, WIDTHS, strict=True))
                for block in (_Block(a, b, 2 if number else 1), _Block(b, b, 1))
            )
        )
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, patches: Tensor, context: Tensor) -> Tensor:
        """Logits [N, K]."""
        del context
        return self.head(self.blocks(self.stem(patches)).mean(dim=(2, 3)))  # type: ignore[no-any-return]
