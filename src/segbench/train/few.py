"""From few labels: the recipe that a user need not write, made of a model's card and a manifest."""

import re
from pathlib import Path
from typing import Any

import tomli_w

from segbench.data.augmentation import Augmentation
from segbench.data.manifest import Located, Manifest, read_manifest
from segbench.data.manifest_load import volumes
from segbench.errors import InputError
from segbench.io import write_bytes
from segbench.io.atomic import check_output_folder
from segbench.train.labelled import data_hash, labelled, located
from segbench.train.recipe import LossRecipe, NetworkRecipe, OptimiserRecipe, Recipe, TileRecipe
from segbench.train.sources import ManifestRecipe
from segbench.train.start import FLAT
from segbench.zoo import Model, find

BUDGET_S = 1200.0
"""Processor time in seconds: 5 minutes on 4 cores."""
RECIPE = "recipe.toml"
STEPS = {2: 1500, 3: 400}
"""Of slices and of volumes. First guesses, as are the numbers below: measured on four sets (docs/few-labels.md),
and not tuned on them."""
RATE = 1e-3
BATCH = {2: 8, 3: 2}
CROP = {2: 96, 3: 64}
DEPTH = 32
"""Of a box of a volume: labelled slices are thin, and what lies far from them teaches nothing."""
SLICE_CORE = (8, 256, 256)


def write_recipe(start: str, manifest: Path, out: Path, root: Path | None = None) -> Path:
    """Writes the recipe for fine-tuning the model `start` on the labels of a manifest, as `out/recipe.toml`.

    Raises:
        InputError: One line: no such model, or one that cannot be the start; a manifest or file that is unusable.
        OutputError: The folder cannot be written.
    """
    recipe = recipe_for(find(start), start, read_manifest(manifest), manifest, root)
    labelled(recipe)  # what cannot be trained on is told before anything is written
    check_output_folder(out)
    said = recipe.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    said["classes"] = list(recipe.classes)  # also where they are the default: whoever reads the recipe looks for them
    heading = (
        f"# Made by: segbench train --from {start} --data {manifest}\n# What each key means: segbench.train.recipe\n"
    )
    write_bytes(out / RECIPE, heading + tomli_w.dumps(said))
    return out / RECIPE


def recipe_for(model: Model, start: str, manifest: Manifest, path: Path, root: Path | None = None) -> Recipe:
    """The recipe: network, normalisation and tile of the model's card, a short training of its own.

    Single slices go to the network of slices that computes the same as the model does on a slice repeated along Z,
    where there is one: it takes a twentieth of the time.
    """
    card = model.card
    if card.cascade is not None:
        raise InputError(f"{start}: is a cascade of networks, which is not a start: take a model of one network")
    where = None if root is None else str(root.absolute())
    data = ManifestRecipe(source="manifest", manifest=str(path.absolute()), root=where)
    trained, validated = (located(manifest, data, split) for split in (data.train, data.validation))
    if not trained:
        raise InputError(f'{path}: no case has split = "{data.train}": there is nothing to train on')
    data = data.model_copy(update={"sha256": data_hash([*trained, *validated])})
    flat = all(volumes(case)[0].shape[0] == 1 for case in [*trained, *validated])
    kind, tile = card.network.kind, TileRecipe(core=card.input.core, halo=card.input.halo)
    if flat:
        found = next((own for own, other in FLAT.items() if other == kind), None)
        if found is not None:
            kind, tile = found, TileRecipe(core=SLICE_CORE, halo=(0, *card.input.halo[1:]))
    return Recipe.model_validate(
        {
            "name": _name(manifest, start),
            "title": f"{', '.join(manifest.classes)}: {card.name} fine-tuned on {manifest.name}",
            "licence": _licence(manifest, model),
            "limits": (*_limits(manifest, trained), *card.limits),
            "start": start if start == card.name else str(model.path.absolute()),
            "classes": manifest.classes,
            "network": NetworkRecipe(kind=kind, options=_options(model, len(manifest.classes))),
            "normalisation": card.input.normalisation,
            "data": data,
            "tile": tile,
            **_training(tile, card.input.multiple, flat),
        }
    )


def _training(tile: TileRecipe, multiple: tuple[int, int, int], flat: bool) -> dict[str, Any]:
    """What a fine-tuning is, the same for all models; the sizes go by whether the network sees slices or volumes."""
    dims = 3 if tile.halo[0] else 2
    deep, *plane = multiple
    depth = deep if flat else _whole(DEPTH, deep)
    return {
        "steps": STEPS[dims],
        "batch": BATCH[dims],
        "crop": (1 if dims == 2 else depth, *(_whole(CROP[dims], m) for m in plane)),
        "precision": "f32",
        "validate_every": STEPS[dims],
        "checkpoint_every": 100,
        "augmentation": Augmentation(
            symmetries="planar",
            flat=1.0 if flat and dims == 3 else 0.0,
            shift=0.15,
            contrast=0.15,
            gamma=0.1,
            noise=0.1,
            grain=1.0,
        ),
        "optimiser": OptimiserRecipe(
            learning_rate=RATE, weight_decay=1e-4, warmup_steps=20, clip_norm=1.0, average=0.99
        ),
        "loss": LossRecipe(jaccard=1.0),
    }


def _whole(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _options(model: Model, classes: int) -> dict[str, Any]:
    options = dict(model.card.network.options)
    return options if classes == len(model.card.classes) else options | {"classes": classes}


def _name(manifest: Manifest, start: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{manifest.name}-from-{Path(start).name}".lower()).strip("-")


def _licence(manifest: Manifest, model: Model) -> str:
    return f"start: {model.card.licence}; data: {manifest.licence}"


def _limits(manifest: Manifest, trained: list[Located]) -> tuple[str, ...]:
    cases = len(trained)
    few = f"Fine-tuned on {cases} labelled image{'s' * (cases > 1)} of {manifest.name}: other scans were not looked at."
    private = f"Trained on data whose manifest says {manifest.use}: not to be published."
    return (few, private) if manifest.use == "check only" else (few,)
