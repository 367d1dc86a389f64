"""One command from a recipe to a folder that the zoo can use."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import ConfigDict

from segbench.data import pool
from segbench.errors import InputError, OutputError
from segbench.io.atomic import check_output_folder
from segbench.recipe import Strict, read_toml
from segbench.train import curves, loop
from segbench.train.checkpoint import Record
from segbench.train.matphase.recipe import MatPhaseRecipe
from segbench.train.recipe import Recipe
from segbench.train.release import release
from segbench.train.sources import DataRecipe, FibreRecipe
from segbench.train.start import started
from segbench.zoo.card import Card


def train(
    recipe_file: Path,
    out: Path,
    steps: int | None = None,
    making: pool.Progress | None = None,
    stepping: Callable[[Record], None] | None = None,
    seed: int | None = None,
    start: str | None = None,
    budget_s: float | None = None,
    threads: int | None = None,
    batch: int | None = None,
) -> Card:
    """Makes the data, trains or resumes, and releases.

    Args:
        recipe_file: A TOML recipe, of a network or of a cascade (`train.matphase`).
        out: Folder for the checkpoint, the learning curves and the model.
        steps: Stop after this many steps of the recipe's schedule and release what there is.
        making: Called with (volumes made, volumes, domain).
        stepping: Called with every step's record.
        seed: In place of the recipe's: a sibling on the same volumes.
        start: In place of the recipe's: weights of another model of the same network.
        budget_s: Stop after this much processor time in seconds; see `loop.fit`.
        threads: That PyTorch computes with; as many as there are cores by default.
        batch: In place of the recipe's (of a cascade, of its first network's); steps change so that as much is seen.

    Raises:
        InputError: The recipe is wrong, what it starts from is missing or another network, or the checkpoint belongs to
            another recipe.
        OutputError: The folder cannot be written, or another process trains into it.
    """
    recipe = read_recipe(recipe_file)
    if isinstance(recipe, MatPhaseRecipe):
        if start is not None:
            raise InputError(f"{recipe_file}: a cascade starts from no other model; leave out --start")
        if batch is not None:
            recipe = recipe.model_copy(update={"first": batched(recipe.first, batch)})
    else:
        given = {"seed": seed, "start": start}
        recipe = recipe.model_copy(update={key: value for key, value in given.items() if value is not None})
        if batch is not None:
            recipe = batched(recipe, batch)
        if recipe.start is not None:
            started(recipe)  # weights that do not fit are told before anything is written
    check_output_folder(out)
    with _alone(out), _threads(threads):
        if isinstance(recipe, Recipe):
            return train_network(recipe, recipe_file, out, steps, making, stepping, budget_s)
        from segbench.train.matphase.run import train_matphase

        return train_matphase(
            recipe, recipe_file, out, seed=seed, budget_s=budget_s, steps=steps, making=making, stepping=stepping
        )


def read_recipe(recipe_file: Path) -> Recipe | MatPhaseRecipe:
    """The recipe of a network, or of a cascade: only that one has a part `local`; errors as of `read_toml`."""
    if "local" in read_toml(recipe_file, _Parts).parts:
        return read_toml(recipe_file, MatPhaseRecipe)
    return read_toml(recipe_file, Recipe)


class _Parts(Strict):
    """Any TOML file, for its keys at the top."""

    model_config = ConfigDict(extra="allow")

    @property
    def parts(self) -> frozenset[str]:
        return frozenset(self.model_extra or ())


def train_network(
    recipe: Recipe,
    recipe_file: Path,
    out: Path,
    steps: int | None = None,
    making: pool.Progress | None = None,
    stepping: Callable[[Record], None] | None = None,
    budget_s: float | None = None,
) -> Card:
    """Trains one network into a folder that nothing else trains into; see `train`."""
    data = loop.training_data(recipe, pool.cache(), making)
    network, state = loop.fit(recipe, data, out, stepping, steps, budget_s)
    on = curves.PHANTOMS if isinstance(recipe.data, DataRecipe) else f"validation, {recipe.data.source}"
    images = sum(len(each.image) for each in data[0]) if isinstance(recipe.data, FibreRecipe) else len(data[0])
    curves.draw(state.history, out / "curves.png", f"{recipe.name}, recipe {recipe_file.name}", on)
    return release(network, recipe, recipe_file, state, list(data[1]), out, images, budget_s)


def batched(recipe: Recipe, batch: int) -> Recipe:
    """The recipe with another batch, and with as many steps, and steps of warm-up, as see the same number of images."""
    longer = recipe.batch / batch
    each = {name: getattr(recipe.optimiser, name) for name in ("warmup_steps", "steps_per_epoch")}
    scaled = {name: round(steps * longer) for name, steps in each.items()}
    scaled["steps_per_epoch"] = max(1, scaled["steps_per_epoch"])
    optimiser = recipe.optimiser.model_copy(update=scaled)
    return recipe.model_copy(
        update={"batch": batch, "steps": max(1, round(recipe.steps * longer)), "optimiser": optimiser}
    )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """PyTorch on so many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Refuses a second process on the same folder; the lock dies with the process."""
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{out}: another process is training into this folder; choose another --out") from error
        yield
