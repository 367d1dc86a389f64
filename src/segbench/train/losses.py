"""Losses over logits of two classes or more, in float32 whatever the network ran in."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from segbench.data.manifest import UNLABELLED
from segbench.train.recipe import LossRecipe


def balanced_weights(target: Tensor, balance: float) -> Tensor:
    """Weights of mean 1 like `target`; at balance 1 each class of the batch weighs the same in total."""
    share = target.mean().clamp(0.01, 0.99)
    weights = torch.where(target > 0.5, 0.5 / share, 0.5 / (1 - share))
    return 1 + balance * (weights - 1)


def class_weights(counts: npt.NDArray[np.int64], balance: float) -> Tensor:
    """Weights [K] that are proportional to (share of the class)^-balance, and 1 in the mean over all voxels.

    Args:
        counts: Voxels of each class in the training images; a class that there is none of weighs nothing.
        balance: See `LossRecipe`.
    """
    share = counts / counts.sum()
    weights = np.where(counts > 0, np.maximum(share, 1 / counts.sum()) ** -balance, 0)
    return torch.from_numpy((weights / (share * weights).sum()).astype(np.float32))


def soft_jaccard(probability: Tensor, target: Tensor) -> Tensor:
    """Mean over both classes of 1 - soft Jaccard, with one voxel of smoothing; 0 is perfect."""
    return _soft_jaccard([(probability, target), (1 - probability, 1 - target)])


def _soft_jaccard(classes: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The same of pairs of probability and 0/1 target, one of each class."""
    total = classes[0][0].new_zeros(())
    for p, y in classes:
        shared = (p * y).sum()
        total = total + 1 - (shared + 1) / (p.sum() + y.sum() - shared + 1)
    return total / len(classes)


def loss(logits: Tensor, target: Tensor, recipe: LossRecipe, weights: Tensor | None = None) -> Tensor:
    """Scalar loss of logits against targets.

    Args:
        logits: [B, 1, Z, Y, X] of two classes, [B, K, Z, Y, X] of more.
        target: 0/1 of the same shape, or classes [B, Z, Y, X] as integers; `UNLABELLED` voxels count for nothing.
        recipe: Of the loss.
        weights: Of each of K classes (`class_weights`); None weighs voxels alike.
    """
    known = target != UNLABELLED
    if not bool(known.all()):
        if not bool(known.any()):
            return logits.float().sum() * 0  # of no voxel the mean would be undefined
        if logits.shape[1] == 1:
            logits, target = logits[known][:, None], target[known][:, None]  # [N, 1]
        else:
            logits, target = logits.movedim(1, -1)[known], target[known]  # [N, K] and [N]
    return (
        _binary(logits.float(), target, recipe)
        if logits.shape[1] == 1
        else _softmax(logits.float(), target, recipe, weights)
    )


def jaccard2(classes: Sequence[tuple[Tensor, Tensor]], per_class: bool) -> Tensor:
    """1 - (I + 1) / (U + 1) with I = sum y p and U = sum y + sum p^2 - I, the loss of the tomo2seg study; 0 is perfect.

    Args:
        classes: Probability and 0/1 target of each class.
        per_class: The mean over classes; otherwise sums go over all of them, and large classes decide.
    """
    shared = torch.stack([(p * y).sum() for p, y in classes])
    union = torch.stack([y.sum() + (p * p).sum() for p, y in classes]) - shared
    if not per_class:
        shared, union = shared.sum(), union.sum()
    return (1 - (shared + 1) / (union + 1)).mean()


def _softmax(logits: Tensor, target: Tensor, recipe: LossRecipe, weights: Tensor | None) -> Tensor:
    if recipe.kind == "jaccard2":
        return jaccard2(_pairs(logits, target), recipe.per_class)
    value = F.cross_entropy(logits, target, weight=weights)
    if recipe.jaccard:
        value = value + recipe.jaccard * _soft_jaccard(_pairs(logits, target))
    return value


def _pairs(logits: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Probability and 0/1 target of each class."""
    shares = torch.softmax(logits, dim=1)
    return [(shares[:, k], (target == k).to(shares.dtype)) for k in range(shares.shape[1])]


def _binary(logits: Tensor, target: Tensor, recipe: LossRecipe) -> Tensor:
    if recipe.kind == "jaccard2":
        p = torch.sigmoid(logits)
        return jaccard2([(1 - p, 1 - target), (p, target)], recipe.per_class)
    weights = balanced_weights(target, recipe.balance) if recipe.balance else None
    value = F.binary_cross_entropy_with_logits(logits, target, weight=weights)
    if recipe.jaccard:
        value = value + recipe.jaccard * soft_jaccard(torch.sigmoid(logits), target)
    return value
