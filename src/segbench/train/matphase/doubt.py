"""HCL-IDK: a classifier of single pixels that says where the first network is likely to be wrong.

Its loss is plain binary cross-entropy. Right pixels outnumber wrong ones some ten times; weighing them would shift all
logits alike and so change nothing but the threshold, which is chosen on validation images anyway. Left alone, its
sigmoid means what it says: the probability of being wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from segbench.nets.doubt import Doubt
from segbench.train.matphase.fitting import Plan, Stepping, fit
from segbench.train.matphase.recipe import DoubtRecipe
from segbench.train.matphase.said import Said
from segbench.train.matphase.stage import Done, Stage
from segbench.volume import Float32

VERSION = 1
STANDARDISED_BY = 2**18  # pixels at most that decide mean and deviation of the features
Bool = npt.NDArray[np.bool_]


def train_doubt(
    stage: Stage,
    said: Said,
    recipe: DoubtRecipe,
    seed: int,
    budget_s: float | None = None,
    steps: int | None = None,
    stepping: Stepping | None = None,
) -> tuple[Doubt, Done]:
    """The stage: the classifier.

    Args:
        stage: Where it is kept.
        said: Of the images that are learned from.
        recipe: Sizes and epochs.
        seed: Of weights and draws.
        budget_s: Processor time.
        steps: At most.
        stepping: Called with records.
    """
    torch.manual_seed(seed)
    network = Doubt(said.count, recipe.widths)
    with stage.working() as done:
        pixels, wrong = said.label.size, said.wrong.reshape(-1)
        draws = np.random.default_rng([seed, 3]).integers(pixels, size=min(pixels, STANDARDISED_BY))
        features = torch.from_numpy(said.features(draws))
        network.standardise(features.mean(dim=0), features.std(dim=0).clamp_min(1e-6))

        def loss(step: int, share: float) -> Tensor:
            del share
            # drawn with replacement: a permutation of all pixels of 850 images would take 400 MB
            batch = np.random.default_rng([seed, 4, step]).integers(pixels, size=recipe.batch)
            target = torch.from_numpy(wrong[batch]).float()
            logits = network(torch.from_numpy(said.features(batch)))[:, 0]
            return F.binary_cross_entropy_with_logits(logits, target)

        epochs = max(1, round(recipe.epochs * pixels / recipe.batch))
        # where the stage is done, its checkpoint stands at the end and no step is left
        plan = Plan(min(epochs, steps or epochs), recipe.optimiser, seed, stage.key, stage.name, budget_s)
        state = fit(network, loss, plan, stage.folder, stepping)
        return network, done or stage.finish(state.step, state.processor_s)


def wrongness(network: Doubt, said: Said) -> Float32:
    """Probability of being wrong (N, Y, X)."""
    found = np.empty(said.image.shape, np.float32)
    for number, part in enumerate(_features(said)):
        with torch.inference_mode():
            found[number] = torch.sigmoid(network(part)[:, 0]).reshape(said.image.shape[1:]).numpy()
    return found


def doubted(network: Doubt, said: Said, threshold: float) -> Bool:
    """Where the classifier doubts the first network (N, Y, X)."""
    return np.asarray(wrongness(network, said) > threshold)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The threshold, and what it means on the images that it was chosen on.

    Attributes:
        threshold: Probability of being wrong above which a pixel is doubted.
        doubted: Where that is (N, Y, X).
        recall: Share of the first network's errors that are doubted; NaN where there are none.
    """

    threshold: float
    doubted: Bool
    recall: float


def choose(network: Doubt, held_back: Said, recipe: DoubtRecipe) -> Chosen:
    """Chooses the threshold on images that nothing was fitted to."""
    probability, wrong = wrongness(network, held_back), held_back.wrong
    threshold = threshold_of(probability, wrong, recipe.recall, recipe.most)
    found = np.asarray(probability > threshold)
    return Chosen(threshold, found, float(found[wrong].mean()) if wrong.any() else float("nan"))


def threshold_of(probability: Float32, wrong: Bool, recall: float, most: float) -> float:
    """The threshold above which `recall` of the wrong pixels lie, or the share `most` of all where that is fewer.

    Args:
        probability: Of being wrong, any shape.
        wrong: The truth, same shape.
        recall: Share of the wrong pixels that are to be doubted.
        most: Share of all pixels that may be.
    """
    flat = np.sort(probability.reshape(-1))
    fewest = flat[min(flat.size - 1, int(np.ceil((1 - most) * flat.size)) - 1)] if most < 1 else np.float32(0)
    errors = np.sort(probability[wrong])
    if not errors.size:
        return float(fewest)
    # strictly above: step just below the last wrong pixel that is to be caught
    last = errors[errors.size - max(1, int(np.ceil(recall * errors.size)))]
    below_one = np.nextafter(np.float32(1), np.float32(0))  # as a card's threshold has to be
    return float(min(max(np.nextafter(last, np.float32(0)), fewest), below_one))


def _features(said: Said) -> Iterator[Tensor]:
    plane = said.image[0].size
    for number in range(len(said.image)):
        yield torch.from_numpy(said.features(np.arange(number * plane, (number + 1) * plane)))
