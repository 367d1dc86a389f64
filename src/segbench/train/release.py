"""What training ends with: a folder that the zoo, `eval` and `predict` can use."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tomli_w
import torch

from segbench.data.battery16 import GENERATOR_VERSION
from segbench.data.phantom import PHANTOM_VERSION
from segbench.data.pool import Sample
from segbench.export import graph, ranges, reference
from segbench.hardware import cores, processor
from segbench.io.files import file_sha256
from segbench.nets import weights
from segbench.nets.network import Network
from segbench.train import labelled, layers, slices, start
from segbench.train.calibration import calibrate
from segbench.train.checkpoint import State
from segbench.train.loop import validate
from segbench.train.recipe import Recipe
from segbench.train.sources import DataRecipe, FibRecipe, FibreRecipe, ManifestRecipe
from segbench.zoo import CARD, Model
from segbench.zoo.card import Card, FileCard, FilesCard, InputCard, NetworkCard
from segbench.zoo.findings import TrainingCard
from segbench.zoo.page import page

WEIGHTS, GRAPH, README = "weights.safetensors", "model.onnx", "README.md"


def release(
    network: Network,
    recipe: Recipe,
    recipe_file: Path,
    state: State,
    held_back: list[Sample],
    out: Path,
    images: int = 0,
    budget_s: float | None = None,
) -> Card:
    """Writes a trained network's weights, graph, ranges, reference, README and card; the card pins the others.

    Where the runtime that measures activation ranges is not installed, they are left for `segbench zoo ranges`.

    Args:
        network: Trained; its weights are rounded.
        recipe: Of the training.
        recipe_file: Where it was read.
        state: Where the training ended.
        held_back: What is validated, calibrated and measured on.
        out: Folder of the model.
        images: How many it was trained on; said of slices and layers.
        budget_s: Of the training's processor time, if it had one.
    """
    weights.round_weights(network)
    on = _held_back(recipe, len(held_back))
    calibration = calibrate(network, held_back, recipe, on) if recipe.calibrate and not recipe.softmax else None
    scores = validate(network, held_back, recipe, calibration)
    network.eval()
    weights.save(network, out / WEIGHTS)
    graph.export(network, out / GRAPH)
    seen = [sample.image for sample in held_back]
    measured = (
        ranges.make(out / GRAPH, seen, network.sites, "" if isinstance(recipe.data, DataRecipe) else on)
        if ranges.measurable()
        else None
    )
    losses = [float(record["loss"] or np.nan) for record in state.history[-100:]]
    card = Card(
        name=recipe.name,
        version=recipe.version,
        title=recipe.title,
        licence=recipe.licence,
        classes=recipe.classes,
        activation="softmax" if recipe.softmax else "sigmoid",
        mean=recipe.mean,
        limits=recipe.limits,
        network=NetworkCard(
            kind=recipe.network.kind, options=recipe.network.options, parameters=network.parameter_count()
        ),
        input=InputCard(
            normalisation=recipe.normalisation,
            core=recipe.tile.core,
            halo=recipe.tile.halo,
            multiple=network.stride,
            border=network.border,
            fixed_tile=network.fixed_tile,
        ),
        calibration=calibration,
        dropout=tuple(network.sites),
        files=FilesCard(
            weights=FileCard(path=WEIGHTS, sha256=file_sha256(out / WEIGHTS)),
            graph=FileCard(path=GRAPH, sha256=file_sha256(out / GRAPH)),
            ranges=measured,
        ),
        training=TrainingCard(
            recipe=recipe_file.name,
            recipe_sha256=file_sha256(recipe_file),
            start=start.said(recipe),
            data=_data(recipe, images),
            domains=recipe.data.domains if isinstance(recipe.data, DataRecipe) else (),
            labels=_labels(recipe),
            seed=recipe.seed,
            steps=state.step,
            batch=recipe.batch,
            epochs=state.step * recipe.batch / images if isinstance(recipe.data, FibRecipe) and images else None,
            hours=round(state.seconds / 3600, 3),
            processor_s=round(state.processor_s, 1) or None,
            budget_s=budget_s,
            device=f"{processor()}, {cores()} cores",
            torch=str(torch.__version__),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            loss=float(np.mean(losses)),
            validation=None if isinstance(recipe.data, DataRecipe) else on,
            validation_accuracy=float(scores["validation_accuracy"] or np.nan),
            validation_miou=float(scores["validation_miou"] or np.nan),
        ),
    )
    pinned = card.files.model_copy(update={"reference": reference.make(Model(card=card, path=out))})
    card = card.model_copy(update={"files": pinned})
    (out / README).write_text(page(card))
    (out / CARD).write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return card


def _held_back(recipe: Recipe, count: int) -> str:
    if isinstance(recipe.data, ManifestRecipe):
        return labelled.held_back(recipe.data)
    if isinstance(recipe.data, FibRecipe):
        return f"{count} validation slices of {recipe.data.source} ({recipe.data.split} split)"
    if isinstance(recipe.data, FibreRecipe):
        return layers.held_back(recipe.data, count)
    return f"{count} phantoms (version {PHANTOM_VERSION})"


def _labels(recipe: Recipe) -> str:
    if isinstance(recipe.data, DataRecipe):
        return recipe.data.labels
    if isinstance(recipe.data, FibreRecipe):
        return "truth"
    return "cleaned human-like" if isinstance(recipe.data, FibRecipe) else "the user's own"


def _data(recipe: Recipe, images: int) -> str:
    data = recipe.data
    if isinstance(data, ManifestRecipe):
        return labelled.said(data, images)
    if isinstance(data, FibRecipe):
        return slices.said(data, images)
    if isinstance(data, FibreRecipe):
        return layers.said(data, images)
    named = f"{data.volumes_per_domain} volumes each of {', '.join(data.domains)}" if data.domains else ""
    wide = f" (wide: {', '.join(data.wide)})" if data.wide else ""
    drawn = f"{data.randomised} volumes of randomised domains{wide}" if data.randomised else ""
    both = " and ".join(part for part in (named, drawn) if part)
    seeds = f"seeds from {data.first_seed}"
    return f"simulated CT (battery16 generator {GENERATOR_VERSION}): {both}, {data.size}^3, {seeds}"
