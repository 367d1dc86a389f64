"""`unet2d-matphase`: MatPhase's global model (UGSM), a batch-normed U-Net of single slices with dropout throughout."""

from segbench.nets.vnet_battery import VNetBattery


class UNet2dMatPhase(VNetBattery):
    """Pore, carbon and nickel; each slice is seen by itself, as in `unet2d-battery`.

    The paper says "U-Net with dropout 0.5 after each convolution block" and no more. Here a block is a stage, and half
    of its channels are kept after each, on the way down too. That costs: what samples share ends with the first stage.
    `encoder = []` drops from the bottom upwards only.
    """

    reach = (0, 1, 1)

    def __init__(
        self,
        widths: tuple[int, ...] = (16, 32, 64, 128),
        kept: tuple[int, ...] = (64, 32, 16, 8),
        inner: bool = False,
        light: bool = False,
        encoder: tuple[int, ...] = (8, 16, 32),
        classes: int = 3,
    ) -> None:
        super().__init__(widths, kept, inner, light, encoder, classes)
