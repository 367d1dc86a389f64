"""What other grey values of a scan cost: IoU of composite models on test layers as they are, and changed.

    python docs/grey_values.py unet2d-composite unet3d-composite

The same layers each time; nothing that a reader of the slices would call another picture.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from segbench.data import fibre
from segbench.metrics.counts import confusion
from segbench.metrics.overlap import iou
from segbench.predict import predict
from segbench.engines import start
from segbench.volume import Float32, Volume
from segbench.zoo import find

LAYERS, EDGE = 16, 512
FULL = 255.0
"""The brightest that the scans of fibre-composite have."""
HOT = 1e-5
"""Share of the voxels that are far too bright."""


def gamma(exponent: float) -> Callable[[Float32], Float32]:
    """The middle greys darker or brighter, black and white as they are."""
    return lambda image: np.asarray(FULL * (image / FULL) ** np.float32(exponent), np.float32)


def noisy(image: Float32) -> Float32:
    """White noise of 12 grey values."""
    return image + np.random.default_rng(1).normal(0, 12, image.shape).astype(np.float32)


def hot(image: Float32) -> Float32:
    """A few voxels six times as bright as any."""
    found, rng = image.copy(), np.random.default_rng(1)
    found.ravel()[rng.integers(0, found.size, round(HOT * found.size))] = 6 * FULL
    return found


CHANGES: dict[str, Callable[[Float32], Float32]] = {
    "as it is": lambda image: image,
    "middle greys brighter (exponent 0.6)": gamma(0.6),
    "middle greys darker (exponent 1.6)": gamma(1.6),
    "more noise (12 of 255)": noisy,
    "less sharp (sigma 0.8 voxels)": lambda image: np.asarray(gaussian_filter(image, 0.8), np.float32),
    "hot voxels (1 in 100,000)": hot,
    "nothing darker than 50 of 255": lambda image: np.maximum(image, np.float32(50)),
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--edge", type=int, default=EDGE)
    asked = parser.parse_args()
    test = fibre.split(fibre.load(fibre.DOMAINS[0])).test
    image = np.asarray(test.image[:LAYERS, : asked.edge, : asked.edge], np.float32)
    label = test.label[:LAYERS, : asked.edge, : asked.edge]
    print("| grey values | model | " + " | ".join(fibre.CLASSES) + " |\n|---|---|" + "---:|" * 3)  # noqa: T201
    for name, change in CHANGES.items():
        volume = Volume(change(image), source=name)
        for model in map(find, asked.models):
            said = predict(volume, model.card, start(model), asked.samples).labels
            scores = iou(confusion(label, said, len(fibre.CLASSES)))
            print(f"| {name} | `{model.card.name}` | " + " | ".join(f"{score:.3f}" for score in scores) + " |")  # noqa: T201


if __name__ == "__main__":
    main()
