"""All stages in order, each taken from its folder where it is there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segbench import nets
from segbench.data.fib import FIB_VERSION
from segbench.data.pool import Progress, Sample
from segbench.nets import weights
from segbench.nets.network import Network
from segbench.train.checkpoint import Record
from segbench.train.loop import recipe_hash
from segbench.train.matphase import doubt, local, said, score
from segbench.train.matphase.recipe import MatPhaseRecipe
from segbench.train.matphase.release import Parts, release
from segbench.train.matphase.said import Asked, Said, Told
from segbench.train.matphase.stage import Stage
from segbench.train.run import train_network
from segbench.train.slices import slices
from segbench.volume import Float32, UInt8
from segbench.zoo import Model, find
from segbench.zoo.card import Card

Stepping = Callable[[Record], None]


def train_matphase(
    recipe: MatPhaseRecipe,
    recipe_file: Path,
    out: Path,
    first: Path | None = None,
    stages: Path | None = None,
    seed: int | None = None,
    budget_s: float | None = None,
    steps: int | None = None,
    making: Progress | None = None,
    stepping: Stepping | None = None,
) -> Card:
    """Trains the stages that are not there yet, and releases the cascade.

    Args:
        recipe: What to train.
        recipe_file: Where it was read.
        out: Folder of the model.
        first: A trained first network to take instead of training one.
        stages: Folder of the stages; variants that share it share what they have in common. `out`/stages by default.
        seed: In place of the recipe's, of all stages.
        budget_s: Processor time of the first network, and once more of all later stages together; see `fitting.Plan`.
        steps: Of each training at most.
        making: Called with (done, to do, name) of volumes and of answers.
        stepping: Called with records; those of later stages name their `stage` and the `share` of it that is done.

    Raises:
        InputError: `first` is no model, or not as its card pins it.
        OutputError: A folder cannot be written.
    """
    if seed is not None:
        first_recipe = recipe.first.model_copy(update={"seed": seed})
        recipe = recipe.model_copy(update={"seed": seed, "first": first_recipe})
    stages = stages or out / "stages"
    model = (
        _first(recipe, recipe_file, stages, budget_s, steps, making, stepping) if first is None else find(str(first))
    )
    learned, held_back, answers = _said(recipe, model, stages, budget_s, making)
    limits = {"steps": steps, "seed": recipe.seed}
    shares = recipe.doubt.shares
    budget = None if budget_s is None else shares[1] * budget_s
    kept = recipe.doubt.model_dump(include={"widths", "epochs", "batch", "optimiser", "recall", "most"})
    stage = Stage(
        stages, "doubt", after=[one.key for one in answers], **kept, on=recipe.doubt.on, budget_s=budget, **limits,
        version=doubt.VERSION,
    )  # fmt: skip
    classifier, found = doubt.train_doubt(stage, learned, held_back, recipe.doubt, recipe.seed, budget, steps, stepping)
    threshold, after = found.facts["threshold"], stage.key
    budget = None if budget_s is None else (1 - sum(shares)) * budget_s
    kept = recipe.local.model_dump(exclude={"all_pixels"})
    stage = Stage(stages, "local", after=after, **kept, budget_s=budget, **limits, version=local.VERSION)
    hides = doubt.doubted(classifier, learned, threshold)
    network, ended = local.train_local(stage, learned, hides, recipe.local, recipe.seed, budget, steps, stepping)
    scored = Stage(stages, "score", after=stage.key, everywhere=recipe.local.all_pixels, version=score.VERSION)
    hides = doubt.doubted(classifier, held_back, threshold)
    result = score.score(scored, network, held_back, hides, recipe.local)
    dones = [one.done for one in answers]
    assert dones[0] is not None
    assert dones[1] is not None
    parts = Parts((dones[0], dones[1]), found, ended, result)
    return release(model, classifier, network, parts, recipe, recipe_file, out)


def _first(
    recipe: MatPhaseRecipe,
    recipe_file: Path,
    stages: Path,
    budget_s: float | None,
    steps: int | None,
    making: Progress | None,
    stepping: Stepping | None,
) -> Model:
    """The stage of the first network."""
    stage = Stage(
        stages, "first", recipe=recipe_hash(recipe.first), images_of=FIB_VERSION, budget_s=budget_s, steps=steps
    )
    with stage.working() as done:
        if done is None:
            card = train_network(recipe.first, recipe_file, stage.folder, steps, making, stepping, budget_s)
            stage.finish(card.training.steps, card.training.processor_s or 0.0)
    return find(str(stage.folder))


def _said(
    recipe: MatPhaseRecipe, model: Model, stages: Path, budget_s: float | None, making: Progress | None
) -> tuple[Said, Said, tuple[Stage, Stage]]:
    """What the first network says of the images that are learned from, and of those that are held back."""
    parts = slices(recipe.data, model.card.input.normalisation, making)
    (image, label), validation = _arrays(parts[0]), _arrays(parts[1])
    halo = model.card.input.halo[1:]
    asked = Asked(_network(model), halo, recipe.doubt.samples, recipe.seed)
    made_of = {
        "weights": model.card.files.weights.sha256,
        "network": model.card.network.model_dump(),
        "normalisation": model.card.input.normalisation.model_dump(),
        "halo": halo,
        "images_of": FIB_VERSION,
        "samples": recipe.doubt.samples,
        "seed": recipe.seed,
        "data": recipe.data.model_dump(),
        "version": said.VERSION,
    }

    def told(name: str) -> Told | None:
        return None if making is None else lambda done, of: making(done, of, name)

    held = Stage(stages, "said-validation", **made_of)
    held_back = said.say(held, asked, *validation, told=told("answers on validation images"))
    if recipe.doubt.on == "validation":
        middle = (len(held_back.image) + 1) // 2
        return held_back.part(slice(0, middle)), held_back.part(slice(middle, None)), (held, held)
    budget = None if budget_s is None else recipe.doubt.shares[0] * budget_s
    at = _spread(len(image), recipe.doubt.images, recipe.seed)
    stage = Stage(stages, "said", **made_of, images=recipe.doubt.images, budget_s=budget)
    learned = said.say(stage, asked, image[at], label[at], budget, told("answers on training images"))
    return learned, held_back, (stage, held)


def _spread(count: int, wanted: int | None, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Evenly spread images in random order, so that the first of them are spread too where a budget cuts the rest."""
    even = np.unique(np.linspace(0, count - 1, min(wanted or count, count)).round().astype(np.int64))
    return np.random.default_rng([seed, 6]).permutation(even)


def _arrays(samples: list[Sample]) -> tuple[Float32, UInt8]:
    """Images and labels (N, Y, X) of samples one slice deep."""
    return np.concatenate([one.image for one in samples]), np.concatenate([one.label for one in samples])


def _network(model: Model) -> Network:
    """The first network with the weights that were released, rounded as they are."""
    network = nets.build(model.card.network.kind, **model.card.network.options)
    weights.load(network, model.weights)
    return network.eval()
