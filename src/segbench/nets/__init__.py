"""PyTorch networks, by name.

Every network has `sites` (where it drops channels) and maps an image [B, 1, Z, Y, X] and masks [T, channels] to
logits [T, K, Z, Y, X]; B is 1 (one image, T samples) or equals T (a training batch with masks of its own).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segbench.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from segbench.nets.network import Network

NETWORKS = {
    "vnet-battery": "segbench.nets.vnet_battery:VNetBattery",
    "unet2d-battery": "segbench.nets.unet2d_battery:UNet2dBattery",
    "unet2d-matphase": "segbench.nets.unet2d_matphase:UNet2dMatPhase",
    "unet": "segbench.nets.baselines:UNet",
    "unetpp": "segbench.nets.baselines:UNetPlusPlus",
    "manet": "segbench.nets.baselines:MANet",
    "deeplabv3": "segbench.nets.baselines:DeepLabV3",
    "fcn": "segbench.nets.baselines:FCN",
    "segnet": "segbench.nets.segnet:SegNet",
    "vnet-sandia": "segbench.nets.vnet_sandia:VNetSandia",
    "vnet-milletari": "segbench.nets.vnet_milletari:VNetMilletari",
}


def build(name: str, **options: Any) -> "Network":  # noqa: ANN401
    """Builds the network `name` with the options of its constructor.

    Raises:
        UnknownNameError: There is no network of that name.
        InputError: It does not have one of these options.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    module, kind = NETWORKS[name].split(":")
    try:
        network: Network = getattr(import_module(module), kind)(**options)
    except TypeError as error:
        raise InputError(f"network {name!r}: {error}") from error
    return network
