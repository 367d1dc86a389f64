"""Fits a card's conformal bounds: on simulated blocks of the domains that the model was trained on, at other seeds.

The blocks are whole small volumes, each made from a seed of its own, so that none knows of another: blocks cut out of
one volume share its particles and its scan, and count for less than their number.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomli_w

from segbench.data import battery16, pool
from segbench.data import cache as disk
from segbench.engines import Engine, start
from segbench.errors import InputError
from segbench.evaluate.publish import README
from segbench.io import write_bytes
from segbench.metrics.conformal import GRID, Float64, Int64, controlled, fewest, losses, missed, quantile, score
from segbench.predict import predict
from segbench.volume import Volume
from segbench.zoo import CARD, Model, find
from segbench.zoo.card import Card
from segbench.zoo.findings import ConformalCard
from segbench.zoo.page import page

LEVEL, RISK = 0.9, 0.05
FLOOR = 0.005  # half a percent of the volume; chosen before any block was seen
BLOCKS, EDGE = 200, 64
FIRST_SEED = 20_000  # the benchmark has seed 0; recipes train from 1000 and from 5000 up
SAMPLES, SEED = 16, 0

Progress = Callable[[str, int, int], None]
"""Called with what is being done, blocks done and blocks in all."""


@dataclass(frozen=True, eq=False)
class Block:
    """What a model says of one block, reduced to what bounds are fitted on.

    Attributes:
        domain: Of battery16.
        seed: It was made from.
        truth: True share of class 1.
        shares: Share of class 1 in each sample.
        voxels: Of class 0 and of class 1, shape (2,).
        below: Voxels of class 1 with a mean probability below each threshold of `GRID`.
        above: Voxels of class 0 with one above it.
    """

    domain: str
    seed: int
    truth: float
    shares: tuple[float, ...]
    voxels: Int64
    below: Int64
    above: Int64


def blocks(
    model: Model, engine: Engine, plan: pool.Plan, edge: int, samples: int = SAMPLES, progress: Progress | None = None
) -> Iterator[Block]:
    """Makes the volumes of a plan, which are kept in the cache, and predicts them one after another."""
    folder = disk.folder(battery16.GENERATOR_VERSION, edge, plan[0][1]).with_name(
        f"conformal-{battery16.GENERATOR_VERSION}-{edge}"
    )

    def made(done: int, total: int, _: str) -> None:
        if progress is not None:
            progress("making blocks", done, total)

    paths = pool.make(plan, edge, folder, made)
    for number, ((domain, seed), path) in enumerate(zip(plan, paths, strict=True), start=1):
        case = disk.read(path)
        if case is None:
            path.unlink(missing_ok=True)
            raise InputError(f"{path}: this block was damaged and is removed; start again to make it anew")
        said = predict(Volume(case.image, source=str(path)), model.card, engine, samples, SEED)
        there = case.truth == 1
        yield Block(
            domain.name,
            seed,
            float(there.mean()),
            said.shares,
            np.array([np.count_nonzero(~there), np.count_nonzero(there)], dtype=np.int64),
            missed(said.probability, there),
            missed(said.probability, ~there, sure=True),
        )
        if progress is not None:
            progress("predicting blocks", number, len(paths))


def plan_of(card: Card, count: int, first_seed: int = FIRST_SEED) -> pool.Plan:
    """So many blocks, or one or two more, dealt out evenly to the domains that a model was trained on.

    Raises:
        InputError: The card names no domain.
    """
    domains = card.training.domains
    if not domains:
        raise InputError(
            f"model {card.name!r}: its card names no domain of battery16 that it was trained on, so there are no "
            "blocks like those that it knows"
        )
    return pool.plan(domains, -(-count // len(domains)), 0, first_seed)


def fit(card: Card, found: Sequence[Block], edge: int, level: float = LEVEL, risk: float = RISK) -> ConformalCard:
    """The bounds that such blocks give.

    Raises:
        InputError: They are too few: the interval would be infinite, or no mask would keep its risk.
    """
    need = max(fewest(level), fewest(1 - risk))
    if len(found) < need:
        raise InputError(
            f"{len(found)} blocks are too few: an interval of {level:.0%} would be infinite or a risk of {risk:.0%} "
            f"out of reach; at least {need} are needed"
        )
    widen = quantile([score(block.shares, block.truth, FLOOR) for block in found], level)
    possible, sure = GRID[controlled(below(found), risk)], GRID[::-1][controlled(above(found), risk)]
    names, seeds = tuple(dict.fromkeys(block.domain for block in found)), [block.seed for block in found]
    return ConformalCard(
        on=(
            f"{len(found)} simulated blocks of {edge}^3 voxels (battery16 generator {battery16.GENERATOR_VERSION}: "
            f"{', '.join(names)}; seeds {min(seeds)} to {max(seeds)})"
        ),
        blocks=len(found),
        edge=edge,
        samples=min(len(block.shares) for block in found),
        level=level,
        floor=FLOOR,
        widen=widen,
        risk=risk,
        possible=min(_decimal(possible), card.threshold),
        sure=max(_decimal(sure), card.threshold),
    )


def below(found: Iterable[Block]) -> Float64:
    """Share of class 1 that is missed as the outer mask's threshold rises, shape (n, thresholds)."""
    each = list(found)
    return losses(np.array([block.below for block in each]), np.array([block.voxels[1] for block in each]))


def above(found: Iterable[Block]) -> Float64:
    """Share of class 0 that is taken in as the inner mask's threshold falls, shape (n, thresholds)."""
    each = list(found)
    return losses(np.array([block.above for block in each]), np.array([block.voxels[0] for block in each]))[:, ::-1]


def _decimal(threshold: np.float32) -> float:
    """A threshold of the grid as it is written: .95 and not .949999988."""
    return round(float(threshold), 6)


def add(
    folder: Path, count: int = BLOCKS, edge: int = EDGE, engine: str = "auto", progress: Progress | None = None
) -> Card:
    """Fits a model's bounds and writes them into its card; its hash stays.

    Raises:
        InputError: No model, or not as its card pins it; it names no domains, or blocks are too few or too small.
        EngineError: No engine is installed.
    """
    model = find(str(folder))
    plan = plan_of(model.card, count)
    if len(plan) < (need := max(fewest(LEVEL), fewest(1 - RISK))):
        raise InputError(f"--blocks {count} is too few: an interval of {LEVEL:.0%} needs at least {need}")
    found = list(blocks(model, start(model, engine), plan, edge, progress=progress))
    card = model.card.model_copy(update={"conformal": fit(model.card, found, edge)})
    write_bytes(model.path / README, page(card))
    write_bytes(model.path / CARD, tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return card
