"""How much a model's answer depends on where tiles end: the same core with the card's halo and with twice that.

A halo that is shorter than the receptive field leaves a little. What is compared is a tile in the midst of a volume, of
the card's size: all that both read is there, so borders of volumes play no part.
"""

from pathlib import Path

import numpy as np
import tomli_w

from segbench.data.phantom import PHANTOM_VERSION, phantom
from segbench.engines import Engine, start
from segbench.errors import InputError
from segbench.export.ranges import README
from segbench.io import write_bytes
from segbench.normalisation import fit
from segbench.predict import said, sample_masks, scaled
from segbench.tiling import Tile
from segbench.volume import Volume
from segbench.zoo import CARD, Model, find
from segbench.zoo.card import Card
from segbench.zoo.findings import SeamsCard
from segbench.zoo.page import page

VOLUMES = 4
SAMPLES, SEED = 16, 8


def measure(model: Model, engine: Engine, volumes: int = VOLUMES) -> SeamsCard:
    """Compares halo and doubled halo on phantoms; needs a model whose tiles may have any size.

    Raises:
        InputError: The model has a second network, or more classes than phantoms have.
    """
    card = model.card
    if card.cascade is not None or len(card.classes) > 2:
        why = "seams are measured on phantoms of two phases, of one network of two classes"
        raise InputError(f"model {card.name!r}: {why}")
    core, edge = card.input.core, max(c + 4 * h for c, h in zip(card.input.core, card.input.halo, strict=True))
    run = engine.bind(sample_masks(card, SAMPLES, SEED))
    changed, apart, voxels = 0, 0.0, 0
    for number in range(volumes):
        image = Volume(phantom(number, edge).image)
        scaling = fit(card.input.normalisation, image)
        near, far = (
            said(run(scaled(image, tile, scaling), tile.inner), card)
            for tile in (_tile(card, edge, times) for times in (1, 2))
        )
        changed += int(np.count_nonzero(near.labels != far.labels))
        apart += abs(float(near.entropy.sum(dtype=np.float64) - far.entropy.sum(dtype=np.float64)))
        voxels += near.labels.size
    return SeamsCard(
        labels_per_million=1e6 * changed / voxels,
        entropy=apart / voxels,
        on=f"a tile of {core[0]}^3 in each of {volumes} phantoms (version {PHANTOM_VERSION}), T = {SAMPLES}",
    )


def _tile(card: Card, edge: int, times: int) -> Tile:
    """The tile in the midst, with so many halos."""
    lows, stops, reads, shapes = [], [], [], []
    for core, halo, multiple in zip(card.input.core, card.input.halo, card.input.multiple, strict=True):
        low, width = (edge - core) // 2, times * halo
        lows.append(low)
        stops.append(low + core)
        reads.append(low - width)
        shapes.append(-(-(core + 2 * width) // multiple) * multiple)
    (z, y, x), (sz, sy, sx), (rz, ry, rx), (nz, ny, nx) = lows, stops, reads, shapes
    return Tile((z, y, x), (sz, sy, sx), (rz, ry, rx), (nz, ny, nx))


def add(folder: Path, engine: str = "auto") -> Card:
    """Measures a model and writes what was found into its card; its hash stays.

    Raises:
        InputError: No model, or not as its card pins it.
        EngineError: No engine is installed.
    """
    model = find(str(folder))
    card = model.card.model_copy(update={"seams": measure(model, start(model, engine))})
    write_bytes(model.path / README, page(card))
    write_bytes(model.path / CARD, tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return card
