"""What the modular U-Net is put together from: convolutions of either kind, norms, and ways down and up."""

from typing import Literal

import torch
from torch import Tensor, nn

from segbench.nets.convolution import Triple, factor, kernel, pad, scale_shift

Convolution = Literal["plain", "separable"]
Norm = Literal["batch", "layer", "none"]


class ChannelNorm(nn.Module):
    """Layer norm of the channels of each voxel: it depends on no other voxel, so not on the tile either."""

    def __init__(self, width: int, eps: float = 1e-3) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        centred = x - x.mean(dim=1, keepdim=True)
        normed = centred / torch.sqrt((centred * centred).mean(dim=1, keepdim=True) + self.eps)
        shape = (1, -1, 1, 1, 1)
        return normed * self.weight.reshape(shape) + self.bias.reshape(shape)


def make_norm(kind: Norm, width: int) -> nn.Module:
    """The norm of so many channels; two trainable numbers each, or none."""
    if kind == "none":
        return nn.Identity()
    return nn.BatchNorm3d(width) if kind == "batch" else ChannelNorm(width)


class Conv(nn.Module):
    """Convolution and norm of one tensor, or of the concatenation of two: of samples [T, ...] and what they share.

    Args:
        inputs: Channels of each of the tensors.
        width: Channels that it makes.
        reach: See the module.
        kind: A separable convolution is one for each channel, then one of length 1 over all of them.
        norm: Which norm.
        stride: Voxels from one output to the next are 1 + reach where it is the way down.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        width: int,
        reach: Triple,
        kind: Convolution = "plain",
        norm: Norm = "batch",
        stride: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.reach, self.down = inputs, reach, stride
        every, length, step = sum(inputs), kernel(reach), factor(reach) if stride else (1, 1, 1)
        self.each: nn.Conv3d | None = None
        if kind == "separable":
            self.each = nn.Conv3d(every, every, length, step, groups=every, bias=False)
            length, step = (1, 1, 1), (1, 1, 1)
        self.conv: nn.Conv3d = nn.Conv3d(every, width, length, step)
        self.rest: nn.Conv3d | None = None
        self.each_rest: nn.Conv3d | None = None
        self.norm = make_norm(norm, width)

    def forward(self, *parts: Tensor) -> Tensor:
        """Features [T, width, ...] of tensors [1 or T, ...], of which one may be shared by all samples."""
        return self.seeing(*self.bordered(*parts))

    def bordered(self, *parts: Tensor) -> tuple[Tensor, ...]:
        """What it sees of these tensors: their concatenation where it is not taken apart, with a border."""
        if self.rest is None and len(parts) > 1:
            count = parts[0].shape[0]
            parts = (torch.cat([p.expand(count, -1, -1, -1, -1) for p in parts], dim=1),)
        return tuple(pad(part, self.reach, end=not self.down) for part in parts)

    def seeing(self, *seen: Tensor) -> Tensor:
        """Features of what is seen, its own `bordered` or that of another one that sees as far."""
        if self.rest is not None:
            first, second = seen
            if self.each is not None and self.each_rest is not None:
                first, second = self.each(first), self.each_rest(second)
            return self.norm(self.conv(first) + self.rest(second))  # type: ignore[no-any-return]
        (x,) = seen
        return self.norm(self.conv(x if self.each is None else self.each(x)))  # type: ignore[no-any-return]

    def fold(self) -> None:
        """Merges batch norm into the weights, and takes a convolution of two tensors apart into a sum of two."""
        if isinstance(self.norm, nn.BatchNorm3d):
            scale, shift = scale_shift(self.norm)
            assert self.conv.bias is not None
            self.conv.weight = nn.Parameter(self.conv.weight * scale[:, None, None, None, None])
            self.conv.bias = nn.Parameter(self.conv.bias * scale + shift)
            self.norm = nn.Identity()
        if len(self.inputs) == 2:
            self.conv, self.rest = self._halves(self.conv)
            if self.each is not None:
                self.each, self.each_rest = self._halves(self.each)

    def _halves(self, whole: nn.Conv3d) -> tuple[nn.Conv3d, nn.Conv3d]:
        """A convolution of the first tensor and one of the second; the second one adds what both add once."""
        first, alone = self.inputs[0], whole.groups > 1
        made = []
        for count, part in zip(self.inputs, (slice(first), slice(first, None)), strict=True):
            weight = whole.weight[part] if alone else whole.weight[:, part]
            bias = whole.bias if part.start else None
            groups, width = (count, count) if alone else (1, whole.out_channels)
            half = nn.Conv3d(count, width, weight.shape[2:], groups=groups, bias=bias is not None)  # type: ignore[arg-type]
            half.weight = nn.Parameter(weight.clone())
            if bias is not None:
                half.bias = nn.Parameter(bias.clone())
            made.append(half)
        return made[0], made[1]


class Up(nn.Module):
    """Transposed convolution and norm: twice as fine along every axis that it sees along.

    The border is replicated: out[2i] = w1 x[i] and out[2i+1] = w2 x[i] + w0 x[i+1], where the last x[i+1] is x[i].
    """

    def __init__(self, width: int, reach: Triple, norm: Norm) -> None:
        super().__init__()
        self.reach = reach
        # its padding takes away what the replicated border made, at an end the voxel more that a stride of 2 leaves out
        self.conv = nn.ConvTranspose3d(
            width, width, kernel(reach), factor(reach), padding=_times(3, reach), output_padding=reach
        )
        self.norm = make_norm(norm, width)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same channels."""
        return self.norm(self.conv(pad(x, self.reach)))  # type: ignore[no-any-return]

    def fold(self) -> None:
        """Merges batch norm into the weights."""
        if isinstance(self.norm, nn.BatchNorm3d):
            scale, shift = scale_shift(self.norm)
            assert self.conv.bias is not None
            self.conv.weight = nn.Parameter(self.conv.weight * scale[None, :, None, None, None])
            self.conv.bias = nn.Parameter(self.conv.bias * scale + shift)
            self.norm = nn.Identity()


