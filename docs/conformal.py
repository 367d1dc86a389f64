"""How often the 90 % interval of a phase fraction holds the truth: counted on blocks that nothing was fitted on.

    segbench zoo conformal model_zoo/vnet-battery             # first: fits and writes the card
    python docs/conformal.py measure --minutes 4              # blocks into runs/conformal; started again, it goes on
    python docs/conformal.py page                             # the table of docs/conformal.md

Every block is a simulated volume of its own, from a seed that neither training, nor the fit, nor the benchmark has.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import marked
import numpy as np
from scipy.stats import binomtest

from segbench.data import pool
from segbench.data.domains import DOMAINS
from segbench.engines import start
from segbench.evaluate.conformal import Block, above, below, blocks, fit, plan_of
from segbench.metrics.conformal import GRID, controlled, of_samples, surely_controlled
from segbench.predict.bounds import share_interval
from segbench.zoo import Model, find
from segbench.zoo.findings import ConformalCard

HERE = Path(__file__).resolve().parent
RECORDS, PAGE = HERE.parent / "runs" / "conformal" / "blocks.jsonl", HERE / "conformal.md"
CHUNK = 20
DELTA = 0.1

Sets = dict[str, tuple[pool.Plan, int]]


def sets(model: Model) -> Sets:
    """What is measured: a plan and the edge of its blocks, by name."""
    known = model.card.training.domains
    fitted = model.card.conformal
    edge = fitted.edge if fitted else 64
    return {
        "in domain": (pool.plan(known, 120, 0, 40_000), edge),
        "all sixteen": (pool.plan(tuple(DOMAINS), 10, 0, 60_000), edge),
        "in domain, larger": (pool.plan(known, 20, 0, 50_000), 96),
        "in domain, smaller": (pool.plan(known, 25, 0, 55_000), 48),
        "fitted on": (plan_of(model.card, fitted.blocks if fitted else 200), edge),
    }


def key(domain: str, seed: int, edge: int) -> str:
    """Of a block."""
    return f"{domain}/{seed}/{edge}"


def read(model: Model) -> dict[str, Block]:
    """What was measured of this very model so far."""
    found = {}
    for line in RECORDS.read_text().splitlines() if RECORDS.is_file() else ():
        try:
            raw = json.loads(line)
        except ValueError:  # the line at which a run was killed
            continue
        if raw.pop("model") == model.hash:
            edge = raw.pop("edge")
            arrays = {name: np.array(raw.pop(name), np.int64) for name in ("voxels", "below", "above")}
            block = Block(shares=tuple(raw.pop("shares")), **raw, **arrays)
            found[key(block.domain, block.seed, edge)] = block
    return found


def measure(model: Model, only: Sequence[str], minutes: float, threads: int | None) -> None:
    """Measures what is missing, chunk by chunk, until the time is over."""
    end, engine, there = time.monotonic() + 60 * minutes, start(model, threads=threads), read(model)
    RECORDS.parent.mkdir(parents=True, exist_ok=True)
    for name, (plan, edge) in sets(model).items():
        missing = [one for one in plan if key(one[0].name, one[1], edge) not in there]
        for chunk in _chunks(missing if name in only or not only else []):
            if time.monotonic() > end:
                print(f"{name}: time is over; start again to go on")  # noqa: T201
                return
            with RECORDS.open("a") as file:
                for block in blocks(model, engine, tuple(chunk), edge):
                    counts = {n: getattr(block, n).tolist() for n in ("voxels", "below", "above")}
                    raw = {"domain": block.domain, "seed": block.seed, "truth": block.truth, "shares": block.shares}
                    file.write(json.dumps({"model": model.hash, "edge": edge} | raw | counts) + "\n")
                    file.flush()
        if name in only or not only:
            print(f"{name}: {len(plan)} blocks")  # noqa: T201


def _chunks(plan: Sequence[tuple[object, int]]) -> Iterator[Sequence[tuple[object, int]]]:
    return (plan[at : at + CHUNK] for at in range(0, len(plan), CHUNK))


def line(name: str, found: Sequence[Block], card: ConformalCard) -> str:
    """A row of the table; coverage with its exact 95 % interval (Clopper and Pearson)."""
    truths = np.array([b.truth for b in found])
    alone, wide = (
        np.array([interval(b.shares) for b in found])
        for interval in (of_samples, lambda shares: share_interval(card, shares))
    )
    cells = [name, str(len(found))]
    for ends in (alone, wide):
        held = int(((ends[:, 0] <= truths) & (truths <= ends[:, 1])).sum())
        low, high = binomtest(held, len(found)).proportion_ci()
        cells += [f"{held / len(found):.3f} ({low:.3f} to {high:.3f})", f"{np.mean(ends[:, 1] - ends[:, 0]):.4f}"]
    said = np.array([np.mean(b.shares) for b in found])
    cells += [f"{np.mean(said - truths):+.4f}", f"{np.mean(np.abs(said - truths)):.4f}"]
    possible, sure = (int(np.searchsorted(GRID, np.float32(at))) for at in (card.possible, card.sure))
    cells.append(f"{np.nanmean(below(found)[:, possible]):.4f}")
    cells.append(f"{np.nanmean(above(found)[:, ::-1][:, sure]):.4f}")
    return "| " + " | ".join(cells) + " |"


def table(model: Model) -> str:
    """All sets that are whole, and the sixteen domains one by one."""
    card, there, lines = model.card.conformal, read(model), []
    assert card is not None, "segbench zoo conformal first"
    head = ("blocks", "n", "covered by the samples' interval", "width", f"covered by the {card.level:.0%} interval",
            "width", "bias of the share", "mean error", "class 1 missed", "class 0 taken in")  # fmt: skip
    lines += ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    trained, notes = model.card.training.domains, []
    for name, (plan, edge) in sets(model).items():
        found = [b for domain, seed in plan if (b := there.get(key(domain.name, seed, edge)))]
        if len(found) < len(plan):
            notes.append(f"{name}: {len(found)} of {len(plan)} blocks are measured; not shown.")
            continue
        if name == "fitted on":
            again = fit(model.card, found, edge, card.level, card.risk)
            assert again == card, f"the card was fitted on something else: {again} {card}"
            notes.append(_with_confidence(found, card))
        lines.append(line(f"{name}, {edge}³", found, card))
        for domain in sorted({b.domain for b in found}, key=list(DOMAINS).index) if len(trained) else ():
            mark = "\\*" if domain in trained else ""
            lines.append(line(f"· {domain}{mark}", [b for b in found if b.domain == domain], card))
        if name == "all sixteen":
            lines.append(line("· those it was not trained on", [b for b in found if b.domain not in trained], card))
    said = f"`{model.card.name}` {model.card.version}: {card.on}, T = {card.samples}, mask seed 0.\n\n"
    return said + "\n".join(lines) + "\n\n\\* trained on, at other seeds.\n" + "".join(f"\n{note}\n" for note in notes)


def _with_confidence(found: Sequence[Block], card: ConformalCard) -> str:
    (possible, sure), (certain, surer) = (
        (GRID[choose(below(found))], GRID[::-1][choose(above(found))])
        for choose in (
            lambda lost: controlled(lost, card.risk),
            lambda lost: surely_controlled(lost, card.risk, DELTA),
        )
    )
    return (
        f"A risk of {card.risk:.0%} on the mean would let class 1 be possible from {possible:.3f} up and sure above "
        f"{sure:.3f}, were both not held to the threshold of the labels; kept with a confidence of {1 - DELTA:.0%} "
        f"over the blocks of a fit instead (RCPS), from {certain:.3f} up and above {surer:.3f}."
    )


def page(model: Model) -> None:
    """Writes the table into the page."""
    marked.write(PAGE, table(model).rstrip("\n").split("\n"))


def main() -> None:
    """Measures, or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("measure", "page"))
    parser.add_argument("--zoo", default="vnet-battery")
    parser.add_argument("--only", action="append", default=[], help="a set by name")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    model = find(given.zoo)
    if given.what == "measure":
        measure(model, given.only, given.minutes, given.threads)
    else:
        page(model)


if __name__ == "__main__":
    main()
