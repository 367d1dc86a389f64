"""Layers of fibre-composite to train on and to validate on, normalised as scans are that are predicted."""

from segbench.data import fibre
from segbench.data.fibre import FIBRE_VERSION, Layers
from segbench.data.pool import Progress, Sample
from segbench.normalisation import Normalisation, fit
from segbench.train.sources import FibreRecipe
from segbench.volume import Volume

DEEP, MULTIPLE = 16, 16
"""Layers of a validation slab, and what its edges are multiples of: deep enough for a 3-D network of four levels."""


def layers(
    recipe: FibreRecipe, normalisation: Normalisation, progress: Progress | None = None
) -> tuple[list[Sample], list[Sample]]:
    """Training layers as one volume, and those of the validation as slabs.

    Each part is normalised as a whole, as `segbench eval` does with the test layers: fewer training layers are cut out
    of the normalised part, since grey values need no labels.
    """
    parts = fibre.split(fibre.load(recipe.domain, recipe.seed, progress))
    train, validation = _sample(parts.train, normalisation), _sample(parts.validation, normalisation)
    count = min(recipe.layers or len(train.image), len(train.image))
    first = (len(train.image) - count) // 2
    held = slabs(validation)
    if recipe.validated is not None:
        edge = slice(recipe.validated)
        held = [Sample(held[0].domain, held[0].image[:, edge, edge], held[0].label[:, edge, edge])]
    return [_cut(train, first, first + count)], held


def slabs(whole: Sample) -> list[Sample]:
    """A volume in slabs, without the few voxels at its ends that no network's strides divide."""
    depth, height, width = (edge - edge % MULTIPLE for edge in whole.image.shape)
    image, label = whole.image[:, :height, :width], whole.label[:, :height, :width]
    inside = Sample(whole.domain, image, label)
    return [_cut(inside, z, z + DEEP) for z in range(0, depth, DEEP)]


def said(recipe: FibreRecipe, layers: int) -> str:
    """What was trained on, in words."""
    volume = f"domain {recipe.domain}, version {FIBRE_VERSION}, seed {recipe.seed}"
    return f"{layers} layers of {recipe.source} ({volume})"


def held_back(recipe: FibreRecipe, slabs: int) -> str:
    """What was validated on, in words."""
    if recipe.validated is not None:
        return f"{recipe.validated} x {recipe.validated} of {DEEP} validation layers of {recipe.source}"
    return f"{slabs} slabs of {DEEP} validation layers of {recipe.source}"


def _sample(part: Layers, normalisation: Normalisation) -> Sample:
    scaled = fit(normalisation, Volume(part.image, source="fibre-composite"))(part.image)
    return Sample(f"layers {part.first} to {part.last}", scaled, part.label)


def _cut(sample: Sample, first: int, last: int) -> Sample:
    return Sample(sample.domain, sample.image[first:last], sample.label[first:last])
