"""PyTorch networks, by name.

Every network has `sites` (where it drops channels) and maps an image [B, 1, Z, Y, X] and masks [T, channels] to
logits [T, K, Z, Y, X]; B is 1 (one image, T samples) or equals T (a training batch with masks of its own).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segbench.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from segbench.nets.local import Local
    from segbench.nets.network import Network

NETWORKS = {
    "vnet-battery": "segbench.nets.vnet_battery:VNetBattery",
    "unet2d-battery": "segbench.nets.unet2d_battery:UNet2dBattery",
    "unet2d-matphase": "segbench.nets.unet2d_matphase:UNet2dMatPhase",
    "unet-modular": "segbench.nets.modular:ModularUNet",
    "unet": "segbench.nets.baselines:UNet",
    "unetpp": "segbench.nets.baselines:UNetPlusPlus",
    "manet": "segbench.nets.baselines:MANet",
    "deeplabv3": "segbench.nets.baselines:DeepLabV3",
    "fcn": "segbench.nets.baselines:FCN",
    "segnet": "segbench.nets.segnet:SegNet",
    "vnet-sandia": "segbench.nets.vnet_sandia:VNetSandia",
    "vnet-milletari": "segbench.nets.vnet_milletari:VNetMilletari",
}

LOCALS = {
    "lcgar": "segbench.nets.lcgar:Lcgar",
    "resnet18": "segbench.nets.resnet18:ResNet18",
    "unet": "segbench.nets.local_unet:LocalUNet",
}
"""Second networks of a cascade; these see what the first one said, and take no masks."""


def build(name: str, **options: Any) -> "Network":  # noqa: ANN401
    """Builds the network `name` with the options of its constructor.

    Raises:
        UnknownNameError: There is no network of that name.
        InputError: It does not have one of these options.
    """
    network: Network = _built(name, NETWORKS, "network", options)
    return network


def build_local(name: str, **options: Any) -> "Local":  # noqa: ANN401
    """Builds the second network `name` with the options of its constructor; errors as of `build`."""
    network: Local = _built(name, LOCALS, "local network", options)
    return network


def _built(name: str, known: dict[str, str], what: str, options: dict[str, Any]) -> Any:  # noqa: ANN401
    if name not in known:
        raise UnknownNameError(what, name, known)
    module, kind = known[name].split(":")
    try:
        return getattr(import_module(module), kind)(**options)
    except TypeError as error:
        raise InputError(f"{what} {name!r}: {error}") from error
