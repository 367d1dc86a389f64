"""The reference of a model: a small scan, and what PyTorch makes of it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tomli_w

from segbench.engines import Bound, start
from segbench.export import cascade
from segbench.io import file_sha256, write_bytes
from segbench.masks import masks, ones
from segbench.normalisation import fit
from segbench.predict import said
from segbench.volume import Float32, Volume
from segbench.zoo import CARD, Model, find
from segbench.zoo.artifact import REFERENCE
from segbench.zoo.card import Card, FileCard
from segbench.zoo.page import page
from segbench.zoo.reference import Reference, write_reference

README = "README.md"
EDGE = 24  # at least; as much as shows every layer's reach, and little to carry
SEED, SAMPLES = 2026, (0, 1, 2)
MIDDLE, SPREAD, HOT, NONE = 24000, 5000, 60000, 0  # grey values


def scan(multiple: tuple[int, int, int]) -> npt.NDArray[np.uint16]:
    """A small round scan of smooth noise (Z, Y, X) with some hot voxels, edges in the given multiples."""
    edges = [-(-EDGE // each) * each for each in multiple]
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(edges)
    for axis in range(3):
        noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)) / 3**0.5
    grey = np.clip(np.rint(MIDDLE + SPREAD * noise), 1, HOT - 1)
    grey.reshape(-1)[generator.choice(grey.size, grey.size // 400, replace=False)] = HOT
    y, x = (np.abs(np.arange(edge) - (edge - 1) / 2) / (edge / 2) for edge in edges[1:])
    grey[:, np.hypot(y[:, None], x[None]) > 1] = NONE
    return grey.astype(np.uint16)


def draw(model: Model) -> Reference:
    """Runs the model's network in PyTorch; one thread, so that the same machine gives the same bytes.

    Raises:
        EngineError: PyTorch is not installed.
    """
    card = model.card
    grey = scan(card.input.multiple)
    image = fit(card.input.normalisation, Volume(grey))(grey)[None, None]
    drawn = masks(card.dropout, SEED, SAMPLES) if card.dropout else np.repeat(ones(card.dropout), len(SAMPLES), axis=0)
    bind = start(model, "torch", threads=1).bind
    logits, deterministic = (_run(bind(each), image) for each in (drawn, ones(card.dropout)))
    found = said(logits, card)
    mean = found.probability[None] if found.probabilities is None else found.probabilities
    return Reference(
        grey=grey,
        image=image,
        seed=np.array([SEED], np.int32),
        samples=np.array(SAMPLES, np.int32),
        masks=drawn,
        logits=logits,
        deterministic=deterministic,
        mean=mean[None],
        entropy=found.entropy[None, None],
        mutual_information=found.mutual[None, None],
        **cascade.draw(model, image[0, 0], logits),
    )


def _run(bound: Bound, image: Float32) -> Float32:
    return np.ascontiguousarray(bound(image), dtype=np.float32)


def make(model: Model) -> FileCard:
    """Writes `reference.npz` beside the model's graph; its calibration is in it, so the card is to be whole.

    Raises:
        EngineError: PyTorch is not installed.
    """
    import torch

    threads = torch.get_num_threads()
    try:
        write_reference(model.path / REFERENCE, draw(model))
    finally:
        torch.set_num_threads(threads)
    return FileCard(path=REFERENCE, sha256=file_sha256(model.path / REFERENCE))


def add(folder: Path) -> Card:
    """Gives a model that was released without a reference its own, and pins it in its card; its hash stays.

    Raises:
        InputError: No model, or not as its card pins it.
        EngineError: PyTorch is not installed.
    """
    model = find(str(folder))
    files = model.card.files.model_copy(update={"reference": make(model)})
    card = model.card.model_copy(update={"files": files})
    write_bytes(model.path / README, page(card))
    write_bytes(model.path / CARD, tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return card
