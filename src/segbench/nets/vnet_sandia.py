"""The V-Net of the Sandia study (Martinez et al.; code sandialabs/bcnn, MIT), layer for layer.

In name a V-Net, in fact a U-Net without residuals, with group norm and always-on channel dropout at four sites.
Padding is 'same' with zeros, as published; the upsampling's kernel of two pads at the end only.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.errors import InputError
from segbench.masks import Site
from segbench.nets.network import Network, drop

WIDTHS = (16, 32, 64)
BOTTOM = 128
GROUPS = 4


class _StepwiseNorm(nn.Module):
    """Group norm whose means are taken axis by axis, and whose variance is that of the centred values.

    Runtimes add a whole group up in float32 one value after the other: at 40³ that moved logits by 2e-3.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        grouped = x.reshape(x.shape[0], self.norm.num_groups, -1, *x.shape[2:])
        centred = grouped - _mean(grouped)
        normed = (centred / torch.sqrt(_mean(centred * centred) + self.norm.eps)).reshape(x.shape)
        shape = (1, -1, *[1] * (x.dim() - 2))
        return normed * self.norm.weight.reshape(shape) + self.norm.bias.reshape(shape)


def _mean(x: Tensor) -> Tensor:
    """Mean over all axes after the second, the last one first."""
    for axis in range(x.dim() - 1, 1, -1):
        x = x.mean(dim=axis, keepdim=True)
    return x


class _Pair(nn.Module):
    """Twice: convolution, ReLU, group norm."""

    def __init__(self, dims: int, inputs: int, width: int) -> None:
        super().__init__()
        conv = (nn.Conv2d, nn.Conv3d)[dims - 2]
        self.conv1 = conv(inputs, width, 3, padding=1)
        self.norm1 = nn.GroupNorm(GROUPS, width, eps=1e-5)
        self.conv2 = conv(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, width, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(F.relu(self.conv1(x)))
        return self.norm2(F.relu(self.conv2(x)))  # type: ignore[no-any-return]


class _Up(nn.Module):
    """Upsampling, concatenation with the skip, and a pair."""

    def __init__(self, dims: int, inputs: int, width: int) -> None:
        super().__init__()
        conv = (nn.Conv2d, nn.Conv3d)[dims - 2]
        self.dims = dims
        self.conv = conv(inputs, width, 2)
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-5)
        self.joined = nn.GroupNorm(GROUPS, 2 * width, eps=1e-5)
        self.pair = _Pair(dims, 2 * width, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.norm(F.relu(self.conv(F.pad(x, (0, 1) * self.dims))))
        skip = skip.expand(x.shape[0], *[-1] * (skip.dim() - 1))
        return self.pair(self.joined(torch.cat([skip, x], dim=1)))  # type: ignore[no-any-return]


class VNetSandia(Network):
    """Binary; Bernoulli masks at 0.5 after the bottom and after each up stage.

    Args:
        dims: 3 for volumes (1,403,059 parameters) or 2 for its slice-wise twin (483,955).
    """

    stride = (8, 8, 8)
    fixed_tile = True

    def __init__(self, dims: int = 3) -> None:
        super().__init__()
        if dims not in (2, 3):
            raise InputError(f"vnet-sandia: dims is 2 or 3, not {dims}")
        conv = (nn.Conv2d, nn.Conv3d)[dims - 2]
        self.stride = (8 if dims == 3 else 1, 8, 8)
        self.pool = (F.max_pool2d, F.max_pool3d)[dims - 2]
        self.down = nn.ModuleList(
            _Pair(dims, inputs, width) for inputs, width in zip((1, *WIDTHS), WIDTHS, strict=False)
        )
        self.bottom = _Pair(dims, WIDTHS[-1], BOTTOM)
        self.up = nn.ModuleList(
            _Up(dims, inputs, width) for inputs, width in zip((BOTTOM, *WIDTHS[:0:-1]), WIDTHS[::-1], strict=True)
        )
        self.last = conv(WIDTHS[0], 1, 3, padding=1)
        self.head = conv(1, 1, 1)
        self.sites = tuple(
            Site(name=name, channels=channels, kind="bernoulli", keep_probability=0.5)
            for name, channels in (("bottom", BOTTOM), ("up2", 64), ("up1", 32), ("up0", 16))
        )

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """Logits [T, 1, Y, X] or [T, 1, Z, Y, X]; their sigmoid is the probability of class 1."""
        x = image
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
            x = self.pool(x, 2)
        x = drop(self.bottom(x), masks, self.sites, 0)
        for number, (stage, skip) in enumerate(zip(self.up, reversed(skips), strict=True), start=1):
            x = drop(stage(x, skip), masks, self.sites, number)
        return self.head(F.relu(self.last(x)))  # type: ignore[no-any-return]

    def folded(self) -> "VNetSandia":
        """A copy for inference whose group norms every runtime computes to the same digits."""
        copied = copy.deepcopy(self).eval()
        for module in list(copied.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.GroupNorm) and not isinstance(module, _StepwiseNorm):
                    setattr(module, name, _StepwiseNorm(child))
        return copied
