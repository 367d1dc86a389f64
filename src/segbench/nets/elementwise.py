"""Element-wise dropout as data: which elements a sample keeps, drawn inside the network from exact integers.

As the MatPhase paper has it. What enters the graph are four keys a site, functions of (seed, sample, site); element e
is kept where the cipher of `segbench.masks` takes e to less than the keep probability, so that every runtime keeps the
same ones. The price, against channels: masks are drawn anew for each tile, and cost more than a convolution of few
channels; they depend on the place within the tile, so its size is part of the model, and a sample is one network per
place in a tile, not over a volume; and no sample is a thinner network.
"""

import torch
from torch import Tensor

from segbench.masks import KEYS, WHOLE, P, Site, permute

SHIFT = 2  # keys are residues from 0 up, their columns from 2


def drop_elements(x: Tensor, columns: Tensor, site: Site) -> Tensor:
    """Multiplies x [1 or T, C, Z, Y, X] by masks [T, C, 1, Y, X]: 1 / keep probability, or 0; slices are alike.

    Args:
        x: Features; of more than P^2 = 4,157,521 elements a slice some share their draw.
        columns: Keys [T, 4], or all `WHOLE`: then nothing is dropped.
        site: With its keep probability.
    """
    _, channels, _, height, width = x.shape
    count = torch.arange(channels * height * width, dtype=torch.int32, device=x.device)
    count = count.reshape(1, channels, 1, height, width)
    left = count % P
    right = (count - left) // P % P
    keys = [columns[:, i].to(torch.int32).reshape(-1, 1, 1, 1, 1) - SHIFT for i in range(KEYS)]
    left, right = permute(left, right, keys)  # type: ignore[arg-type,assignment]
    keep = site.keep_probability or 1.0
    kept = (left * P + right) < round(keep * P * P)
    whole = columns[:, 0].reshape(-1, 1, 1, 1, 1) == WHOLE
    return x * torch.where(whole, 1.0, kept.to(x.dtype) / keep).to(x.dtype)
