"""Rows of methods that need no network, case by case: what a user would do without one."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from segbench.evaluate import baselines, priors
from segbench.evaluate.blocks import blocks
from segbench.evaluate.cases import Labelled, Source
from segbench.evaluate.provenance import row_of
from segbench.evaluate.scores import score
from segbench.hardware import cores, processor
from segbench.rows import Row
from segbench.volume import Float32, UInt8

Grey = npt.NDArray[np.generic]
Naive = Literal["otsu", "forest", "majority", "uniform", "bayes", "slice-forest"]
NAIVE: tuple[Naive, ...] = get_args(Naive)
ALWAYS: tuple[Naive, ...] = ("otsu", "forest")
"""Those that every data set has; the others learn from its training part, or are there beside them."""
FORESTS = ("forest", "slice-forest")
STUDIED: tuple[Naive, ...] = ("slice-forest",)
"""Those of studies alone: a forest none of whose features looks at another slice."""
ENGINE = {"otsu": "scikit-image", "forest": "scikit-learn", "majority": "numpy", "uniform": "numpy", "bayes": "numpy"}
ENGINE["slice-forest"] = ENGINE["forest"]
TIMED = {
    "otsu": "threshold",
    "forest": "training on one slice, features and prediction",
    "majority": "counting",
    "uniform": "drawing",
    "bayes": "histograms of the training part, and prediction",
}
TIMED["slice-forest"] = TIMED["forest"]


def of_case(case: Labelled) -> tuple[Naive, ...]:
    """Those that `segbench eval` has beside a case: the most where its data set says which part is trained on."""
    return ALWAYS if case.training is None else tuple(name for name in NAIVE if name not in STUDIED)


def naive_rows(
    data: Source,
    case: Labelled,
    other: Labelled | None,
    seed: int,
    invert: bool,
    names: Sequence[Naive],
    *,
    divided: bool = False,
) -> Iterator[Row]:
    """A row for each of these methods, but for a forest that nothing can be shown to.

    Args:
        data: Whose classes.
        case: To segment.
        other: Another case of its domain, which a forest may learn from where this one is a single slice.
        seed: Of forest and dice.
        invert: The negative of the image is segmented.
        names: Which methods; all but "otsu" and the forests need the case's training part.
        divided: Rows have blocks, as those of models do.
    """
    image, classes = _grey(case, invert), len(data.classes)
    for name in names:
        start = time.perf_counter()
        found = _segmented(name, case, image, classes, other, seed, invert)
        if found is None:
            continue
        seconds = time.perf_counter() - start
        scores, truth, human = score(case, found[0], found[1], data.classes)
        yield row_of(
            case,
            scores,
            (truth, human),
            blocks=blocks(case.reference, found[0], classes, case.stack) if divided else (),
            kind="baseline",
            model=name,
            model_hash=None,
            engine=ENGINE[name],
            device=processor(),
            precision="f32",
            threads=cores() if name in FORESTS else 1,
            samples=0,
            seed=seed if name in (*FORESTS, "uniform") else None,
            wall_s=seconds,
            timed=TIMED[name],
        )


def _segmented(
    name: Naive, case: Labelled, image: Grey, classes: int, other: Labelled | None, seed: int, invert: bool
) -> tuple[UInt8, Float32 | None] | None:
    """Classes, and the probability of class 1 where a method has one; None where there is nothing to learn from."""
    known = _known(case, invert)
    if name == "otsu":
        found = baselines.otsu(image, classes)  # from dark to bright, as classes are where nobody says otherwise
        return (found if known is None else priors.darkest_first(*known, classes)[found]), None
    if name == "uniform":
        return priors.uniform(classes, image.shape, seed), None
    if name in FORESTS:
        shown, stack = shown_of(case, image, other, invert), case.stack or name == "slice-forest"
        return None if shown is None else baselines.forest(image, shown, seed, cores(), stack=stack)
    if known is None:
        return None
    return (priors.majority(known[1], image.shape) if name == "majority" else priors.bayes(image, *known)), None


def _known(case: Labelled, invert: bool) -> tuple[Grey, UInt8] | None:
    """Grey values and classes of the part that is trained on, where the data set says which."""
    if case.training is None:
        return None
    grey = case.training.image
    return -grey.astype(np.float32) if invert else grey, case.training.labels.astype(np.uint8)


def _grey(case: Labelled, invert: bool) -> Grey:
    image = np.asarray(case.image.data[:])
    return -image.astype(np.float32) if invert else image


def shown_of(case: Labelled, image: Grey, other: Labelled | None, invert: bool) -> baselines.LabelledSlice | None:
    """What a forest may see: what the case says, the middle slice, or, for a single slice, another of its domain."""
    if case.shown is not None:
        return replace(case.shown, image=-case.shown.image.astype(np.float32)) if invert else case.shown
    if len(image) > 1:
        return baselines.middle_slice(image, case.reference)
    # the only labelled slice of its domain leaves nothing to train on that is not tested on
    return baselines.middle_slice(_grey(other, invert), other.reference) if other else None
