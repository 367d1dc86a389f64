"""What MatPhase was compared with: networks of segmentation-models-pytorch and torchvision, from random weights.

Each sees single slices and has no dropout. Nothing is downloaded. The study names neither encoder nor width; all of
them have ResNet-18 here, as it is the smallest that both libraries have.
"""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from segbench.errors import InputError
from segbench.nets.network import Network, repeated
from segbench.nets.torchvision_ops import declare

INSTALL = "pip install 'segbench[baselines]'"


class Slicewise(Network):
    """A network of slices [N, 1, Y, X] to logits [N, K, Y, X] as one of volumes, slice by slice.

    Args:
        network: Of slices.
        classes: K.
        stride: Edges of a slice must be multiples of this.
    """

    def __init__(self, network: nn.Module, classes: int, stride: int) -> None:
        super().__init__()
        if classes < 3:
            raise TypeError(f"classes is at least 3, not {classes}: it gives a logit for each")
        self.network, self.classes, self.stride = network, classes, (1, stride, stride)

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """Logits [B, K, Z, Y, X]; see `repeated`."""
        count, _, z, y, x = image.shape
        logits: Tensor = self.network(image.reshape(count * z, 1, y, x))
        return repeated(logits.reshape(count, z, self.classes, y, x).transpose(1, 2), masks)


def _library(name: str) -> Any:  # noqa: ANN401
    """A module of one of the two libraries.

    Raises:
        InputError: It is not installed.
    """
    declare()
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = name.partition(".")[0]
        raise InputError(f"this network needs {missing}, which is not installed: {INSTALL}") from error


class _Smp(Slicewise):
    """A network of segmentation-models-pytorch by the name of its class."""

    kind = ""

    def __init__(self, classes: int = 3, encoder: str = "resnet18") -> None:
        smp = _library("segmentation_models_pytorch")
        network = getattr(smp, self.kind)(encoder, encoder_weights=None, in_channels=1, classes=classes)
        super().__init__(network, classes, 32)


class UNet(_Smp):
    """U-Net (Ronneberger et al. 2015)."""

    kind = "Unet"


class UNetPlusPlus(_Smp):
    """U-Net++ (Zhou et al. 2018)."""

    kind = "UnetPlusPlus"


class MANet(_Smp):
    """MA-Net (Fan et al. 2020); its attention spans the slice, so the answer depends on the tile's size."""

    kind = "MAnet"
    fixed_tile = True


class DeepLabV3(_Smp):
    """DeepLabV3 (Chen et al. 2017); it pools over the whole slice, so the answer depends on the tile's size."""

    kind = "DeepLabV3"
    fixed_tile = True


class _Fcn(nn.Module):
    """torchvision's head of an FCN on the last features of a ResNet, enlarged to the slice."""

    def __init__(self, classes: int, encoder: str) -> None:
        super().__init__()
        models = _library("torchvision.models")
        resnet = getattr(models, encoder)(weights=None)
        resnet.conv1 = nn.Conv2d(1, resnet.conv1.out_channels, 7, stride=2, padding=3, bias=False)
        width = resnet.fc.in_features
        self.features = nn.Sequential(*list(resnet.children())[:-2])  # without pooling and classifier
        self.head = _library("torchvision.models.segmentation.fcn").FCNHead(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return torch.nn.functional.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


class FCN(Slicewise):
    """FCN (Long et al. 2015) as torchvision builds it, on a plain ResNet: one class for 32 x 32 pixels, interpolated.

    torchvision's own has a ResNet-50 whose last stages are dilated, 33 million parameters and ten times the work.
    """

    def __init__(self, classes: int = 3, encoder: str = "resnet18") -> None:
        super().__init__(_Fcn(classes, encoder), classes, 32)
