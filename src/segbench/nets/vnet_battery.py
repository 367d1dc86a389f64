"""`vnet-battery`, our own: residual, batch-normed, and built so that a sample is a thinner network.

    image ─ stage16 ─┬───────────────────────────────── skip ─┐
                     └ pool ─ stage32 ─┬──────── skip ─┐      │
                              └ pool ─ stage64 ─┬ skip ┐      │
                                       └ pool ─ stage128      │     each up stage ends in a dropout site,
                                                  └ up64 ─ up32 ─ up16 ─ head     and so does the bottom

Stages on the way down may have sites too. Everything before the first site runs once for all samples, and so does the
skip's half of each joining convolution. Upsampling and the convolution after it are one transposed convolution of
kernel 4 (8 taps instead of 27). Residuals read the joined tensor, never the upsampled one. Borders are replicated, not
zero: a slice repeated along z gives the same labels however often it is repeated, and a volume's face is not seen as a
void.

How far a convolution sees along each axis is one triple, `reach`: (1, 1, 1) here, (0, 1, 1) in `unet2d_battery`.
Along an axis of reach r kernels are 1 + 2r long, pooling and upsampling go by 1 + r, and collapsed kernels are 1 + 3r.
"""

import copy
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.masks import KEYS, Site
from segbench.nets.convolution import Triple, factor, kernel, pad, scale_shift
from segbench.nets.elementwise import drop_elements
from segbench.nets.network import Network, apply, columns


class _Conv(nn.Module):
    """Convolution and batch norm; `fold` merges the norm into the weights."""

    def __init__(self, inputs: int, width: int, reach: Triple) -> None:
        super().__init__()
        self.reach = reach
        self.conv = nn.Conv3d(inputs, width, kernel(reach), bias=False)
        self.norm: nn.Module = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(pad(x, self.reach)))  # type: ignore[no-any-return]

    def fold(self) -> None:
        scale, shift = scale_shift(self.norm)
        self.conv.weight = nn.Parameter(self.conv.weight * scale[:, None, None, None, None])
        self.conv.bias = nn.Parameter(shift)
        self.norm = nn.Identity()


class _Join(nn.Module):
    """conv(concat[upsampled x, skip]) and batch norm, as two convolutions whose sum it is."""

    def __init__(self, inputs: int, width: int, reach: Triple) -> None:
        super().__init__()
        self.reach = reach
        self.up = nn.Conv3d(inputs, width, kernel(reach), bias=False)  # its weights; applied by `collapse`
        self.skip = nn.Conv3d(width, width, kernel(reach), bias=False)
        self.norm: nn.Module = nn.BatchNorm3d(width)
        self.collapsed: nn.ConvTranspose3d | None = None

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        weight = collapse(self.up.weight) if self.collapsed is None else self.collapsed.weight
        # the replicated border of the upsampled tensor is the upsampled border; the padding crops it again
        crop = [3 * r for r in self.reach]
        up = F.conv_transpose3d(pad(x, self.reach), weight, stride=factor(self.reach), padding=crop)
        return self.norm(up + self.skip(pad(skip, self.reach)))  # type: ignore[no-any-return]

    def fold(self) -> None:
        scale, shift = scale_shift(self.norm)
        weight = collapse(self.up.weight * scale[:, None, None, None, None])
        inputs, width, z, y, x = weight.shape
        self.collapsed = nn.ConvTranspose3d(inputs, width, (z, y, x), bias=False)  # only its weight is used
        self.collapsed.weight = nn.Parameter(weight)
        del self.up
        self.skip.weight = nn.Parameter(self.skip.weight * scale[:, None, None, None, None])
        self.skip.bias = nn.Parameter(shift)
        self.norm = nn.Identity()


def collapse(weight: Tensor) -> Tensor:
    """The transposed kernel [I, O, 4, 4, 4] that equals nearest upsampling by 2 followed by conv3 [O, I, 3, 3, 3].

    Along one axis, out[2i] = w0 x[i-1] + (w1 + w2) x[i] and out[2i+1] = (w0 + w1) x[i] + w2 x[i+1]. An axis along
    which the kernel is 1 long is not upsampled and stays as it is.
    """
    three = weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
    z, y, x = (three if length == 3 else weight.new_ones(1, 1) for length in weight.shape[2:])
    return torch.einsum("oizyx,az,by,cx->ioabc", weight, z, y, x)


@dataclass(frozen=True)
class _Mask:
    """What a site drops: its columns [T, C] of the masks."""

    columns: Tensor
    site: Site

    def __call__(self, x: Tensor) -> Tensor:
        return drop_elements(x, self.columns, self.site) if self.site.kind == "element" else apply(x, self.columns)


def _masked(x: Tensor, mask: _Mask | None) -> Tensor:
    return x if mask is None else mask(x)


