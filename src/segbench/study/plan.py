"""What has to be trained for some methods at a scale: one job for each training, in a folder named by its inputs."""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from segbench.errors import InputError
from segbench.evaluate.cases import version_of
from segbench.evaluate.measured import Key, keys
from segbench.evaluate.methods import Method, Scale, Study
from segbench.resources import folder

FIRST = "first"
"""The table of a recipe of several stages that holds the recipe of its first network."""


@dataclass(frozen=True)
class Job:
    """One training, or one model that is made of another one.

    Attributes:
        key: Which.
        method: As the study defines it.
        place: Folder of its model: cached by recipe, budget, and what it starts from.
        recipe: Text of its recipe; None where it is made of another model, or is no model.
        needs: Whose model it takes as its first network, or is made of.
        budget_s: Processor seconds; None for what the recipe says.
        digest: Of all inputs.
        fault: Why it cannot even start: its recipe is missing or wrong.
    """

    key: Key
    method: Method
    place: Path
    recipe: str | None
    needs: Key | None
    budget_s: float | None
    digest: str
    fault: str | None = None

    @property
    def recipe_sha256(self) -> str | None:
        """As the card of the model will say; None where it is made of another model."""
        return None if self.recipe is None else hashlib.sha256(self.recipe.encode()).hexdigest()


def plan(study: Study, scale: Scale, methods: Iterable[Method], root: Path) -> tuple[Job, ...]:
    """The jobs of these methods, those that others need first.

    Args:
        study: Whose methods.
        scale: What they may cost.
        methods: With all that they need (`Study.with_needs`).
        root: Folder of all models of the scale.
    """
    jobs: dict[Key, Job] = {}
    for key in keys(study, scale, methods):
        method = study.named(key.method)
        jobs[key] = _job(key, method, study, scale, root, jobs)
    return tuple(jobs.values())


def _job(key: Key, method: Method, study: Study, scale: Scale, root: Path, before: Mapping[Key, Job]) -> Job:
    other = method.of or method.first
    needs = Key(other, key.seed, key.split) if other else None
    recipe, fault = None, None
    try:
        recipe = recipe_text(key, method, scale, splits=study.paper is not None)
    except InputError as error:
        fault = str(error)
    allowed = scale.later_s if method.first else scale.budget_s
    budget = None if allowed is None else allowed * method.budgets
    if method.of and needs:
        budget = before[needs].budget_s
    inputs = [recipe, method.card, budget, before[needs].digest if needs else None, version_of(study.data)]
    if method.naive is not None:
        inputs, budget = [*inputs, method.naive], None
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return Job(key, method, root / f"{key}-{digest[:10]}", recipe, needs, budget, digest, fault)


def recipe_text(key: Key, method: Method, scale: Scale, *, splits: bool) -> str | None:
    """A method's recipe with the options of method and scale, its seed and its split; None where it has none.

    Args:
        key: Which training.
        method: Whose recipe.
        scale: What it may cost.
        splits: Whether the data has several splits, one of which the recipe then names.

    Raises:
        InputError: The recipe is missing or wrong, or an option does not fit into it.
    """
    if method.recipe is None:
        return None
    path = folder("train") / f"{method.recipe}.toml"
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such recipe, and method {method.name} is trained by it") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML ({error})") from error
    if method.part is not None:
        if not isinstance(raw.get(method.part), dict):
            raise InputError(f"{path}: has no table [{method.part}], which method {method.name} is trained by")
        raw = raw[method.part]
    prefix = f"{FIRST}." if FIRST in raw else ""
    name = f"{method.name}-{key.split}" if key.split != "clean" else method.name
    split = {"data.split": key.split} if splits else {}
    common = {**scale.options, **split, "seed": key.seed}
    options = {"name": name, **{prefix + k: value for k, value in common.items()}, **method.options}
    if prefix:
        options["seed"] = key.seed  # of the later stages
    return tomli_w.dumps(changed(raw, options, f"{path}, method {method.name}"))


def changed(raw: Mapping[str, Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy in which dotted keys have these values; tables on the way are made where they are missing.

    Raises:
        InputError: A key leads through something that is no table.
    """
    made = deepcopy(dict(raw))
    for dotted, value in options.items():
        *tables, last = dotted.split(".")
        at = made
        for name in tables:
            at = at.setdefault(name, {})
            if not isinstance(at, dict):
                raise InputError(f"{where}: option {dotted!r} leads through {name!r}, which is no table")
        at[last] = value
    return made
