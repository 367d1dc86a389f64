"""HCL-USI: the order in which the local network meets pixels, by the first network's uncertainty."""

import numpy as np
import numpy.typing as npt

from segbench.train.matphase.recipe import LocalRecipe, Order
from segbench.volume import Float32

Int = npt.NDArray[np.int64]


def ordered(uncertainty: Float32, order: Order, seed: int) -> Int:
    """Indices of pixels in the order of a curriculum; pixels that are alike come in random order."""
    shuffled = np.random.default_rng([seed, 1]).permutation(uncertainty.size)
    if order == "random":
        return shuffled
    keys = uncertainty[shuffled] if order == "usi" else -uncertainty[shuffled]
    return shuffled[np.argsort(keys, kind="stable")]


class Curriculum:
    """Batches of pixels, each a pure function of (step, share of the training done).

    Args:
        uncertainty: Of each pixel.
        recipe: Order and pace.
        seed: Of the draws.
    """

    def __init__(self, uncertainty: Float32, recipe: LocalRecipe, seed: int) -> None:
        self._order = ordered(uncertainty, recipe.order, seed)
        self._recipe, self._seed = recipe, seed

    def pool(self, share: float) -> Int:
        """The pixels that may be met after `share` of the training."""
        r = self._recipe
        if r.order == "random":
            return self._order
        part = r.start + (1 - r.start) * min(1.0, share / r.full)
        return self._order[: max(1, round(part * self._order.size))]

    def batch(self, step: int, share: float) -> Int:
        """Indices of `recipe.batch` pixels."""
        size = self._recipe.batch
        if self._recipe.pace == "sort":
            first = step * size
            return self._order[np.arange(first, first + size) % self._order.size]
        pool = self.pool(share)
        return pool[np.random.default_rng([self._seed, 2, step]).integers(pool.size, size=size)]
