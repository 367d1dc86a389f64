"""A small scan that nobody owns, and what the deterministic twin says of it: a BioImage.IO package is tested on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segbench.data.battery16 import SMALLEST, make_case
from segbench.data.domains import DOMAINS
from segbench.engines import start
from segbench.io import telling, write_tiff
from segbench.masks import ones
from segbench.normalisation import Normalisation, fit
from segbench.predict import probabilities
from segbench.volume import Float32, Volume
from segbench.zoo import Model
from segbench.zoo.card import Card

DOMAIN, SEED = "Tesla", 6  # no domain that a zoo model was trained on
EDGE = 64  # voxels, at least; where the halo and the network's strides allow it
MIDDLE, SPREAD = 30000.0, 9000.0  # grey values as a detector gives them
EPSILON = 1e-6  # what the format adds to the standard deviation
COVER = 512  # pixels that the cover is wide; half as high


@dataclass(frozen=True)
class Specimen:
    """What goes in and what comes out, as the package states it.

    Attributes:
        image: Grey values [1, 1, Z, Y, X].
        probability: Of the classes that the card's activation gives, [1, K, Z, Y, X], by PyTorch.
        apart: Largest difference of a probability if the image is normalised as the card says.
    """

    image: Float32
    probability: Float32
    apart: float


def sizes(card: Card) -> list[tuple[int, int]]:
    """The smallest edge and the step of (Z, Y, X); a step of 0 where the size is fixed.

    What is left of the smallest image without its halo is at least a voxel.
    """
    input_ = card.input
    if input_.fixed_tile:
        return [(core + 2 * halo, 0) for core, halo in zip(input_.core, input_.halo, strict=True)]
    return [
        (max(4 * multiple if multiple > 1 else 1, (2 * halo // multiple + 1) * multiple), multiple)
        for halo, multiple in zip(input_.halo, input_.multiple, strict=True)
    ]


def specimen(model: Model) -> Specimen:
    """Simulates the scan and runs PyTorch's network on it.

    Raises:
        EngineError: PyTorch is not installed.
    """
    card = model.card
    edges = [least + step * max(0, -(-(EDGE - least) // step)) if step else least for least, step in sizes(card)]
    image = scan(edges)
    run = start(model, "torch").bind(ones(card.dropout))
    probability = probabilities(run(stated(image, card.input.normalisation)), card)
    by_card = fit(card.input.normalisation, Volume(image[0, 0]))(image)
    apart = float(np.abs(probabilities(run(by_card), card) - probability).max())
    return Specimen(image, probability, apart)


def scan(edges: Sequence[int]) -> Float32:
    """Whole grey values [1, 1, Z, Y, X] of a simulated electrode with these edges."""
    case = make_case(DOMAINS[DOMAIN], max(SMALLEST, *edges), SEED)
    z, y, x = edges
    part = case.image[:z, :y, :x].astype(np.float64)
    grey = MIDDLE + SPREAD * (part - part.mean()) / part.std()
    image: Float32 = np.clip(np.rint(grey), 0, 65535).astype(np.float32)
    return image[None, None]


def stated(image: Float32, normalisation: Normalisation) -> Float32:
    """Normalised as bioimageio.core reads what the package states: all statistics are of the image as it was given."""
    grey = image.astype(np.float64)
    clip = normalisation.clip_percentiles
    values = grey if clip is None else np.clip(grey, *np.percentile(grey, clip))
    scored: Float32 = ((values - grey.mean()) / (grey.std() + EPSILON)).astype(np.float32)
    return scored


def write(made: Specimen, folder: Path) -> None:
    """Writes test tensors (.npy), sample images (.tif) and the cover (.png)."""
    with telling(folder):
        for name, array in (("input", made.image), ("output", made.probability)):
            np.save(folder / f"test_{name}.npy", array, allow_pickle=False)
            write_tiff(folder / f"sample_{name}.tif", array[0, -1])
        cover(made).save(folder / "cover.png", optimize=True)


def cover(made: Specimen) -> Image.Image:
    """The middle slice beside the probability of its last class, 2 to 1."""
    middle = made.image.shape[2] // 2
    slice_, probability = made.image[0, 0, middle], made.probability[0, -1, middle]
    low, high = np.percentile(slice_, [0.5, 99.5])
    grey = np.clip((slice_ - low) / max(high - low, 1e-6), 0, 1)
    page = Image.new("RGB", (COVER, COVER // 2))
    # from dark blue over white to orange: 0.5 is where nothing is known
    ends = np.array([[24, 46, 92], [245, 245, 245], [235, 120, 20]], np.float64)
    part = probability[..., None] * 2
    colours = np.where(part < 1, ends[0] + (ends[1] - ends[0]) * part, ends[1] + (ends[2] - ends[1]) * (part - 1))
    for number, plane in enumerate((np.repeat(grey[..., None] * 255, 3, axis=2), colours)):
        tile = Image.fromarray(np.rint(plane).astype(np.uint8))
        page.paste(tile.resize((COVER // 2, COVER // 2), Image.Resampling.NEAREST), (number * COVER // 2, 0))
    return page