class _Stage(nn.Module):
    """Two convolutions; the second is a residual of the first. A light stage is its first convolution alone."""

    def __init__(self, first: _Conv | _Join, width: int, light: bool = False) -> None:
        super().__init__()
        self.first = first
        self.second = None if light else _Conv(width, width, first.reach)

    def forward(self, *x: Tensor, mask: _Mask | None = None) -> Tensor:
        a = F.relu(self.first(*x))
        if self.second is None:
            return a
        # the residual is not masked here: the site after the stage drops, and scales, the same channels once
        return F.relu(a + self.second(_masked(a, mask)))


class VNetBattery(Network):
    """Binary unless more classes are asked for; 3-D.

    Args:
        widths: Channels of each level, the last being the bottom's.
        kept: Channels that a sample keeps at the bottom and at each up stage, from the bottom upwards; all of them
            is a stage without dropout.
        inner: The second convolution of an up stage sees only the channels that its site keeps: half of the channels
            kept is then a quarter of the work, not half.
        light: The last up stage, at full resolution, is one convolution instead of two.
        encoder: Channels that a sample keeps after each stage on the way down, from the image to the one above the
            bottom; none of them: these stages have no dropout, and run once for all samples.
        classes: Two share one logit, more have a logit each.
        dropout: "channel", or "element": single elements, half of them, wherever fewer channels than there are would be
            kept. Such samples cannot be thinned, and the tile's size is part of the model (`nets.elementwise`).

    Attributes:
        reach: Neighbours on each side that a convolution sees along (Z, Y, X): 1 or 0.
    """

    border = "replicate"
    reach: Triple = (1, 1, 1)

    def __init__(
        self,
        widths: tuple[int, ...] = (16, 32, 64, 128),
        kept: tuple[int, ...] = (64, 32, 16, 8),
        inner: bool = False,
        light: bool = False,
        encoder: tuple[int, ...] = (),
        classes: int = 2,
        dropout: str = "channel",
    ) -> None:
        super().__init__()
        self.inner, self.classes = inner, classes
        if len(widths) < 2 or len(kept) != len(widths):
            raise TypeError(f"widths {widths} and kept {kept} need the same length, at least 2")
        if encoder and len(encoder) != len(widths) - 1:
            raise TypeError(f"encoder {encoder} needs one number less than widths {widths}, or none")
        if dropout not in ("channel", "element"):
            raise TypeError(f'dropout is "channel" or "element", not {dropout!r}')
        self.fixed_tile = dropout == "element"
        if classes < 2:
            raise TypeError(f"classes is at least 2, not {classes}")
        z, y, x = (step ** (len(widths) - 1) for step in factor(self.reach))
        self.stride = (z, y, x)
        falling, rising = zip((1, *widths[:-1]), widths, strict=True), widths[::-1]
        self.down = nn.ModuleList(_Stage(_Conv(a, b, self.reach), b) for a, b in falling)
        joins = zip(rising[:-1], rising[1:], strict=True)
        last = len(widths) - 2
        self.up = nn.ModuleList(
            _Stage(_Join(a, b, self.reach), b, light and i == last) for i, (a, b) in enumerate(joins)
        )
        self.head = nn.Conv3d(widths[0], 1 if classes == 2 else classes, 1)
        downs = tuple(f"down{level}" for level in range(len(widths) - 1))
        names = (*downs, "bottom", *(f"up{level}" for level in range(len(widths) - 2, -1, -1)))
        counts = (*(encoder or widths[:-1]), *kept)
        self.sites = tuple(
            Site(name=name, kind="element", channels=KEYS, keep_probability=count / channels)
            if self.fixed_tile
            else Site(name=name, channels=channels, kept=count)
            for name, channels, count in zip(names, (*widths[:-1], *rising), counts, strict=True)
            if count != channels
        )
        self.site_of = tuple(self._number(name) for name in names)

    def _number(self, name: str) -> int | None:
        return next((number for number, site in enumerate(self.sites) if site.name == name), None)

    def _mask(self, masks: Tensor, stage: int) -> "_Mask | None":
        number = self.site_of[stage]
        return None if number is None else _Mask(columns(masks, self.sites, number), self.sites[number])

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """Logits [T, 1, Z, Y, X], of which the sigmoid is the probability of class 1; or [T, classes, Z, Y, X]."""
        x = image
        skips: list[Tensor] = []
        for level, stage in enumerate(self.down):
            if level:
                skips.append(x)
                x = F.max_pool3d(x, factor(self.reach))
            mask = self._mask(masks, level)
            x = _masked(stage(x, mask=mask if self.inner and level < len(self.down) - 1 else None), mask)
        for number, (stage, skip) in enumerate(zip(self.up, reversed(skips), strict=True), start=len(self.down)):
            mask = self._mask(masks, number)
            x = _masked(stage(x, skip, mask=mask if self.inner else None), mask)
        return self.head(x)  # type: ignore[no-any-return]

    def folded(self) -> Self:
        """A copy for inference: batch norms and upsamplings folded into the convolutions."""
        copied = copy.deepcopy(self).eval()
        with torch.no_grad():
            for module in copied.modules():
                if isinstance(module, _Conv | _Join):
                    module.fold()
        return copied