def _times(count: int, reach: Triple) -> Triple:
    z, y, x = (count * r for r in reach)
    return z, y, x


class Fine(nn.Module):
    """Head of a coarse network: what it says is joined with the grey values around each voxel, then convolved.

    Where in a voxel of a coarse network a boundary lies is seen best in the grey values themselves, and which one it is
    in the features. Logits of either added do worse: porosity has an IoU of .654 so, of .703 joined (1500 steps).
    """

    def __init__(self, inputs: int, slices: int, width: int, logits: int, reach: Triple, step: Triple) -> None:
        super().__init__()
        self.reach = reach
        self.up = nn.ConvTranspose3d(inputs, width, step, step)
        self.near = nn.Conv3d(slices, width, kernel(reach))
        self.both = nn.Conv3d(width, width, kernel(reach))
        self.said = nn.Conv3d(width, logits, 1)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Logits [T, K, Z, Y, X] of coarse features [T, ...] and of the image [1 or T, slices, Z, Y, X]."""
        joined = torch.relu(self.up(x) + self.near(pad(image, self.reach)))
        return self.said(torch.relu(self.both(pad(joined, self.reach))))  # type: ignore[no-any-return]


class Noise(nn.Module):
    """Gaussian noise while it trains, a function of a seed and a step; nothing otherwise, in a graph neither."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation, self._generator = deviation, torch.Generator()

    def begin(self, seed: int, step: int) -> None:
        """Draws what step `step` of the training with that seed draws."""
        self._generator.manual_seed(seed * 1_000_003 + step)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.training or not self.deviation:
            return x
        drawn = torch.empty(x.shape, dtype=torch.float32).normal_(generator=self._generator)
        return x + self.deviation * drawn.to(x)
