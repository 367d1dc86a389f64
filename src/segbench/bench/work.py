"""Floating-point operations of T samples as an engine computes them, and what of them the halo costs."""

import math

from segbench.bench.flops import convolution_flops
from segbench.engines.cropping import Piece, cut
from segbench.engines.thin import Thinner
from segbench.masks import masks
from segbench.zoo import Model

Triple = tuple[int, int, int]
WITHOUT = 256  # edge of a tile so large that it stands for one without borders
SEED = 0


def pieces(model: Model, samples: int, core: Triple, halo: Triple, graphs: int = 1) -> tuple[Piece, list[Piece]]:
    """What an engine runs for a tile: the shared graph, and as many graphs of samples as run side by side.

    Raises:
        UnthinnableError: The model's samples run the full width.
    """
    edges = tuple(c + 2 * h for c, h in zip(core, halo, strict=True))
    box = tuple((h, h + c) for c, h in zip(core, halo, strict=True))
    found = Thinner(model.graph).graphs(masks(model.card.dropout, SEED, range(samples)), graphs)
    return cut(found, (1, 1, *edges), box)


def flops(piece: Piece) -> int:
    """Of its convolutions; a multiply-add is two."""
    return convolution_flops(piece.graph, piece.inputs)


def halo_cost(model: Model, samples: int) -> float:
    """Operations for a useful voxel in the card's tile, over those in a volume without tiles.

    Raises:
        UnthinnableError: The model's samples run the full width.
    """
    need = model.card.input
    return _per_voxel(model, samples, need.core, need.halo) / _per_voxel(model, samples, (WITHOUT,) * 3, (0, 0, 0))


def _per_voxel(model: Model, samples: int, core: Triple, halo: Triple) -> float:
    shared, thin = pieces(model, samples, core, halo)
    return (flops(shared) + sum(flops(piece) for piece in thin)) / math.prod(core)
