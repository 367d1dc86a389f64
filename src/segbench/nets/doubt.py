"""The doubt classifier of MatPhase (HCL-IDK): is the first network wrong at this pixel?"""

from itertools import pairwise

from torch import Tensor, nn

from segbench.nets.local import LEAK


class Doubt(nn.Module):
    """A small feed-forward network on the features [F_0 .. F_{K-1}, u] of a pixel; its inputs are standardised inside.

    The paper does not state its sizes.

    Args:
        classes: K.
        widths: Of the hidden layers.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, classes: int = 3, widths: tuple[int, ...] = (32, 32)) -> None:
        super().__init__()
        self.register_buffer("mean", Tensor([0.0] * (classes + 1)))
        self.register_buffer("deviation", Tensor([1.0] * (classes + 1)))
        layers: list[nn.Module] = []
        for a, b in pairwise((classes + 1, *widths)):
            layers += [nn.Linear(a, b), nn.LeakyReLU(LEAK)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1] if widths else classes + 1, 1))

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """States the mean and the deviation [K + 1] of the features."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, 1] of being wrong, for features [N, K + 1]."""
        return self.layers((features - self.mean) / self.deviation)  # type: ignore[no-any-return]

    def parameter_count(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
