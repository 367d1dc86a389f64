"""A trained model into the zoo, with what was measured of it in its card."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from segbench.errors import InputError
from segbench.evaluate.table import per_domain
from segbench.io import check_output_folder, replacing, write_bytes
from segbench.metrics.overlap import mean
from segbench.rows import Row, read_rows
from segbench.zoo import CARD, Model
from segbench.zoo.findings import ResultCard, SeedsCard
from segbench.zoo.page import page

README = "README.md"
SHOWN = (
    "accuracy_truth",
    "accuracy_human",
    "miou_truth",
    "miou_human",
    "auc_truth",
    "auc_human",
    "nll_truth",
    "nll_human",
    "ece_truth",
    "ece_human",
    "viability",
    "viability_of_human",
    "entropy",
    "mutual_information",
    "spread",
)
OF_CLASSES = ("fiou", "accuracy_band", "brier", "ece_classwise")
"""Shown besides of a model of more than two classes, against each reference, with F1 and share of each class."""


def summary(model: Model, rows: Sequence[Row], source: Path) -> ResultCard:
    """Means of an evaluation, as a card states them.

    Raises:
        InputError: The rows are those of another model.
    """
    own = [row for row in rows if row.kind == "case"]
    if not own or any(row.model_hash != model.hash for row in own):
        raise InputError(f"{source}: not an evaluation of {model.path}; evaluate this very model first")
    lines = per_domain(own, own[0].model)
    first = own[0]
    classes = model.card.classes if not first.merge else ()
    means = {key: mean([values.get(key, math.nan) for values in lines.values()]) for key in shown(classes)}
    return ResultCard(
        data=f"{first.data} ({first.merge})" if first.merge else first.data,
        domains=len(lines),
        samples=first.samples,
        seed=first.seed or 0,
        engine=f"{first.engine} {first.versions.get(first.engine, '')}".strip(),
        precision=first.precision,
        device=first.device,
        means={key: value for key, value in means.items() if not math.isnan(value)},
    )


def shown(classes: Sequence[str]) -> tuple[str, ...]:
    """The scores that a card states of a model of these classes."""
    if len(classes) <= 2:
        return SHOWN
    each = (*(f"f1_{name}" for name in classes), *OF_CLASSES)
    against = tuple(f"{key}_{end}" for key in each for end in ("truth", "human"))
    return (*SHOWN, *against, *(f"share_{name}" for name in classes), "doubted")


def among(model: Model, siblings: Sequence[Model]) -> SeedsCard | None:
    """The model among its siblings.

    Raises:
        InputError: One is no sibling, or is better by validation mIoU.
    """
    if not siblings:
        return None
    own = model.card.training
    for sibling in siblings:
        other = sibling.card.training
        same = (other.recipe_sha256, other.steps, other.data) == (own.recipe_sha256, own.steps, own.data)
        if not same or other.seed == own.seed:
            raise InputError(f"{sibling.path}: no sibling of {model.path}: not the same recipe and steps, another seed")
        if other.validation_miou > own.validation_miou:
            raise InputError(f"{sibling.path} is better by validation mIoU than {model.path}: add that one")
    everyone = [own, *(sibling.card.training for sibling in siblings)]
    return SeedsCard(
        seeds=tuple(t.seed for t in everyone),
        validation_accuracy=tuple(t.validation_accuracy for t in everyone),
        validation_miou=tuple(t.validation_miou for t in everyone),
    )


def publish(model: Model, rows: Sequence[Path], siblings: Sequence[Model], zoo: Path) -> Path:
    """Copies the model's files, and writes card and page, into a folder of the model's name; the card last."""
    results = tuple(summary(model, read_rows(path), path) for path in rows)
    card = model.card.model_copy(update={"results": results, "seeds": among(model, siblings)})
    out = check_output_folder(zoo / card.name)
    for file in card.files.each:
        with replacing(out / file.path) as temp:
            shutil.copyfile(model.path / file.path, temp)
    write_bytes(out / README, page(card))
    write_bytes(out / CARD, tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return out
