"""All stages in order, each taken from its folder where it is there."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench import nets
from segbench.data.fib import FIB_VERSION
from segbench.data.pool import Progress, Sample
from segbench.nets import weights
from segbench.nets.doubt import Doubt
from segbench.nets.local import Local
from segbench.nets.network import Network
from segbench.train.checkpoint import Record
from segbench.train.loop import recipe_hash
from segbench.train.matphase import doubt, local, said, score
from segbench.train.matphase.doubt import Chosen
from segbench.train.matphase.recipe import MatPhaseRecipe
from segbench.train.matphase.release import Parts, release
from segbench.train.matphase.said import Asked, Said, Told
from segbench.train.matphase.stage import Done, Stage
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
    work = _Work(recipe, recipe_file, stages or out / "stages", budget_s, steps, making, stepping)
    model = work.first() if first is None else find(str(first))
    learned, held_back, answers = work.said(model)
    classifier, thought, before = work.doubt(learned, answers[0])
    chosen = doubt.choose(classifier, held_back, recipe.doubt)
    network, ended, scored = work.local(learned, held_back, classifier, chosen, before)
    parts = Parts(_done(answers[0]), _done(answers[1]), thought, chosen, ended, scored)
    return release(model, classifier, network, parts, recipe, recipe_file, out)


@dataclass(frozen=True)
class _Work:
    """What all stages are given."""

    recipe: MatPhaseRecipe
    recipe_file: Path
    stages: Path
    budget_s: float | None
    steps: int | None
    making: Progress | None
    stepping: Stepping | None

    def stage(self, name: str, made_of: dict[str, object], part: float = 1.0) -> tuple[Stage, float | None]:
        """A stage and its part of the budget, both of which its key holds."""
        budget = None if self.budget_s is None else part * self.budget_s
        limits = {"budget_s": budget, "steps": self.steps, "seed": self.recipe.seed, "images_of": FIB_VERSION}
        return Stage(self.stages, name, limits | made_of), budget

    def first(self) -> Model:
        """The first network."""
        stage, budget = self.stage("first", {"recipe": recipe_hash(self.recipe.first)})
        with stage.working() as done:
            if done is None:
                card = train_network(
                    self.recipe.first, self.recipe_file, stage.folder, self.steps, self.making, self.stepping, budget
                )
                stage.finish(card.training.steps, card.training.processor_s or 0.0)
        return find(str(stage.folder))

    def said(self, model: Model) -> tuple[Said, Said, tuple[Stage, Stage]]:
        """What the first network says of the images that are learned from, and of those that are held back."""
        recipe, card = self.recipe.doubt, model.card
        parts = slices(self.recipe.data, card.input.normalisation, self.making)
        (image, label), validation = _arrays(parts[0]), _arrays(parts[1])
        asked = Asked(_network(model), card.input.halo[1:], recipe.samples, self.recipe.seed)
        made_of: dict[str, object] = {
            "weights": card.files.weights.sha256,
            "network": card.network.model_dump(),
            "normalisation": card.input.normalisation.model_dump(),
            "halo": card.input.halo,
            "samples": recipe.samples,
            "data": self.recipe.data.model_dump(),
            "version": said.VERSION,
        }
        # all of them whatever the budget: what is chosen on them is chosen on the same images everywhere
        held, _ = self.stage("said-validation", made_of)
        held_back = said.say(held, asked, *validation, told=self._told("answers on validation images"))
        if recipe.on == "validation":
            middle = (len(held_back.image) + 1) // 2
            return held_back.part(slice(0, middle)), held_back.part(slice(middle, None)), (held, held)
        stage, budget = self.stage("said", made_of | {"images": recipe.images}, recipe.shares[0])
        at = _spread(len(image), recipe.images, self.recipe.seed)
        learned = said.say(stage, asked, image[at], label[at], budget, self._told("answers on training images"))
        return learned, held_back, (stage, held)

    def doubt(self, learned: Said, before: Stage) -> tuple[Doubt, Done, Stage]:
        """The classifier of errors."""
        recipe = self.recipe.doubt
        kept = recipe.model_dump(include={"on", "widths", "epochs", "batch", "optimiser"})
        stage, budget = self.stage("doubt", kept | {"after": before.key, "version": doubt.VERSION}, recipe.shares[1])
        network, done = doubt.train_doubt(stage, learned, recipe, self.recipe.seed, budget, self.steps, self.stepping)
        return network, done, stage

    def local(
        self, learned: Said, held_back: Said, classifier: Doubt, chosen: Chosen, before: Stage
    ) -> tuple[Local, Done, Done]:
        """The local network, and its scores on what was held back."""
        recipe = self.recipe.local
        kept = recipe.model_dump(exclude={"all_pixels"})
        part = 1 - sum(self.recipe.doubt.shares)
        stage, budget = self.stage(
            "local", kept | {"after": before.key, "threshold": chosen.threshold, "version": local.VERSION}, part
        )
        hides = doubt.doubted(classifier, learned, chosen.threshold)
        network, done = local.train_local(
            stage, learned, hides, recipe, self.recipe.seed, budget, self.steps, self.stepping
        )
        everywhere = {"after": stage.key, "everywhere": recipe.all_pixels, "version": score.VERSION}
        scored, _ = self.stage("score", everywhere)
        return network, done, score.score(scored, network, held_back, chosen.doubted, recipe)

    def _told(self, name: str) -> Told | None:
        making = self.making
        return None if making is None else lambda done, of: making(done, of, name)


def _done(stage: Stage) -> Done:
    done = stage.done
    assert done is not None
    return done


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
