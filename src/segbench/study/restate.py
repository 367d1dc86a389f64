"""A model that is another one but for what its card says: another mean of the samples, another threshold of doubt."""

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from segbench.recipe import validate
from segbench.study.plan import changed
from segbench.zoo import CARD, find
from segbench.zoo.card import Card


def restate(of: Path, name: str, title: str, card: Mapping[str, Any], out: Path) -> Card:
    """Copies a model's folder with another card; the folder appears whole or not at all.

    What was fitted or measured for the model as it was is left out: reference, results, calibration, conformal bounds.

    Args:
        of: The model's folder.
        name: Of the new model.
        title: Of the new model.
        card: Values by dotted key of its card.
        out: The new folder.

    Raises:
        InputError: The folder holds no sound model, or the card would be wrong.
    """
    model = find(str(of))
    raw = model.card.model_dump(mode="json", exclude_none=True)
    for gone in ("results", "seeds", "seams", "conformal", "calibration"):
        raw.pop(gone, None)
    raw["files"].pop("reference", None)
    made = validate(changed(raw, {"name": name, "title": title, **card}, f"{of}/{CARD}"), Card, f"{of}/{CARD}")
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    try:
        part.mkdir(parents=True)
        for file in made.files.each:
            shutil.copyfile(model.path / file.path, part / file.path)
        (part / CARD).write_text(tomli_w.dumps(made.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made
