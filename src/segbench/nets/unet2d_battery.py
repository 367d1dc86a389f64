"""`unet2d-battery`, the sibling of `vnet-battery` for single slices: each slice of a volume is seen by itself."""

from segbench.nets.vnet_battery import VNetBattery


class UNet2dBattery(VNetBattery):
    """Binary; every kernel is one voxel long along Z, so a slice's labels do not depend on the slices beside it.

    On a slice repeated along Z `vnet-battery` computes just this, its kernels summed along Z: between the two a single
    slice decides by the weights, not by the network.
    """

    reach = (0, 1, 1)
