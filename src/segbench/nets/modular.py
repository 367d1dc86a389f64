"""`unet-modular`: the composable U-Net of the tomo2seg study (Bertoldo et al.), in 2-D, 2.5-D and 3-D.

    image ─ block ─┬──────────────────────────── skip ─┐
                   └ down ─ block ─┬──── skip ─┐       │      a block: conv3, norm, ReLU, conv3, norm; plus conv3 and
                                   └ down ─ bottom ─ up ─ block ─ up ─ block ─ noise ─ head      norm of its input; ReLU

All three take an image [B, 1, Z, Y, X] and give logits of the same edges. In 2-D kernels are 1 long along Z. In 2.5-D
too, but the slices at -2 to +2 are five channels of each slice; with a shared encoder each slice is encoded once, and
the five slices' features are channels of each skip and of one more block at the bottom. Past the image lie replicated
slices: a tile reads them as its halo, and past the volume's faces a tile of segbench always sees replicated voxels (the
paper reflects, which a tile of a volume cannot, as it does not know where the volume ends).

Borders are replicated, not zero as in the paper: what a tile reads past a face is the replicated volume, and a network
that took it for a void would answer otherwise for a tile that reads further.

Dropout is of channels, as masks that are data; parameter counts are those that the study recorded.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.masks import Site
from segbench.nets.convolution import Triple, factor
from segbench.nets.modular_parts import Conv, Convolution, Fine, Noise, Norm, Up
from segbench.nets.network import Network, drop, repeated

Dims = Literal["2d", "2.5d", "3d"]
KNOWN = {"dims": get_args(Dims), "convolution": get_args(Convolution), "norm": get_args(Norm)}
BESIDE = 2
"""Slices on either side that the 2.5-D network sees."""


class _Block(nn.Module):
    """Two convolutions, a third one of the input beside them; numbers of the sites before, between and after these."""

    def __init__(self, inputs: tuple[int, ...], widths: tuple[int, int], residual: bool, made: "_Maker") -> None:
        super().__init__()
        self.first, self.second = made.conv(inputs, widths[0]), made.conv((widths[0],), widths[1])
        self.beside = made.conv(inputs, widths[1]) if residual else None

    def forward(self, *parts: Tensor, masks: Tensor, sites: tuple[Site, ...], numbers: "_Numbers") -> Tensor:
        before, inner, outer = numbers
        if before is not None:
            parts = (drop(parts[0], masks, sites, before), *parts[1:])  # what comes up; the skip is as it is
        seen = self.first.bordered(*parts)  # once for both convolutions of the input
        x = F.relu(self.first.seeing(*seen))
        x = self.second(x if inner is None else drop(x, masks, sites, inner))
        x = F.relu(x if self.beside is None else x + self.beside.seeing(*seen))
        return x if outer is None else drop(x, masks, sites, outer)


_Numbers = tuple[int | None, int | None, int | None]


class _Maker:
    """Convolutions of one kind, norm and reach."""

    def __init__(self, reach: Triple, kind: Convolution, norm: Norm) -> None:
        self.reach, self.kind, self.norm = reach, kind, norm

    def conv(self, inputs: tuple[int, ...], width: int) -> Conv:
        return Conv(inputs, width, self.reach, self.kind, self.norm)

    def down(self, width: int, learned: bool) -> nn.Module:
        """A plain convolution with a stride, also where the others are separable; or pooling."""
        if not learned:
            return nn.MaxPool3d(factor(self.reach))
        return nn.Sequential(Conv((width,), width, self.reach, norm=self.norm, stride=True), nn.ReLU())

    def up(self, width: int, learned: bool) -> nn.Module:
        if not learned:
            scale = tuple(float(f) for f in factor(self.reach))
            return nn.Upsample(scale_factor=scale, mode="nearest")
        return nn.Sequential(Up(width, self.reach, self.norm), nn.ReLU())


class ModularUNet(Network):
    """Of two classes or more.

    Args:
        dims: How a volume is seen: each slice by itself, with two more on either side, or as a whole.
        filters: f0; level i has 2^(i + 1) times as many channels.
        depth: Levels above the bottom.
        convolution: Of the blocks; ways down and up are plain.
        norm: "layer" normalises the channels of each voxel.
        residual: Blocks add a convolution of their input.
        learned_down: Strided convolutions; otherwise pooling.
        learned_up: Transposed convolutions; otherwise nearest upsampling.
        dropout: Share of the channels that a sample keeps at a site; 1 is a network without sites.
        noise: Standard deviation of noise on the last features in training.
        falling: Sites on the way down too, as the paper has it; else from the bottom upwards, which leaves the encoder
            to be computed once for all samples.
        inner: Sites between the two convolutions of a block too, as the paper has it.
        ways: Sites after ways up too, which the paper has not: all of what a sample computes is then thin.
        coarse: So many voxels along each axis (1, 2 or 4; one number, or three for Z, Y and X) are one of the finest
            level, by a strided convolution before it all and a transposed one as the head. The paper has no such
            variant; at 2 a slice is a quarter of the work. Networks of slices keep all slices.
        fine: Channels of a head that sees every voxel: the last features, as fine as the image again, and a convolution
            of the image are added, then convolved once more. 0 is none, as in the paper.
        shared_encoder: 2.5-D alone: encodes slices one by one, the bottom's block too, and joins their features after.
        classes: Two share one logit, more have a logit each.

    Attributes:
        reach: Neighbours on each side that a convolution sees along (Z, Y, X): 1 or 0.
    """

    border = "replicate"

    def __init__(
        self,
        dims: Dims = "2d",
        filters: int = 16,
        depth: int = 3,
        convolution: Convolution = "plain",
        norm: Norm = "batch",
        residual: bool = True,
        learned_down: bool = True,
        learned_up: bool = True,
        dropout: float = 0.5,
        noise: float = 0.03,
        falling: bool = True,
        inner: bool = True,
        ways: bool = False,
        coarse: int | Sequence[int] = 1,
        fine: int = 0,
        shared_encoder: bool = False,
        classes: int = 3,
    ) -> None:
        super().__init__()
        _check(filters, depth, fine, classes, dropout, noise, dims=dims, convolution=convolution, norm=norm)
        self.classes = classes
        self.reach: Triple = (1, 1, 1) if dims == "3d" else (0, 1, 1)
        z, y, x = _coarse(coarse)
        step: Triple = (z if self.reach[0] else 1, y, x)
        coarser = step != (1, 1, 1)
        z, y, x = (c * f**depth for c, f in zip(step, factor(self.reach), strict=True))
        self.stride = (z, y, x)
        self.context = (BESIDE, 0, 0) if dims == "2.5d" else (0, 0, 0)
        made = _Maker(self.reach, convolution, norm)
        if shared_encoder and dims != "2.5d":
            raise TypeError(f"a shared encoder is one of slices beside each other: dims is 2.5d, not {dims}")
        self.shared = shared_encoder
        widths = [filters * 2 ** (level + 1) for level in range(depth + 1)]  # of the skips, and of the bottom
        slices = 1 + 2 * self.context[0]
        seen, joined = (1, slices) if shared_encoder else (slices, 1)  # slices that the encoder and the skips hold
        self.stem = nn.Conv3d(seen, filters, step, step) if coarser else None
        inputs = [filters if coarser else seen, *widths]
        self.down = nn.ModuleList(
            _Block((before,), (width // 2, width), residual, made)
            for before, width in zip(inputs, widths, strict=False)
        )
        merged = [_Block((slices * widths[-1],), (widths[-1] // 2, widths[-1]), residual, made)] if self.shared else []
        self.merge = nn.ModuleList(merged)
        self.shrink = nn.ModuleList(made.down(width, learned_down) for width in widths[:-1])
        self.grow = nn.ModuleList(made.up(width, learned_up) for width in widths[:0:-1])
        self.up = nn.ModuleList(
            _Block((below, joined * width), (width, width), residual, made) for below, width in pairwise(widths[::-1])
        )
        self.noise = Noise(noise)
        logits = 1 if classes == 2 else classes
        plain = nn.ConvTranspose3d if coarser else nn.Conv3d
        self.head: nn.Module = (
            Fine(widths[0], slices, fine, logits, self.reach, step) if fine else plain(widths[0], logits, step, step)
        )
        falls, rises = [f"down{i}" for i in range(depth)], [f"up{i}" for i in range(depth - 1, -1, -1)]
        names = [*falls, "bottom", *(["merge"] if self.shared else []), *rises]
        blocks = [cast(_Block, block) for block in (*self.down, *self.merge, *self.up)]
        first = 0 if falling else depth + self.shared
        self.sites, self._numbers = _sites(names, blocks, dropout, first, inner, depth if ways else 0)

    def begin(self, seed: int, step: int) -> None:
        """See `Network.begin`: its noise."""
        self.noise.begin(seed, step)

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """Logits [T, 1 or classes, Z, Y, X]."""
        beside = self.context[0]
        return self.inside(F.pad(image, (0, 0, 0, 0, beside, beside), mode="replicate") if beside else image, masks)

    def inside(self, image: Tensor, masks: Tensor) -> Tensor:
        """See `Network.inside`: logits of the slices that have all of their neighbours in the image."""
        beside = self._beside(image)
        x = image if self.shared else beside
        x = x if self.stem is None else self.stem(x)
        skips: list[Tensor] = []
        numbers = iter(self._numbers)
        for level, block in enumerate(self.down):
            x = self.shrink[level - 1](x) if level else x
            x = block(x, masks=masks, sites=self.sites, numbers=next(numbers))
            skips.append(self._beside(x) if self.shared else x)
        x = skips.pop()
        for block in self.merge:
            x = block(x, masks=masks, sites=self.sites, numbers=next(numbers))
        for way, block in zip(self.grow, self.up, strict=True):
            x = block(way(x), skips.pop(), masks=masks, sites=self.sites, numbers=next(numbers))
        x = self.noise(x)
        logits: Tensor = self.head(x, beside) if isinstance(self.head, Fine) else self.head(x)
        return logits if self.sites else repeated(logits, masks)

    def _beside(self, x: Tensor) -> Tensor:
        """Each slice with those beside it as more channels; the outermost are only neighbours."""
        sides = 2 * self.context[0]
        if not sides:
            return x
        return torch.cat([x[:, :, i : i - sides if i < sides else None] for i in range(sides + 1)], dim=1)

    def folded(self) -> Self:
        """A copy for inference: batch norms folded into the convolutions, and those of two tensors taken apart."""
        copied = copy.deepcopy(self).eval()
        with torch.no_grad():
            for module in copied.modules():
                if isinstance(module, Conv | Up):
                    module.fold()
        return copied


def _sites(
    names: list[str], blocks: list[_Block], share: float, first: int, inner: bool, rising: int
) -> tuple[tuple[Site, ...], tuple[_Numbers, ...]]:
    """The sites, and which of them lie before each block (of the last `rising` ones alone), within and after it."""
    sites: list[Site] = []

    def site(name: str, width: int) -> int | None:
        kept = max(1, round(share * width))
        if kept == width:
            return None
        sites.append(Site(name=name, channels=width, kept=kept))
        return len(sites) - 1

    numbers: list[_Numbers] = []
    for at, (name, block) in enumerate(zip(names, blocks, strict=True)):
        if at < first:
            numbers.append((None, None, None))
            continue
        before = site(f"{name}-way", block.first.inputs[0]) if at >= len(blocks) - rising else None
        within = site(f"{name}-inner", block.first.conv.out_channels) if inner else None
        numbers.append((before, within, site(name, block.second.conv.out_channels)))
    return tuple(sites), tuple(numbers)


def _check(filters: int, depth: int, fine: int, classes: int, dropout: float, noise: float, **named: str) -> None:
    """Raises TypeError where an option has no such value."""
    for name, value in named.items():
        if value not in KNOWN[name]:
            raise TypeError(f"{name} is one of {', '.join(KNOWN[name])}, not {value!r}")
    if filters < 1 or depth < 1 or classes < 2:
        raise TypeError(f"filters {filters} and depth {depth} are at least 1, classes {classes} at least 2")
    if fine < 0:
        raise TypeError(f"fine {fine} is a number of channels, 0 for none")
    if not 0 < dropout <= 1 or noise < 0:
        raise TypeError(
            f"dropout {dropout:g} is a share that is kept, above 0 and at most 1; noise {noise:g} at least 0"
        )


def _coarse(given: int | Sequence[int]) -> Triple:
    """Voxels of one of the finest level along (Z, Y, X)."""
    three = (given,) * 3 if isinstance(given, int) else tuple(given)
    if len(three) != 3 or any(n not in (1, 2, 4) for n in three):
        raise TypeError(f"coarse is 1, 2 or 4, or three of these, not {given!r}")
    z, y, x = three
    return z, y, x
