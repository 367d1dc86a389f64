"""What a user would do instead: T passes of MONAI's sliding window, over PyTorch or over any engine.

Windows of 64^3 that overlap by a quarter are blended with Gaussian weights. The masks of sample t are the same in all
windows, as in segbench, and each window's logits become calibrated probabilities before they are blended, so the mean
over samples and the blending can be exchanged.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from segbench import nets
from segbench.engines import Bound
from segbench.nets.weights import load
from segbench.predict import probabilities
from segbench.volume import Float32
from segbench.zoo import Model
from segbench.zoo.card import Card

ROI, OVERLAP = 64, 0.25
Triple = tuple[int, int, int]
Window = Callable[[Tensor], Tensor]
"""From an image [1, 1, *roi] to probabilities of class 1, same shape, or of each of K classes, [1, K, *roi]."""


def roi(shape: Triple, card: Card) -> Triple:
    """The window (Z, Y, X): 64^3, clipped to the volume, in multiples of the model's strides."""
    z, y, x = (min(ROI, n) // m * m for n, m in zip(shape, card.input.multiple, strict=True))
    return z, y, x


def count(shape: Triple, window: Triple) -> int:
    """How many windows MONAI lays over a volume."""
    steps = [n if w == n else max(1, int(w * (1 - OVERLAP))) for n, w in zip(shape, window, strict=True)]
    pairs = zip(shape, window, steps, strict=True)
    return math.prod(math.ceil((n - w) / step) + 1 for n, w, step in pairs)


def slide(image: Float32, card: Card, window: Window) -> Tensor:
    """The blended probabilities (1 or K, Z, Y, X) of one sliding-window inference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside MONAI
        from monai.inferers import sliding_window_inference

        whole = sliding_window_inference(
            torch.from_numpy(image)[None, None],
            roi_size=roi((image.shape[0], image.shape[1], image.shape[2]), card),
            sw_batch_size=1,
            predictor=window,
            overlap=OVERLAP,
            mode="gaussian",
            padding_mode="replicate" if card.input.border == "replicate" else "constant",
        )
    return whole[0]  # type: ignore[no-any-return]


class Passes:
    """T passes, of which the mean and the spread are kept, as whoever wants an uncertainty needs them.

    Args:
        image: The normalised volume (Z, Y, X).
        card: Of the model.
        windows: What each of the T samples computes of a window.

    Attributes:
        mean: Mean probabilities (1 or K, Z, Y, X) of the last run.
        squares: Sum of the samples' squared deviations from it, same shape.
    """

    def __init__(self, image: Float32, card: Card, windows: list[Window]) -> None:
        self._image, self._card, self._windows = image, card, windows
        self.mean: Float32 = np.zeros(0, dtype=np.float32)
        self.squares: Float32 = np.zeros(0, dtype=np.float32)

    def run(self) -> None:
        """All passes."""
        with torch.inference_mode():
            mean = slide(self._image, self._card, self._windows[0])
            squares = torch.zeros_like(mean)
            for number, window in enumerate(self._windows[1:], start=2):
                sample = slide(self._image, self._card, window)
                apart = sample - mean
                mean += apart / number
                squares += apart * (sample - mean)
        self.mean, self.squares = mean.numpy(), squares.numpy()


def eager(model: Model, masks: Float32, threads: int) -> list[Window]:
    """Each sample as the PyTorch network, channels last, its batch norms and upsamplings folded."""
    torch.set_num_threads(threads)
    network = nets.build(model.card.network.kind, **model.card.network.options)
    load(network, model.weights)
    folded = network.eval().folded().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    rows = torch.from_numpy(masks)

    def of(row: Tensor) -> Window:
        return lambda x: probability(folded(x.to(memory_format=torch.channels_last_3d), row), model.card)

    return [of(rows[t : t + 1]) for t in range(len(rows))]


def through(run: Callable[[Float32, Float32], Float32], masks: Float32, card: Card, threads: int) -> list[Window]:
    """Each sample as a masked graph: `run` maps an image and one mask row [1, channels] to logits [1, 1 or K, *roi]."""
    torch.set_num_threads(threads)

    def of(row: Float32) -> Window:
        return lambda x: probability(torch.from_numpy(run(_array(x), row)), card)

    return [of(masks[t : t + 1]) for t in range(len(masks))]


def mean_of(bound: Bound, image: Float32, card: Card) -> Float32:
    """Mean probabilities with MONAI's tiling of all samples that an engine bound, by segbench's own maths."""

    def window(x: Tensor) -> Tensor:
        return torch.from_numpy(probabilities(bound(_array(x)), card).mean(axis=0, keepdims=True))

    with torch.inference_mode():
        return slide(image, card, window).numpy()


def _array(window: Tensor) -> Float32:
    """A window as an engine wants it: MONAI cuts views."""
    return np.ascontiguousarray(window.numpy())


def probability(logits: Tensor, card: Card) -> Tensor:
    """The calibrated probability of class 1, or those of each class."""
    if card.calibration is not None:
        logits = logits * card.calibration.scale + card.calibration.shift
    return torch.sigmoid(logits) if card.activation == "sigmoid" else torch.softmax(logits, dim=1)
