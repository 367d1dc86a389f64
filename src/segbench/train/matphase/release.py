"""One model of the first network, the doubt classifier and the local network."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import tomli_w

from segbench.export import reference
from segbench.export.second import export_doubt, export_local
from segbench.io import file_sha256, write_bytes
from segbench.nets.doubt import Doubt
from segbench.nets.local import Local
from segbench.train.matphase.doubt import Chosen
from segbench.train.matphase.local import options
from segbench.train.matphase.recipe import MatPhaseRecipe
from segbench.train.matphase.stage import Done
from segbench.train.release import README
from segbench.train.start import named
from segbench.zoo import CARD, Model
from segbench.zoo.card import Card, CascadeCard, FileCard, InputCard
from segbench.zoo.findings import TrainingCard
from segbench.zoo.page import page

DOUBT, LOCAL = "doubt.onnx", "local.onnx"
EVERYWHERE = -1.0  # a threshold below which no probability lies


@dataclass(frozen=True)
class Parts:
    """What the stages ended with, in their order.

    Attributes:
        said: Answers of the first network on images that are learned from.
        held_back: On validation images.
        doubt: The classifier.
        chosen: Its threshold.
        local: The local network.
        score: On validation images.
    """

    said: Done
    held_back: Done
    doubt: Done
    chosen: Chosen
    local: Done
    score: Done

    @property
    def process_s(self) -> float:
        """Processor time of all of them."""
        return sum(part.process_s for part in (self.said, self.held_back, self.doubt, self.local))


def release(
    first: Model, doubt: Doubt, local: Local, parts: Parts, recipe: MatPhaseRecipe, recipe_file: Path, out: Path
) -> Card:
    """Writes the first network's files, both graphs, reference, README and card; the card pins the others."""
    card = first.card
    files = card.files.model_copy(update={"reference": None, "foreign": None})
    for file in files.each:
        if first.path.resolve() != out.resolve():
            shutil.copyfile(first.path / file.path, out / file.path)
    export_doubt(doubt, out / DOUBT)
    export_local(local, len(card.classes), out / LOCAL)
    pinned = {name: FileCard(path=path, sha256=file_sha256(out / path)) for name, path in _GRAPHS.items()}
    threshold = parts.chosen.threshold
    card = card.model_copy(
        update={
            "name": recipe.name,
            "version": recipe.version,
            "title": recipe.title,
            "licence": recipe.licence,
            "limits": recipe.limits,
            "input": _wide_enough(card.input, local.edge // 2),
            "cascade": CascadeCard(
                kind=local.kind,
                edge=local.edge,
                threshold=EVERYWHERE if recipe.local.all_pixels else threshold,
                hides=threshold,
                options={"kind": recipe.local.kind, "sees": list(recipe.local.sees)} | options(recipe.local),
                parameters=doubt.parameter_count() + local.parameter_count(),
                trained=trained(parts, recipe),
            ),
            "files": files.model_copy(update=pinned),
            "training": _training(first, parts, recipe, recipe_file),
            **dict.fromkeys(("seeds", "seams", "conformal", "foreign")),
            "results": (),
        }
    )
    card = Card.model_validate(card.model_dump())  # a copy is not checked
    whole = card.files.model_copy(update={"reference": reference.make(Model(card=card, path=out))})
    card = card.model_copy(update={"files": whole})
    write_bytes(out / README, page(card))
    write_bytes(out / CARD, tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return card


_GRAPHS = {"doubt": DOUBT, "local": LOCAL}


def trained(parts: Parts, recipe: MatPhaseRecipe) -> str:
    """How the later stages were trained, and what they change on validation images, in words."""
    doubt, local, found = parts.doubt, parts.local, parts.score.facts
    order = {"usi": "certain pixels first", "reversed": "uncertain pixels first", "random": "in random order"}
    what = "images" if recipe.local.kind == "unet" else "pixels"
    return (
        f"answers on {parts.said.steps} images with T = {recipe.doubt.samples}; doubt: {doubt.steps} steps, "
        f"{doubt.process_s:.0f} s of processor time, it doubts {found['doubted']:.1%} of the validation pixels and "
        f"{parts.chosen.recall:.1%} of the errors there; {recipe.local.kind}: {local.steps} steps, "
        f"{local.process_s:.0f} s, {what} met {order[recipe.local.order]}. Validation mIoU {found['miou_first']:.4f} "
        f"before it and {found['miou_both']:.4f} with it."
    )


def _wide_enough(card: InputCard, margin: int) -> InputCard:
    """With a halo that shows the local network all that it looks at."""
    z, y, x = card.halo
    return card.model_copy(update={"halo": (z, max(y, margin), max(x, margin))})


def _training(first: Model, parts: Parts, recipe: MatPhaseRecipe, recipe_file: Path) -> TrainingCard:
    own = first.card.training
    spent = (own.processor_s or 0.0) + parts.process_s
    return own.model_copy(
        update={
            "recipe": recipe_file.name,
            "recipe_sha256": file_sha256(recipe_file),
            "start": named(first),
            "seed": recipe.seed,
            "processor_s": round(spent, 1),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "validation_accuracy": parts.score.facts["accuracy_both"],
            "validation_miou": parts.score.facts["miou_both"],
        }
    )
