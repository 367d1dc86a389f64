"""The training loop: every step is a pure function of (recipe, step), so a resumed run ends with the same weights."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segbench import nets
from segbench.data import pool
from segbench.data.augmentation import augment, crop
from segbench.data.pool import Sample
from segbench.masks import SAMPLES, masks, ones
from segbench.metrics.counts import confusion
from segbench.metrics.overlap import accuracy, miou
from segbench.nets import weights
from segbench.nets.network import Network
from segbench.train.average import Average
from segbench.train.checkpoint import Record, State, restore, save
from segbench.train.losses import loss
from segbench.train.recipe import OptimiserRecipe, Recipe
from segbench.zoo import find
from segbench.zoo.card import CalibrationCard

Report = Callable[[Record], None]
VALIDATION_SAMPLES = 4


def recipe_hash(recipe: Recipe) -> str:
    """What a checkpoint belongs to: the recipe less how often it is looked at."""
    looks = {"validate_every", "checkpoint_every", "limits", "title"}
    text = recipe.model_dump_json(exclude=looks if recipe.start else looks | {"start"})
    return hashlib.sha256(text.encode()).hexdigest()


def learning_rate(step: int, steps: int, recipe: OptimiserRecipe) -> float:
    """The rate of the step that comes after `step` steps."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "sandia":
        epoch = step // recipe.steps_per_epoch
        return recipe.learning_rate * math.exp(0.01 * min(0, 10 - epoch))
    done = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def make_batch(samples: Sequence[Sample], recipe: Recipe, step: int) -> tuple[Tensor, Tensor]:
    """Images and targets [B, 1, Z, Y, X] of one step."""
    rng = np.random.default_rng([recipe.seed, step])
    images, labels = [], []
    for _ in range(recipe.batch):
        chosen = samples[int(rng.integers(len(samples)))]
        image, label = crop(chosen.image, chosen.label, recipe.crop, recipe.augmentation, rng)
        image = augment(image, recipe.augmentation, rng)
        images.append(np.broadcast_to(image, recipe.crop))
        labels.append(np.broadcast_to(label, recipe.crop))
    target = torch.from_numpy(np.stack(labels)[:, None]).float()
    return torch.from_numpy(np.stack(images)[:, None]), target


def step_masks(network: Network, recipe: Recipe, step: int) -> Tensor:
    """Masks [B, channels] of one step, drawn as at inference."""
    numbers = [(step * recipe.batch + i) % SAMPLES for i in range(recipe.batch)]
    return torch.from_numpy(masks(network.sites, recipe.seed, numbers)) if network.sites else torch.ones(1, 0)


def validation_logits(
    network: Network, samples: Sequence[Sample], recipe: Recipe
) -> Iterator[tuple[Sample, npt.NDArray[np.float32]]]:
    """Each validation volume with the logits [T, Z, Y, X] of a few samples; no augmentation."""
    sites = network.sites
    drawn = torch.from_numpy(masks(sites, recipe.seed, range(VALIDATION_SAMPLES)) if sites else ones(sites))
    network.eval()
    with torch.inference_mode(), _autocast(recipe):
        for sample in samples:
            logits = network(torch.from_numpy(sample.image)[None, None], drawn)
            yield sample, logits[:, 0].float().numpy()
    network.train()


def validate(
    network: Network, samples: Sequence[Sample], recipe: Recipe, calibration: CalibrationCard | None = None
) -> Record:
    """Scores of the mean of a few samples on the validation volumes, pooled."""
    counts = np.zeros((2, 2), dtype=np.int64)
    scale, shift = (calibration.scale, calibration.shift) if calibration else (1.0, 0.0)
    for sample, logits in validation_logits(network, samples, recipe):
        probability = torch.sigmoid(torch.from_numpy(logits) * scale + shift).mean(dim=0).numpy()
        counts += confusion(sample.label, (probability > 0.5).astype(np.uint8), 2)
    return {"validation_accuracy": accuracy(counts), "validation_miou": miou(counts)}


def _autocast(recipe: Recipe) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16")


def make_optimiser(network: Network, recipe: OptimiserRecipe) -> torch.optim.Optimizer:
    """The optimiser of a recipe, fused."""
    if recipe.kind == "adam":
        return torch.optim.Adam(network.parameters(), recipe.learning_rate, fused=True)
    return torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)


def training_data(
    recipe: Recipe, cache: Path, progress: pool.Progress | None = None
) -> tuple[list[Sample], list[Sample]]:
    """The recipe's training and validation volumes."""
    data = recipe.data
    plan = pool.plan(data.domains, data.volumes_per_domain, data.randomised, data.first_seed, data.wide)
    paths = pool.make(plan, data.size, cache, progress)
    samples = [
        pool.read(path, domain.name, recipe.normalisation, data.labels)
        for path, (domain, _) in zip(paths, plan, strict=True)
    ]
    return samples, pool.phantoms(data.validation, recipe.normalisation)


def started(recipe: Recipe) -> Network:
    """The network as it is before the first step.

    Raises:
        InputError: There is no model of the name that it is to start from, or it is another network.
    """
    torch.manual_seed(recipe.seed)
    network = nets.build(recipe.network.kind, **recipe.network.options)
    if recipe.start is not None:
        weights.load(network, find(recipe.start).weights)
    return network


def fit(
    recipe: Recipe,
    data: tuple[Sequence[Sample], Sequence[Sample]],
    out: Path,
    report: Report | None = None,
    steps: int | None = None,
) -> tuple[Network, State]:
    """Trains, or goes on where the checkpoint in `out` stands.

    Args:
        recipe: What to train.
        data: Training and validation volumes.
        out: Folder of `checkpoint.safetensors`.
        report: Called with every step's record.
        steps: Stop after this many steps; the schedule stays that of the recipe.
    """
    network = started(recipe)
    network.train()
    optimiser = make_optimiser(network, recipe.optimiser)
    path, run = out / "checkpoint.safetensors", recipe_hash(recipe)
    average = Average(network, recipe.optimiser.average) if recipe.optimiser.average else None
    state = restore(path, network, optimiser, run, average) if path.exists() else State(0, 0.0, [])
    result = average.network if average else network
    last = min(recipe.steps, steps or recipe.steps)
    before, start = state.seconds, time.perf_counter()
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(make_batch, data[0], recipe, state.step)
        while state.step < last:
            images, target = upcoming.result()
            upcoming = ahead.submit(make_batch, data[0], recipe, state.step + 1)
            record = _step(network, optimiser, recipe, state.step, images, target)
            state.step += 1
            if average is not None:
                average.update(network, state.step)
            state.seconds = before + time.perf_counter() - start
            if state.step % recipe.validate_every == 0 or state.step == last:
                record |= validate(result, data[1], recipe)
            state.history.append(record)
            if state.step % recipe.checkpoint_every == 0 or state.step == last:
                save(path, network, optimiser, state, run, average)
            if report is not None:
                report(record)
    return result.eval(), state


def _step(
    network: Network,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    step: int,
    images: Tensor,
    target: Tensor,
) -> Record:
    rate = learning_rate(step, recipe.steps, recipe.optimiser)
    for group in optimiser.param_groups:
        group["lr"] = rate
    with _autocast(recipe):
        logits = network(images, step_masks(network, recipe, step))
    value = loss(logits, target, recipe.loss)
    optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    if recipe.optimiser.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.optimiser.clip_norm)
    optimiser.step()
    return {"step": step + 1, "loss": float(value.detach()), "learning_rate": rate}
