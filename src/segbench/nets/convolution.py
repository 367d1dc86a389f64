"""What convolutions share, whatever the network: how far they see, borders that are replicated, norms that are folded.

Every tensor is [N, C, Z, Y, X]. How far a convolution sees along (Z, Y, X) is one triple, `reach`, of ones and zeros:
along an axis of reach r kernels are 1 + 2r long, and ways down and up go by 1 + r.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Triple = tuple[int, int, int]


def pad(x: Tensor, reach: Triple, end: bool = True) -> Tensor:
    """`reach` voxels of replicated border at the beginning of each axis, and at its end where that is seen."""
    sides = [side for r in reversed(reach) for side in (r, r if end else 0)]
    if x.dtype != torch.bfloat16:
        return F.pad(x, sides, mode="replicate")
    # copies need no more digits; autocast would go to float32 and back, which took a tenth of a training's time
    with torch.autocast(x.device.type, enabled=False):
        return F.pad(x, sides, mode="replicate")


def kernel(reach: Triple) -> Triple:
    """How long a kernel is that sees so far."""
    z, y, x = (1 + 2 * r for r in reach)
    return z, y, x


def factor(reach: Triple) -> Triple:
    """What ways down divide the edges by, and ways up multiply them with."""
    z, y, x = (1 + r for r in reach)
    return z, y, x


def scale_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Batch norm in evaluation as x * scale + shift."""
    assert isinstance(norm, nn.BatchNorm3d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale
