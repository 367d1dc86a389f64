"""What the second network changes on validation images."""

import time

import numpy as np
import numpy.typing as npt

from segbench.metrics.counts import confusion
from segbench.metrics.overlap import accuracy, miou
from segbench.nets.local import Local
from segbench.train.matphase.local import classified
from segbench.train.matphase.recipe import LocalRecipe
from segbench.train.matphase.said import Said
from segbench.train.matphase.stage import Done, Stage
from segbench.volume import UInt8

VERSION = 1
LATTICE = 4
"""Where every pixel is decided by a patch of its own, every so manieth row and column is scored: hours else."""

Bool = npt.NDArray[np.bool_]


def score(stage: Stage, network: Local, said: Said, hides: Bool, recipe: LocalRecipe) -> Done:
    """The stage: accuracy and mIoU of the first network and of both, pooled over images.

    Args:
        stage: Where it is kept.
        network: The local one.
        said: Of images that nothing was fitted to but the threshold.
        hides: What the classifier doubts (N, Y, X).
        recipe: What the local network sees and decides.
    """
    with stage.working() as done:
        if done is not None:
            return done
        start = time.process_time()
        looked = np.ones_like(hides)
        if recipe.all_pixels and network.kind == "patch":
            looked[:] = False
            looked[:, ::LATTICE, ::LATTICE] = True
        asked = looked if recipe.all_pixels else hides
        both = classified(network, said, hides, asked, recipe)
        facts = {"doubted": float(hides.mean()), "changed": float((both != said.classes)[looked].mean())}
        for name, classes in (("first", said.classes), ("both", both)):
            facts |= {f"{key}_{name}": value for key, value in scores(said, classes, looked).items()}
        return stage.finish(len(said.image), time.process_time() - start, **facts)


def scores(said: Said, classes: UInt8, looked: Bool) -> dict[str, float]:
    """Accuracy and mIoU of classes (N, Y, X) against the labels, where they are looked at."""
    counts = confusion(said.label[looked], classes[looked], said.count)
    return {"accuracy": accuracy(counts), "miou": miou(counts)}
