"""Makes an artifact: a target's parts, the model and the reference in one folder, which appears whole or not at all."""

import secrets
import shutil
from pathlib import Path

import segbench
from segbench.errors import InputError, OutputError
from segbench.export.profile import read_profile, tolerance_of
from segbench.export.targets import target
from segbench.io import file_sha256, telling, write_bytes
from segbench.zoo import CARD, Model
from segbench.zoo.artifact import ARTIFACT, MODEL, REFERENCE, Artifact
from segbench.zoo.page import page

README = "README.md"


def make(model: Model, to: str, out: Path, precision: str | None = None) -> Artifact:
    """Exports `model` to the target or profile `to`, as the new folder `out`.

    Args:
        model: Of the zoo, or of a folder.
        to: A target's name, or a profile's file.
        out: Must not be there yet.
        precision: Of the convolutions; the profile's first by default.

    Raises:
        UnknownNameError: There is no such target.
        InputError: The target is not made in that precision, or the model has no reference.
        EngineError: What makes it is not installed, or refuses the graph.
        OutputError: `out` is there already or cannot be written.
    """
    profile, source = read_profile(to)
    precision = precision or next(iter(profile.tolerance))
    tolerance_of(profile, precision)
    build = target(profile.target)
    if model.reference is None:
        raise InputError(
            f"model {model.card.name!r} has no reference to prove an export by: segbench zoo reference FOLDER"
        )
    if out.exists():
        raise OutputError(f"{out}: is there already: choose another name, or remove it")
    with telling(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
        try:
            copy_model(model, part / MODEL)
            shutil.copyfile(model.reference, part / REFERENCE)
            built = build(model, profile, precision, part)
            made = sorted(file for file in part.rglob("*") if file.is_file())
            files = {file.relative_to(part).as_posix(): file_sha256(file) for file in made}
            artifact = Artifact(
                segbench=segbench.__version__,
                target=profile.target,
                model=model.card.name,
                version=model.card.version,
                model_hash=model.hash,
                precision=precision,
                profile=source.read_text(encoding="utf-8"),
                tools=dict(built.tools),
                device=built.device,
                parts=built.parts,
                files=files,
            )
            write_bytes(part / ARTIFACT, artifact.model_dump_json(indent=1) + "\n")
            part.rename(out)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return artifact


def copy_model(model: Model, folder: Path) -> None:
    """The zoo model as it is, in a new folder: its card, page and every file that the card pins."""
    folder.mkdir(parents=True)
    for file in model.card.files.each:
        shutil.copyfile(model.path / file.path, folder / file.path)
    shutil.copyfile(model.path / CARD, folder / CARD)
    write_bytes(folder / README, page(model.card))
