"""What the first network says of images: the mean logits of T samples, the class, the entropy.

Every image is given samples of its own, so that the later stages learn what such networks say, not what T of them do.
The mean logits lie on disk and are mapped: 850 images of battery-fib are 600 MB.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from segbench.io import write_bytes
from segbench.masks import SAMPLES, masks
from segbench.nets.network import Network
from segbench.train.matphase.stage import Done, Stage
from segbench.volume import Float32, UInt8

VERSION = 1
"""Raised whenever an array would change: it is part of the stage's key."""
AT_ONCE = 4  # samples: what their activations take bounds the memory
MEAN, PROGRESS = "mean.npy", "progress.json"
Int = npt.NDArray[np.int64]
Told = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Said:
    """Images, their labels, and what the first network says of them.

    Attributes:
        image: Normalised (N, Y, X).
        label: (N, Y, X).
        mean: Mean logits F (N, K, Y, X).
        classes: Where they are largest (N, Y, X).
        entropy: Of their softmax, in nats (N, Y, X).
    """

    image: Float32
    label: UInt8
    mean: Float32
    classes: UInt8
    entropy: Float32

    @property
    def count(self) -> int:
        """K."""
        return int(self.mean.shape[1])

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Where the class is not the label (N, Y, X)."""
        return np.asarray(self.classes != self.label)

    def context(self, pixels: Int) -> Float32:
        """Mean logits [n, K] of pixels, flat indices into (N, Y, X)."""
        number, place = np.divmod(pixels, self.image[0].size)
        flat = self.mean.reshape(len(self.mean), self.count, -1)
        return np.ascontiguousarray(flat[number, :, place])

    def features(self, pixels: Int) -> Float32:
        """What doubt looks at [n, K + 1]: mean logits and entropy."""
        return np.concatenate([self.context(pixels), self.entropy.reshape(-1)[pixels, None]], axis=1)

    def part(self, at: slice) -> "Said":
        """Some of the images."""
        return Said(self.image[at], self.label[at], self.mean[at], self.classes[at], self.entropy[at])


def summed_up(image: Float32, label: UInt8, mean: Float32) -> Said:
    """Class and entropy of mean logits (N, K, Y, X), image by image."""
    classes = np.empty(image.shape, np.uint8)
    entropy = np.empty(image.shape, np.float32)
    for number in range(len(image)):
        logits = torch.from_numpy(np.array(mean[number]))
        classes[number] = logits.argmax(dim=0).numpy()
        log = F.log_softmax(logits, dim=0)
        entropy[number] = -(log.exp() * log).sum(dim=0).numpy()
    return Said(image, label, mean, classes, entropy)


@dataclass(frozen=True)
class Asked:
    """How the first network is asked.

    Attributes:
        network: From released weights.
        halo: Pixels (Y, X) by which a slice is replicated past its edges, as where it is predicted.
        samples: T.
        seed: Of the masks; image n has samples n T to n T + T - 1, modulo what there are.
    """

    network: Network
    halo: tuple[int, int]
    samples: int
    seed: int

    def masks(self, number: int) -> Float32:
        """Masks [T, channels] of image `number`."""
        sites, first = self.network.sites, number * self.samples
        if not sites:
            return np.ones((1, 0), np.float32)
        return masks(sites, self.seed, [t % SAMPLES for t in range(first, first + self.samples)])


def mean_logits(network: Network, image: Float32, drawn: Float32, halo: tuple[int, int] = (0, 0)) -> Float32:
    """F (K, Y, X) of an image (Y, X): the mean logits under masks [T, channels]."""
    around = [
        (margin, margin + -(length + 2 * margin) % multiple)
        for length, margin, multiple in zip(image.shape, halo, network.stride[1:], strict=True)
    ]
    padded = torch.from_numpy(np.pad(image, around, mode="edge"))[None, None, None]
    total = torch.zeros(())
    with torch.inference_mode():
        for first in range(0, len(drawn), AT_ONCE):
            logits = network(padded, torch.from_numpy(drawn[first : first + AT_ONCE]))
            total = total + logits.float().sum(dim=0)
    y, x = (slice(margin, margin + length) for margin, length in zip(halo, image.shape, strict=True))
    found: Float32 = (total / len(drawn))[:, 0, y, x].numpy()
    return found


def say(
    stage: Stage,
    asked: Asked,
    image: Float32,
    label: UInt8,
    budget_s: float | None = None,
    told: Told | None = None,
) -> Said:
    """The stage: computes image by image, or goes on where the folder stands, or reads what is there.

    Args:
        stage: Where the mean logits are kept.
        asked: The first network, and how it is asked.
        image: Normalised (N, Y, X); with a budget the last ones may be left out.
        label: (N, Y, X).
        budget_s: Processor time after which no other image is begun.
        told: Called with (images done, images).
    """
    with stage.working() as there:
        count = (there or _compute(stage, asked, image, budget_s, told)).steps
        mean: Float32 = np.load(stage.folder / MEAN, mmap_mode="r")
    return summed_up(image[:count], label[:count], mean[:count])


def _compute(stage: Stage, asked: Asked, image: Float32, budget_s: float | None, told: Told | None) -> Done:
    path, progress = stage.folder / MEAN, stage.folder / PROGRESS
    at, spent, mean = 0, 0.0, None
    if path.is_file() and progress.is_file():
        state = json.loads(progress.read_text())
        at, spent, mean = int(state["images"]), float(state["process_s"]), np.load(path, mmap_mode="r+")
    before, start = spent, time.process_time()
    while at < len(image) and (at == 0 or spent < (budget_s or np.inf)):
        found = mean_logits(asked.network, image[at], asked.masks(at), asked.halo)
        if mean is None:
            shape = (len(image), *found.shape)
            mean = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        mean[at] = found
        mean.flush()
        at, spent = at + 1, before + time.process_time() - start
        write_bytes(progress, json.dumps({"images": at, "process_s": spent}))
        if told is not None:
            told(at, len(image))
    return stage.finish(at, spent)
