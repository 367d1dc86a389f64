"""Figures of a study that need the models of a run, beside those that its tables draw of rows."""

from collections.abc import Callable, Sequence
from pathlib import Path

from segbench.errors import InputError
from segbench.evaluate.measured import Collection, Key
from segbench.io import check_output_folder
from segbench.study import figures, overlay
from segbench.study.run import Asked, places
from segbench.study.scene import models_of, scene

Told = Callable[[str], None]
"""Called with the title of what is being predicted."""
REFERENCE = "2d-f16"
"""Whose errors are shown of tomo2seg's study."""


def draw(asked: Asked, found: Collection, folders: Sequence[Path], told: Told) -> list[Path]:
    """Draws the study's figures into each folder.

    Raises:
        InputError: A model that they need is not there; which, in a line.
        OutputError: A folder cannot be written.
    """
    return PICTURES[asked.study](asked, found, folders, told) if asked.study in PICTURES else []


def _matphase(asked: Asked, found: Collection, folders: Sequence[Path], told: Told) -> list[Path]:
    there = models_of(places(asked))
    if there is None:
        raise InputError("no figures: they need models of ugsm, unet and matphase")
    models, seed = there
    scale = found.study.scale_named(asked.scale)
    shown = scene(models, found.study.data, scale.samples, seed, told)
    first = found.found.get(Key("ugsm", seed))
    said = f"battery-fib, clean split, test slices; scale {asked.scale}, seed {seed}, T = {scale.samples}"
    return [path for folder in folders for path in figures.draw(shown, first.findings if first else None, folder, said)]


def _tomo2seg(asked: Asked, found: Collection, folders: Sequence[Path], told: Told) -> list[Path]:
    there = {key: place for key, place in places(asked).items() if key.method == REFERENCE}
    if not there:
        raise InputError(f"no error overlay: it needs a model of {REFERENCE}")
    key = min(there)
    scale, title = found.study.scale_named(asked.scale), found.study.named(REFERENCE).title
    told(title)
    shown = overlay.overlay(there[key], found.study.data, scale.samples)
    said = f"{found.study.data}, test layers; {title}; scale {asked.scale}, seed {key.seed}, T = {scale.samples}"
    written = [check_output_folder(folder) / "tomo2seg-errors.png" for folder in folders]
    for path in written:
        overlay.draw(shown, path, said)
    return written


PICTURES: dict[str, Callable[[Asked, Collection, Sequence[Path], Told], list[Path]]] = {
    "matphase": _matphase,
    "tomo2seg": _tomo2seg,
}
"""By the study's name."""
