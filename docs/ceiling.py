"""How accurate a network of this size gets in its two training domains, if it need do nothing else.

    python docs/ceiling.py --steps 1500     # 40 minutes on one core

The released weights go on on the recipe's volumes of these two domains alone, without changed scales, conventions and
grey values, the learning rate falling to zero. What is printed is of battery16's own volumes, at which nothing is
chosen: a bound for docs/carry-over.md, not a model for anybody.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from segbench import nets, zoo
from segbench.data import battery16, pool
from segbench.data.domains import DOMAINS
from segbench.masks import masks
from segbench.nets import weights
from segbench.nets.network import Network
from segbench.normalisation import fit
from segbench.recipe import read_toml
from segbench.train import loop
from segbench.train.average import Average
from segbench.train.recipe import Recipe
from segbench.volume import Volume

HERE = Path(__file__).resolve().parent
SAMPLES, MARGIN, EVERY = 8, 16, 500
PLAIN = dict.fromkeys(("scaled", "convention", "flat", "blur", "gamma", "field", "noise"), 0.0)


def recipe(steps: int) -> Recipe:
    """The default model's, narrowed to its named domains as they are."""
    whole = read_toml(HERE.parent / "train" / "vnet-battery.toml", Recipe)
    return whole.model_copy(
        update={
            "steps": steps,
            "seed": 77,
            "data": whole.data.model_copy(update={"randomised": 0}),
            "augmentation": whole.augmentation.model_copy(update=PLAIN | {"shift": 0.05, "contrast": 0.05}),
            "optimiser": whole.optimiser.model_copy(update={"learning_rate": 1e-3}),
        }
    )


def accuracies(network: Network, how: Recipe) -> Iterator[str]:
    """Accuracy against the truth of battery16's volumes of those domains, uncalibrated, at 0.5."""
    drawn = torch.from_numpy(masks(network.sites, 0, range(SAMPLES)))
    network.eval()
    for name in how.data.domains:
        (case,) = battery16.load({name: DOMAINS[name]}, 96)
        image = fit(how.normalisation, Volume(case.image, source=name))(case.image)
        image = torch.from_numpy(np.pad(image, MARGIN, mode="edge"))[None, None]
        with torch.inference_mode():
            mean = torch.cat([torch.sigmoid(network(image, drawn[t : t + 1])) for t in range(SAMPLES)]).mean(dim=0)
        inner = (slice(MARGIN, -MARGIN),) * 3
        yield f"{name} {float(((mean[0].numpy()[inner] > 0.5) == case.truth).mean()):.4f}"
    network.train()


def main() -> None:
    """Trains and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=1500)
    how = recipe(parser.parse_args().steps)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    plan = pool.plan(how.data.domains, how.data.volumes_per_domain, 0, how.data.first_seed, how.data.wide)
    files = zip(pool.make(plan, how.data.size, pool.cache()), plan, strict=True)
    samples = [pool.read(path, domain.name, how.normalisation, "truth") for path, (domain, _) in files]
    network = nets.build(how.network.kind, **how.network.options)
    weights.load(network, zoo.find(how.name).weights)
    network.train()
    optimiser, average, start = loop.make_optimiser(network, how.optimiser), Average(network, 0.99), time.perf_counter()
    for step in range(how.steps):
        loop._step(network, optimiser, how, step, *loop.make_batch(samples, how, step))
        average.update(network, step + 1)
        if (step + 1) % EVERY == 0:
            found = ", ".join(accuracies(average.network, how))
            sys.stdout.write(f"step {step + 1}: {found}; {time.perf_counter() - start:.0f} s\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
