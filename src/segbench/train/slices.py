"""Slices of battery-fib to train on and to validate on, normalised as scans are that are predicted."""

import numpy as np

from segbench.data import fib
from segbench.data.fib import FIB_VERSION, Pairs
from segbench.data.pool import Progress, Sample
from segbench.normalisation import Normalisation, fit
from segbench.train.sources import FibRecipe
from segbench.volume import Volume


def slices(
    recipe: FibRecipe, normalisation: Normalisation, progress: Progress | None = None
) -> tuple[list[Sample], list[Sample]]:
    """Training and validation images of the recipe's split, one slice each: (1, Y, X).

    All training images are normalised together, as a volume, and so are those of the validation: what a stack of slices
    is that `segbench eval` predicts.
    """
    parts = fib.split(fib.load("clean", recipe.seed, progress), recipe.split)
    return _samples(parts.train, normalisation, recipe.images), _samples(parts.validation, normalisation, None)


def _samples(pairs: Pairs, normalisation: Normalisation, images: int | None) -> list[Sample]:
    scaled = fit(normalisation, Volume(pairs.image, source="battery-fib"))(pairs.image)
    count = len(scaled)
    chosen = np.unique(np.linspace(0, count - 1, min(images or count, count)).round().astype(int))
    return [Sample(f"slice {pairs.origin[i]}", scaled[i][None], pairs.label[i][None]) for i in chosen]


def said(recipe: FibRecipe, images: int) -> str:
    """What was trained on, in words."""
    return f"{images} slices of {recipe.source} (version {FIB_VERSION}, seed {recipe.seed}, {recipe.split} split)"
