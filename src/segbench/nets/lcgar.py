"""LCGAR, MatPhase's local network, layer for layer as in its table 4.

    patches [N, 1 + K, h, h] ─ conv3(32) conv3(32) pool ─ conv3(16) conv3(16) pool ─ conv1(8) conv1(8) ─ flatten ─┐
    context [N, K] ────────────────────────────────────────────────────────────────────────────────────────── concat
                                                                       FC K ─ batch norm ─ dropout 0.2 ─ FC128 ─┘

Convolutions are padded with zeros; a leaky ReLU follows each of them and FC128.
"""

import torch
from torch import Tensor, nn

from segbench.nets.local import LEAK, Local


class Lcgar(Local):
    """Local classifier with global features.

    Args:
        classes: K.
        edge: h, the edge of a patch in pixels; 22,835 parameters at 11 for three classes.
    """

    def __init__(self, classes: int = 3, edge: int = 11) -> None:
        super().__init__()
        if edge < 5 or edge % 2 == 0:
            raise TypeError(f"edge {edge} of a patch is to be odd and at least 5")
        self.edge = edge
        self.see = nn.Sequential(
            *_stage(1 + classes, 32, 3),
            nn.MaxPool2d(2),
            *_stage(32, 16, 3),
            nn.MaxPool2d(2),
            *_stage(16, 8, 1),
            nn.Flatten(),
        )
        self.decide = nn.Sequential(
            nn.Linear(8 * (edge // 4) ** 2 + classes, 128),
            nn.LeakyReLU(LEAK),
            nn.Dropout(0.2),
            nn.BatchNorm1d(128),
            nn.Linear(128, classes),
        )

    def forward(self, patches: Tensor, context: Tensor) -> Tensor:
        """Logits [N, K]."""
        return self.decide(torch.cat([self.see(patches), context], dim=1))  # type: ignore[no-any-return]


def _stage(inputs: int, width: int, kernel: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, width, kernel, padding=kernel // 2),
        nn.LeakyReLU(LEAK),
        nn.Conv2d(width, width, kernel, padding=kernel // 2),
        nn.LeakyReLU(LEAK),
    ]
