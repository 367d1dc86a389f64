"""Optimisers of PyTorch and of pytorch-optimizer, and how their learning rate goes."""

import math

import torch
from torch import nn

from segbench.errors import InputError
from segbench.train.recipe import OptimiserRecipe

EPSILON = 1e-14
"""AdaBelief's, as published with the tomo2seg study."""


def learning_rate(step: float, steps: int, recipe: OptimiserRecipe) -> float:
    """The rate of the step that comes after `step` steps; of a budget, the steps that its used share stands for."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "sandia":
        epoch = step // recipe.steps_per_epoch
        return recipe.learning_rate * math.exp(0.01 * min(0, 10 - epoch))
    done = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
    if recipe.schedule == "constant-then-linear":
        return recipe.learning_rate * (1 - 0.9 * min(1.0, max(0.0, 2 * done - 1)))
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def make_optimiser(network: nn.Module, recipe: OptimiserRecipe) -> torch.optim.Optimizer:
    """The optimiser of a recipe, fused where PyTorch has it so.

    Raises:
        InputError: It is of a library that is not installed.
    """
    if recipe.kind == "adabelief":
        try:
            from pytorch_optimizer import AdaBelief
        except ModuleNotFoundError as error:
            raise InputError(
                "AdaBelief is pytorch-optimizer's, which is missing: pip install 'segbench[train]'"
            ) from error
        decay, rate = recipe.weight_decay, recipe.learning_rate
        made: torch.optim.Optimizer = AdaBelief(
            network.parameters(), rate, weight_decay=decay, rectify=True, eps=EPSILON
        )
        return made
    if recipe.kind == "adam":
        return torch.optim.Adam(network.parameters(), recipe.learning_rate, fused=True)
    return torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
