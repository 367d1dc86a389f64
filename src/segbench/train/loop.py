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

from segbench.data import pool
from segbench.data.augmentation import augment, crop
from segbench.data.manifest import UNLABELLED
from segbench.data.pool import Sample
from segbench.masks import SAMPLES, masks, ones
from segbench.metrics.counts import confusion
from segbench.metrics.overlap import accuracy, miou
from segbench.nets.network import Network
from segbench.train.average import Average
from segbench.train.checkpoint import Record, State, restore, save
from segbench.train.labelled import labelled
from segbench.train.layers import layers
from segbench.train.losses import class_weights, loss
from segbench.train.optimisers import learning_rate, make_optimiser
from segbench.train.recipe import Recipe
from segbench.train.slices import slices
from segbench.train.sources import FibRecipe, FibreRecipe, ManifestRecipe
from segbench.train.start import started
from segbench.volume import UInt8
from segbench.zoo.findings import CalibrationCard

Report = Callable[[Record], None]
VALIDATION_SAMPLES = 4


CHANGES_NO_WEIGHT = {"title", "validate_every", "checkpoint_every", "limits", "tile"}
"""Keys of a recipe: what a run says of itself, and how the model is served once it is there."""


def recipe_hash(recipe: Recipe) -> str:
    """What a checkpoint belongs to: all of the recipe that decides its weights.

    What stands at its default is left out, so that checkpoints outlive keys that recipes get later.
    """
    text = recipe.model_dump_json(exclude=CHANGES_NO_WEIGHT, exclude_defaults=True)
    return hashlib.sha256(text.encode()).hexdigest()


def make_batch(samples: Sequence[Sample], recipe: Recipe, step: int) -> tuple[Tensor, Tensor]:
    """Images [B, 1, Z, Y, X] of one step, and what `losses.loss` takes as targets."""
    rng = np.random.default_rng([recipe.seed, step])
    images, labels = [], []
    for _ in range(recipe.batch):
        chosen = samples[int(rng.integers(len(samples)))]
        how = recipe.augmentation.drawn(rng)
        image, label = crop(chosen.image, chosen.label, recipe.crop, how, rng, _place(chosen, rng))
        image = augment(image, how, rng)
        images.append(np.broadcast_to(image, recipe.crop))
        labels.append(np.broadcast_to(label, recipe.crop))
    target = torch.from_numpy(np.stack(labels))
    return torch.from_numpy(np.stack(images)[:, None]), target.long() if recipe.softmax else target[:, None].float()


def _place(sample: Sample, rng: np.random.Generator) -> tuple[int, int, int] | None:
    """A labelled voxel, where not all are."""
    if sample.labelled is None:
        return None
    z, y, x = np.unravel_index(int(rng.choice(sample.labelled)), sample.label.shape)
    return int(z), int(y), int(x)


def step_masks(network: Network, recipe: Recipe, step: int) -> Tensor:
    """Masks [B, channels] of one step, drawn as at inference."""
    numbers = [(step * recipe.batch + i) % SAMPLES for i in range(recipe.batch)]
    return torch.from_numpy(masks(network.sites, recipe.seed, numbers)) if network.sites else torch.ones(1, 0)


def validation_logits(
    network: Network, samples: Sequence[Sample], recipe: Recipe
) -> Iterator[tuple[Sample, npt.NDArray[np.float32]]]:
    """Each validation volume with the logits [T, K, Z, Y, X] of a few samples; no augmentation."""
    sites = network.sites
    drawn = torch.from_numpy(masks(sites, recipe.seed, range(VALIDATION_SAMPLES)) if sites else ones(sites))
    network.eval()
    with torch.inference_mode(), _autocast(recipe):
        for sample in samples:
            image = torch.from_numpy(sample.image)[None, None]
            # one by one: of all at once a volume at full resolution took 6 GB
            yield sample, np.concatenate([network(image, one[None]).float().numpy() for one in drawn])
    network.train()


def validate(
    network: Network, samples: Sequence[Sample], recipe: Recipe, calibration: CalibrationCard | None = None
) -> Record:
    """Scores of the mean of a few samples on the validation volumes, pooled."""
    classes = len(recipe.classes)
    counts = np.zeros((classes, classes), dtype=np.int64)
    for sample, logits in validation_logits(network, samples, recipe):
        known = sample.label != UNLABELLED
        found = _labels(torch.from_numpy(logits), recipe, calibration)
        counts += confusion(sample.label[known], found[known], classes)
    return {"validation_accuracy": accuracy(counts), "validation_miou": miou(counts)}


def _labels(logits: Tensor, recipe: Recipe, calibration: CalibrationCard | None) -> UInt8:
    """Labels (Z, Y, X) of the logits [T, K, Z, Y, X] of a few samples."""
    if recipe.softmax:
        said = logits if recipe.mean == "logits" else torch.softmax(logits, dim=1)
        return said.mean(dim=0).argmax(dim=0).numpy().astype(np.uint8)
    scale, shift = (calibration.scale, calibration.shift) if calibration else (1.0, 0.0)
    probability = torch.sigmoid(logits[:, 0] * scale + shift).mean(dim=0).numpy()
    return (probability > 0.5).astype(np.uint8)


