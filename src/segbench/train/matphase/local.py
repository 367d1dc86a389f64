"""HCL-USI: the local network, trained on doubted pixels in the order of its curriculum."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from segbench import nets
from segbench.nets.local import Local
from segbench.train.losses import class_weights
from segbench.train.matphase.curriculum import Curriculum
from segbench.train.matphase.fitting import Loss, Plan, Stepping, fit
from segbench.train.matphase.patches import Patches, dense, hidden
from segbench.train.matphase.recipe import LocalRecipe
from segbench.train.matphase.said import Said
from segbench.train.matphase.stage import Done, Stage
from segbench.volume import UInt8

VERSION = 1
Bool = npt.NDArray[np.bool_]
AT_ONCE = 4096  # pixels that are classified together


def build(recipe: LocalRecipe, classes: int) -> Local:
    """The local network of a recipe."""
    return nets.build_local(recipe.kind, classes=classes, **options(recipe))


def options(recipe: LocalRecipe) -> dict[str, object]:
    """Of its constructor, besides the classes."""
    return {"widths": recipe.widths} if recipe.kind == "unet" else {"edge": recipe.edge}


def train_local(
    stage: Stage,
    said: Said,
    doubted: Bool,
    recipe: LocalRecipe,
    seed: int,
    budget_s: float | None = None,
    steps: int | None = None,
    stepping: Stepping | None = None,
) -> tuple[Local, Done]:
    """The stage: the local network.

    Args:
        stage: Where it is kept.
        said: Images, labels, and what the first network says.
        doubted: What the classifier doubts of it (N, Y, X): hidden from patches, and learned from. Right pixels
            among them stay and wrong ones that are not doubted stay out, so that it learns on what it will meet.
        recipe: Network, curriculum, loss.
        seed: Of weights and draws.
        budget_s: Processor time.
        steps: At most.
        stepping: Called with records.
    """
    torch.manual_seed(seed)
    network = build(recipe, said.count)
    with stage.working() as done:
        chosen = doubted if recipe.pixels == "doubted" else np.ones_like(doubted)
        learned = said.label[chosen] if chosen.any() else said.label
        weights = class_weights(np.bincount(learned.reshape(-1), minlength=said.count), recipe.balance)
        make = _patch_loss if network.kind == "patch" else _dense_loss
        loss, epoch = make(network, said, doubted, chosen, weights, recipe, seed)
        epochs = max(1, round(recipe.epochs * epoch))
        plan = Plan(min(epochs, steps or epochs), recipe.optimiser, seed, stage.key, stage.name, budget_s)
        state = fit(network, loss, plan, stage.folder, stepping)
        pixels = int(np.count_nonzero(chosen))
        return network, done or stage.finish(state.step, state.processor_s, pixels=pixels)


def _patch_loss(
    network: Local, said: Said, doubted: Bool, chosen: Bool, weights: Tensor, recipe: LocalRecipe, seed: int
) -> tuple[Loss, float]:
    """Loss of a step, and steps of an epoch."""
    pixels = np.flatnonzero(chosen)
    if not pixels.size:  # nothing to learn from: what is never asked may say anything
        pixels = np.arange(said.label.size)
    around = Patches(said.image, hidden(said.classes, doubted, said.count), said.count, network.edge, recipe.sees)
    curriculum = Curriculum(said.entropy.reshape(-1)[pixels], recipe, seed)
    labels = said.label.reshape(-1)

    def loss(step: int, share: float) -> Tensor:
        batch = pixels[curriculum.batch(step, share)]
        logits = network(around(batch), context(said, batch, recipe))
        return F.cross_entropy(logits, torch.from_numpy(labels[batch]).long(), weights)

    return loss, pixels.size / recipe.batch


def _dense_loss(
    network: Local, said: Said, doubted: Bool, chosen: Bool, weights: Tensor, recipe: LocalRecipe, seed: int
) -> tuple[Loss, float]:
    """Likewise; images are met in random order, and of their pixels those whose turn it is."""
    codes, margin = hidden(said.classes, doubted, said.count), network.edge // 2
    curriculum = Curriculum(said.entropy[chosen], recipe, seed)
    uncertain = np.sort(said.entropy[chosen])

    def loss(step: int, share: float) -> Tensor:
        at = np.random.default_rng([seed, 5, step]).integers(len(said.image), size=recipe.slices)
        logits = network(dense(said.image[at], codes[at], said.count, margin, recipe.sees))
        logits = logits[:, :, margin:-margin, margin:-margin]
        ready = chosen[at]
        if recipe.order != "random" and uncertain.size:
            met = curriculum.pool(share).size
            if recipe.order == "usi":
                ready = ready & (said.entropy[at] <= uncertain[met - 1])
            else:
                ready = ready & (said.entropy[at] >= uncertain[-met])
        target = torch.from_numpy(np.where(ready, said.label[at], np.uint8(255))).long()
        each = F.cross_entropy(logits, target, weights, ignore_index=255, reduction="sum")
        return each / max(1, int(np.count_nonzero(ready)))

    return loss, len(said.image) / recipe.slices


def context(said: Said, pixels: npt.NDArray[np.int64], recipe: LocalRecipe) -> Tensor:
    """Mean logits [n, K] of pixels; zero where the local network is not to see them."""
    seen = torch.from_numpy(said.context(pixels))
    return seen if "logits" in recipe.sees else torch.zeros_like(seen)


def classified(network: Local, said: Said, hides: Bool, asked: Bool, recipe: LocalRecipe) -> UInt8:
    """The local class where it is asked (N, Y, X), the first network's elsewhere: MatPhase's aggregator.

    Args:
        network: The local one.
        said: What the first one says.
        hides: Pixels whose class is hidden from the local network (N, Y, X).
        asked: Pixels that it decides (N, Y, X).
        recipe: What it sees.
    """
    codes = hidden(said.classes, hides, said.count)
    local = _dense_classes if network.kind == "dense" else _patch_classes
    with torch.inference_mode():
        return aggregated(local(network, said, codes, asked, recipe), said.classes, asked)


def aggregated(local: UInt8, first: UInt8, doubted: Bool) -> UInt8:
    """The local class on doubted pixels, the first network's elsewhere.

    The paper's section 3.4 prints it the other way round; its text and figure 4 have it like this.
    """
    return np.where(doubted, local, first)


def _patch_classes(network: Local, said: Said, codes: UInt8, asked: Bool, recipe: LocalRecipe) -> UInt8:
    found = said.classes.copy().reshape(-1)
    pixels = np.flatnonzero(asked)
    around = Patches(said.image, codes, said.count, network.edge, recipe.sees)
    for first in range(0, pixels.size, AT_ONCE):
        batch = pixels[first : first + AT_ONCE]
        found[batch] = network(around(batch), context(said, batch, recipe)).argmax(dim=1).numpy()
    return found.reshape(said.image.shape)


def _dense_classes(network: Local, said: Said, codes: UInt8, asked: Bool, recipe: LocalRecipe) -> UInt8:
    del asked
    margin, found = network.edge // 2, said.classes.copy()
    for number in range(len(said.image)):
        at = slice(number, number + 1)
        logits = network(dense(said.image[at], codes[at], said.count, margin, recipe.sees))
        found[at] = logits[:, :, margin:-margin, margin:-margin].argmax(dim=1).numpy()
    return found
