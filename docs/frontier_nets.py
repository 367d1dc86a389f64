"""Networks for comparison only: Bernoulli dropout at the usual sites, and after every stage of encoder and decoder."""

import torch.nn.functional as F
from torch import Tensor

from segbench import nets
from segbench.masks import Site
from segbench.nets.network import drop
from segbench.nets.vnet_battery import VNetBattery


class Bernoulli(VNetBattery):
    """`vnet-battery` whose sites keep each channel with probability one half, independently."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__(widths, tuple(width // 2 for width in widths[::-1]))
        self.sites = tuple(
            Site(name=site.name, channels=site.channels, kind="bernoulli", keep_probability=0.5) for site in self.sites
        )


class Everywhere(VNetBattery):
    """Dropout after every stage, those of the encoder too: nothing is shared by the samples but the first stage.

    Half of an encoder's channels is more than such a small network can spare: three quarters are kept.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__(widths, tuple(width // 2 for width in widths[::-1]))
        down = [
            Site(name=f"down{i}", channels=w, kind="bernoulli", keep_probability=0.75) for i, w in enumerate(widths)
        ]
        up = [
            Site(name=f"up{i}", channels=w, kind="bernoulli", keep_probability=0.75)
            for i, w in reversed(list(enumerate(widths[:-1])))
        ]
        self.sites = (*down, *up)

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """See `Network.forward`."""
        x, skips = image, []
        for level, stage in enumerate(self.down):
            if level:
                skips.append(x)
                x = F.max_pool3d(x, 2)
            x = drop(stage(x), masks, self.sites, level)
        for number, (stage, skip) in enumerate(zip(self.up, reversed(skips), strict=True), start=len(self.down)):
            x = drop(stage(x, skip), masks, self.sites, number)
        return self.head(x)  # type: ignore[no-any-return]


def register() -> None:
    """Makes both known to recipes, in this process."""
    nets.NETWORKS.update({"bernoulli": "frontier_nets:Bernoulli", "everywhere": "frontier_nets:Everywhere"})
