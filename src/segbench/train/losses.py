"""Losses over binary logits, in float32 whatever the network ran in."""

import torch
import torch.nn.functional as F
from torch import Tensor

from segbench.train.recipe import LossRecipe


def balanced_weights(target: Tensor, balance: float) -> Tensor:
    """Weights of mean 1 like `target`; at balance 1 each class of the batch weighs the same in total."""
    share = target.mean().clamp(0.01, 0.99)
    weights = torch.where(target > 0.5, 0.5 / share, 0.5 / (1 - share))
    return 1 + balance * (weights - 1)


def soft_jaccard(probability: Tensor, target: Tensor) -> Tensor:
    """Mean over both classes of 1 - soft Jaccard, with one voxel of smoothing; 0 is perfect."""
    total = probability.new_zeros(())
    for p, y in ((probability, target), (1 - probability, 1 - target)):
        shared = (p * y).sum()
        total = total + 1 - (shared + 1) / (p.sum() + y.sum() - shared + 1)
    return total / 2


def loss(logits: Tensor, target: Tensor, recipe: LossRecipe) -> Tensor:
    """Scalar loss of logits [B, 1, Z, Y, X] against 0/1 targets of the same shape."""
    logits = logits.float()
    weights = balanced_weights(target, recipe.balance) if recipe.balance else None
    value = F.binary_cross_entropy_with_logits(logits, target, weight=weights)
    if recipe.jaccard:
        value = value + recipe.jaccard * soft_jaccard(torch.sigmoid(logits), target)
    return value