def _autocast(recipe: Recipe) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16")


def training_data(
    recipe: Recipe, cache: Path, progress: pool.Progress | None = None
) -> tuple[list[Sample], list[Sample]]:
    """The recipe's training and validation volumes, or slices."""
    data = recipe.data
    if isinstance(data, ManifestRecipe):
        return labelled(recipe)
    if isinstance(data, FibreRecipe):
        return layers(data, recipe.normalisation, progress)
    if isinstance(data, FibRecipe):
        return slices(data, recipe.normalisation, progress)
    plan = pool.plan(data.domains, data.volumes_per_domain, data.randomised, data.first_seed, data.wide)
    paths = pool.make(plan, data.size, cache, progress)
    samples = [
        pool.read(path, domain.name, recipe.normalisation, data.labels)
        for path, (domain, _) in zip(paths, plan, strict=True)
    ]
    return samples, pool.phantoms(data.validation, recipe.normalisation)


def fit(
    recipe: Recipe,
    data: tuple[Sequence[Sample], Sequence[Sample]],
    out: Path,
    report: Report | None = None,
    steps: int | None = None,
    budget_s: float | None = None,
) -> tuple[Network, State]:
    """Trains, or goes on where the checkpoint in `out` stands.

    Args:
        recipe: What to train.
        data: Training and validation volumes.
        out: Folder of `checkpoint.safetensors`.
        report: Called with every step's record.
        steps: Stop after this many steps; the schedule stays that of the recipe.
        budget_s: Stop after this much processor time of the process in seconds, which a busy machine does not change;
            the schedule goes by the larger share of steps and budget. Threads that wait for each other use it up too,
            so compare at one thread. What is trained then depends on the machine's speed.
    """
    network = started(recipe)
    network.train()
    optimiser = make_optimiser(network, recipe.optimiser)
    path, run = out / "checkpoint.safetensors", recipe_hash(recipe)
    average = Average(network, recipe.optimiser.average) if recipe.optimiser.average else None
    state = restore(path, network, optimiser, run, average) if path.exists() else State(0, 0.0, [])
    result = average.network if average else network
    last, budget = min(recipe.steps, steps or recipe.steps), budget_s or math.inf
    weights = _class_weights(data[0], recipe)
    before, start = state.seconds, time.perf_counter()
    used, begun = state.processor_s, time.process_time()
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(make_batch, data[0], recipe, state.step)
        while state.step < last and state.processor_s < budget:
            images, target = upcoming.result()
            upcoming = ahead.submit(make_batch, data[0], recipe, state.step + 1)
            rate = learning_rate(_reached(state, recipe, budget), recipe.steps, recipe.optimiser)
            record = _step(network, optimiser, recipe, state.step, rate, images, target, weights)
            state.step += 1
            if average is not None:
                average.update(network, state.step)
            state.seconds = before + time.perf_counter() - start
            state.processor_s = used + time.process_time() - begun
            ends = state.step == last or state.processor_s >= budget
            if state.step % recipe.validate_every == 0 or (ends and recipe.validate_every <= recipe.steps):
                record |= validate(result, data[1], recipe)
            state.history.append(record)
            if state.step % recipe.checkpoint_every == 0 or ends:
                save(path, network, optimiser, state, run, average)
            if report is not None:
                report(record)
    return result.eval(), state


def inside(target: Tensor, context: tuple[int, int, int]) -> Tensor:
    """Targets [..., Z, Y, X] less what is context on either side: what `Network.inside` has logits of."""
    for axis, beside in zip((-3, -2, -1), context, strict=True):
        target = target.narrow(axis, beside, target.shape[axis] - 2 * beside)
    return target


def _reached(state: State, recipe: Recipe, budget_s: float) -> float:
    """Steps of the schedule that are done, or that the used share of the budget stands for, if that is more."""
    return max(state.step, recipe.steps * state.processor_s / budget_s) if budget_s < math.inf else state.step


def _class_weights(samples: Sequence[Sample], recipe: Recipe) -> Tensor | None:
    """Of more than two classes, by their shares of all training images; two go by the shares of each batch."""
    if not recipe.softmax or not recipe.loss.balance:
        return None
    counts = sum(np.bincount(sample.label.ravel(), minlength=UNLABELLED + 1) for sample in samples)
    return class_weights(np.asarray(counts)[: len(recipe.classes)], recipe.loss.balance)


def _step(
    network: Network,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    step: int,
    rate: float,
    images: Tensor,
    target: Tensor,
    weights: Tensor | None,
) -> Record:
    for group in optimiser.param_groups:
        group["lr"] = rate
    network.begin(recipe.seed, step)
    with _autocast(recipe):
        logits = network.inside(images, step_masks(network, recipe, step))
    value = loss(logits, inside(target, network.context), recipe.loss, weights)
    optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    if recipe.optimiser.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.optimiser.clip_norm)
    optimiser.step()
    return {"step": step + 1, "loss": float(value.detach()), "learning_rate": rate}
