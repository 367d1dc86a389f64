"""Where a training starts: random weights, or those of a model of the zoo."""

import torch

from segbench import nets
from segbench.errors import InputError
from segbench.nets import weights
from segbench.nets.network import Network
from segbench.train.recipe import Recipe
from segbench.zoo import Model, find

FLAT = {"unet2d-battery": "vnet-battery"}
"""A network of slices and the one of volumes that computes the same on a slice repeated along Z: its kernels are that
one's, summed along Z."""


def started(recipe: Recipe) -> Network:
    """The network as it is before the first step.

    Raises:
        InputError: There is no model of the name that it is to start from, or it is another network; or the network
            tells another number of classes apart.
    """
    torch.manual_seed(recipe.seed)
    network = nets.build(recipe.network.kind, **recipe.network.options)
    if network.classes != len(recipe.classes):
        raise InputError(
            f"recipe {recipe.name}: {recipe.network.kind} tells {network.classes} classes apart, not "
            f"{len(recipe.classes)} ({', '.join(recipe.classes)}): set network.options.classes"
        )
    if recipe.start is not None:
        model = find(recipe.start)
        given = len(model.card.classes)
        logits = (_logits(given), _logits(network.classes)) if given != network.classes else None
        weights.load(network, model.weights, logits, flat=_flat(recipe, model))
    return network


def said(recipe: Recipe) -> str | None:
    """Which weights a training started from, in words; None: random ones."""
    if recipe.start is None:
        return None
    model = find(recipe.start)
    flat = "; kernels summed along Z" if _flat(recipe, model) else ""
    new = len(model.card.classes) != len(recipe.classes)
    return named(model) + flat + (f"; last layer new, for {len(recipe.classes)} classes" if new else "")


def named(model: Model) -> str:
    """Which weights a model has, in words."""
    own = model.card.training
    return (
        f"{model.card.name} {model.card.version}, seed {own.seed}, {own.steps} steps "
        f"(weights {model.card.files.weights.sha256[:12]})"
    )


def _logits(classes: int) -> int:
    return 1 if classes == 2 else classes


def _flat(recipe: Recipe, model: Model) -> bool:
    return FLAT.get(recipe.network.kind) == model.card.network.kind
