"""A moving average of a network's weights, which is what is validated and released where a recipe asks for it.

Averages lie in flatter and wider minima than the last step and carry over better to other data (Izmailov et al. 2018,
Cha et al. 2021).
"""

import copy

import torch
from torch import Tensor

from segbench.nets.network import Network


class Average:
    """The exponential moving average of weights and of batch norms' statistics.

    Args:
        network: Whose average it is; where it stands now is the beginning.
        decay: Weight of what was before each step. The first steps weigh more, so that the beginning is forgotten.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(requires_grad=False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Takes in the network after `step` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for mean, now in zip(self.state().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name, for a checkpoint; changing them changes it."""
        return dict(self.network.state_dict())
