"""What a shorter halo changes: labels and probabilities by tiles against those of one tile with a long halo.

    python docs/halo.py unet2d-composite                    # within slices of fibre-composite's test part
    python docs/halo.py unet3d-composite --axis z --edge 16

The reference is a single tile whose halo is `LONG`; past the image's faces both see replicated voxels.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from segbench.data import fibre
from segbench.engines import start
from segbench.predict import Prediction, predict
from segbench.volume import Volume
from segbench.zoo import find
from segbench.zoo.card import Card

LONG = 64
LAYERS, SIDE = 8, 96
"""What is looked at: so many whole layers, or along Z all layers of a square of that edge."""
HALOS = (0, 4, 8, 12, 16, 24, 32, 48)


@dataclass(frozen=True)
class Change:
    """What tiles with a halo say otherwise than one tile: share of the labels, and differences of probabilities."""

    halo: int
    labels: float
    largest: float
    mean: float


def tiled(card: Card, core: tuple[int, int, int], halo: tuple[int, int, int]) -> Card:
    """The card with another tile."""
    return card.model_copy(update={"input": card.input.model_copy(update={"core": core, "halo": halo})})


def changes(name: str, axis: str, edge: int, samples: int) -> list[Change]:
    """One for each of `HALOS`."""
    model, image = find(name), fibre.split(fibre.load(fibre.DOMAINS[0])).test.image
    volume = Volume(image[:LAYERS] if axis == "yx" else image[:, :SIDE, :SIDE], source=name)
    engine, need = start(model), model.card.input
    deep, high, wide = volume.shape

    def said(length: int, halo: int) -> Prediction:
        core = (deep, length, length) if axis == "yx" else (length, high, wide)
        around = (need.halo[0], halo, halo) if axis == "yx" else (halo, LONG, LONG)
        return predict(volume, tiled(model.card, core, around), engine, samples)

    whole, found = said(max(deep, high, wide), LONG), []
    for halo in HALOS:
        parts = said(edge, halo)
        apart = np.abs(parts.probability - whole.probability)
        labels = float((parts.labels != whole.labels).mean())
        found.append(Change(halo, labels, float(apart.max()), float(apart.mean(dtype=np.float64))))
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--axis", choices=["yx", "z"], default="yx", help="along which tiles have borders")
    parser.add_argument("--edge", type=int, default=80, help="of a tile's core along it")
    parser.add_argument("--samples", type=int, default=4)
    asked = parser.parse_args()
    print("| halo | labels changed | largest change of a probability | mean |\n|---:|---:|---:|---:|")  # noqa: T201
    for one in changes(asked.model, asked.axis, asked.edge, asked.samples):
        print(f"| {one.halo} | {one.labels:.1e} | {one.largest:.4f} | {one.mean:.1e} |")  # noqa: T201


if __name__ == "__main__":
    main()
