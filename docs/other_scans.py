"""What another scan of the same costs: IoU of composite models on test layers as they are, and changed.

    python docs/other_scans.py unet2d-composite unet3d-composite

The same specimen each time: other grey values, noise and sharpness, a few hot voxels, voxels of another size.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from segbench.data import fibre
from segbench.data.augmentation import Augmentation, crop
from segbench.engines import start
from segbench.metrics.counts import confusion
from segbench.metrics.overlap import iou
from segbench.predict import predict
from segbench.volume import Float32, UInt8, Volume
from segbench.zoo import find

LAYERS, EDGE = 16, 384
FULL = 255.0
"""The brightest that the scans of fibre-composite have."""
HOT = 1e-5
"""Share of the voxels that are far too bright."""
SEED = 1
Pair = tuple[Float32, UInt8]


def gamma(exponent: float) -> Callable[[Float32], Float32]:
    """Black and white as they are, what lies between darker or brighter."""
    return lambda image: np.asarray(FULL * (image / FULL) ** np.float32(exponent), np.float32)


def noisy(image: Float32) -> Float32:
    """White noise of 12 grey values."""
    return image + np.random.default_rng(SEED).normal(0, 12, image.shape).astype(np.float32)


def hot(image: Float32) -> Float32:
    """A few voxels six times as bright as any."""
    found, rng = image.copy(), np.random.default_rng(SEED)
    found.ravel()[rng.integers(0, found.size, max(1, round(HOT * found.size)))] = 6 * FULL
    return found


GREY: dict[str, Callable[[Float32], Float32]] = {
    "as it is": lambda image: image,
    "brighter middle greys (exponent 0.6)": gamma(0.6),
    "darker middle greys (exponent 1.6)": gamma(1.6),
    "more noise (12 of 255)": noisy,
    "less sharp (sigma 0.8 voxels)": lambda image: np.asarray(gaussian_filter(image, 0.8), np.float32),
    "hot voxels (1 in 100,000)": hot,
    "nothing darker than 50 of 255": lambda image: np.maximum(image, np.float32(50)),
}
SCALES = {"voxels 1.6 times finer": 1.6, "voxels 1.25 times coarser": 0.8}


def changed(image: Float32, label: UInt8, edge: int) -> dict[str, Pair]:
    """The first layers and their labels by how they are changed; coarser ones are of more of the specimen."""
    part = (slice(LAYERS), slice(edge), slice(edge))
    found = {name: (change(image[part]), label[part]) for name, change in GREY.items()}
    for name, scale in SCALES.items():
        how = Augmentation(symmetries=False, scales=(scale, scale), scaled=1.0)
        found[name] = crop(image, label, (LAYERS, edge, edge), how, np.random.default_rng(SEED))
    return found


def lines(models: Sequence[str], samples: int, edge: int) -> list[str]:
    """Of a table: a line for each change, a column for each model with the IoU of every class."""
    found = [(model.card, start(model)) for model in map(find, models)]
    test = fibre.split(fibre.load(fibre.DOMAINS[0])).test
    made = [
        f"| IoU of {', '.join(fibre.CLASSES)} | {' | '.join(f'`{card.name}`' for card, _ in found)} |",
        "|---|" + "---|" * len(found),
    ]
    for name, (image, label) in changed(test.image.astype(np.float32), test.label, edge).items():
        cells = []
        for card, engine in found:
            said = predict(Volume(image, source=name), card, engine, samples).labels
            cells.append(" ".join(f"{score:.3f}" for score in iou(confusion(label, said, len(fibre.CLASSES)))))
        made.append(f"| {name} | {' | '.join(cells)} |")
    return made


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--edge", type=int, default=EDGE)
    asked = parser.parse_args()
    print("\n".join(lines(asked.models, asked.samples, asked.edge)))  # noqa: T201


if __name__ == "__main__":
    main()
