"""`segbench verify`: proof, on the machine that runs it, that an artifact still is the model that was exported."""

import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from segbench import __version__
from segbench.engines import start
from segbench.errors import InputError
from segbench.export import cascade, checks
from segbench.export.accuracy import Yardstick
from segbench.export.kinds import SECOND, second_parts
from segbench.export.parity import compare
from segbench.export.profile import Profile, Tolerance
from segbench.export.runners.onnxruntime import PROVIDERS
from segbench.export.trial import Trial
from segbench.hardware import machine
from segbench.io.atomic import write_bytes
from segbench.io.files import file_sha256
from segbench.recipe import read_json, validate
from segbench.rows import now, versions
from segbench.zoo import Model
from segbench.zoo.artifact import ARTIFACT, MODEL, RECORD, REFERENCE, Artifact, Check, Part, Record, is_artifact
from segbench.zoo.proof import masks_hash
from segbench.zoo.reference import Reference, read_reference

Progress = Callable[[Check], None]
ZOO = Tolerance(rtol=0, atol=1e-4, accuracy=0, nll=0)  # of logits, float32 against float32 across runtimes


def verify(folder: Path, device: str = "cpu", progress: Progress | None = None, *, scored: bool = True) -> Record:
    """Proves an artifact and writes the record beside it.

    Args:
        folder: The artifact's.
        device: Where parts run that can run on either: "cpu" or "cuda".
        progress: Called after each check.
        scored: Whether accuracy on battery16 is part of it; a record without it says so.

    Raises:
        InputError: No artifact, or its description, card or reference cannot be read.
        OutputError: The record cannot be written.
    """
    if device not in PROVIDERS:
        raise InputError(f"--device {device}: give {' or '.join(PROVIDERS)}")
    if not is_artifact(folder):
        raise InputError(f"{folder}: no artifact, it holds no {ARTIFACT}: make one with segbench export")
    artifact = read_json(folder / ARTIFACT, Artifact)
    model = checks.read_card(folder / MODEL)
    reference, profile = read_reference(folder / REFERENCE), _profile(artifact, folder)
    made: list[Check] = []

    def note(check: Check) -> None:
        made.append(check)
        if progress is not None:
            progress(check)

    note(checks.files(folder, artifact.files))
    note(checks.card(model, artifact.model_hash))
    for check in _of_card(model, reference):
        note(check)
    yardstick = Yardstick(model) if scored else None
    for part in artifact.parts:
        for check in Trial(folder, part, model, reference, profile, device, yardstick).checks():
            note(check)
        if not scored and part.kind not in SECOND:
            note(Check(name="accuracy", part=part.path, status="not run", said="not run: left out as asked"))
    for check in cascade.checks(model, reference, profile, artifact.parts):
        note(check)
    record = Record(
        artifact=file_sha256(folder / ARTIFACT),
        segbench=__version__,
        when=now(),
        machine=machine(),
        versions=versions(),
        masks=masks_hash(model.card.dropout),
        checks=tuple(made),
    )
    write_bytes(folder / RECORD, record.model_dump_json(indent=1) + "\n")
    return record


def verify_model(model: Model, progress: Progress | None = None) -> tuple[Check, ...]:
    """Proves a zoo model's graph, by the same checks: against its reference, and against PyTorch where that is there.

    Raises:
        InputError: The reference cannot be read.
    """
    made: list[Check] = []

    def note(check: Check) -> None:
        made.append(check)
        if progress is not None:
            progress(check)

    graph = Part(kind="masked", runtime="onnxruntime", path=model.card.files.graph.path)
    if model.reference is None:
        said = f"not run: the model has none; segbench zoo reference {model.path} makes it"
        note(Check(name="reference", status="not run", said=said))
        return tuple(made)
    reference = read_reference(model.reference)
    for check in _of_card(model, reference):
        note(check)
    profile = Profile(target="zoo", about="a model of the zoo", tolerance={"f32": ZOO})
    parts = (graph, *second_parts(model, graph.runtime))
    for part in parts:
        for check in Trial(model.path, part, model, reference, profile, "cpu", None).checks():
            note(check)
    for check in cascade.checks(model, reference, profile, parts):
        note(check)
    note(_weights(model, reference))
    return tuple(made)


def _of_card(model: Model, reference: Reference) -> tuple[Check, ...]:
    return (
        checks.normalisation(model.card, reference),
        checks.calibration(model.card, reference),
        checks.masks(model.card, reference),
    )


def _weights(model: Model, reference: Reference) -> Check:
    """The weights beside the graph give the reference's logits, too."""
    name = model.card.files.weights.path
    if find_spec("torch") is None or find_spec("safetensors") is None:
        return Check(name="weights", part=name, status="not run", said="not run: PyTorch is not installed")
    found = start(model, "torch").bind(reference.masks)(reference.image)
    apart = compare("logits", np.asarray(found), reference.logits, ZOO)
    said = f"PyTorch's {apart}"
    return Check.model_validate(
        {"name": "weights", "part": name, "status": "passed" if apart.passed else "failed", "said": said,
         "numbers": apart.numbers}
    )  # fmt: skip


def _profile(artifact: Artifact, folder: Path) -> Profile:
    where = f"{folder / ARTIFACT}: its profile"
    try:
        return validate(tomllib.loads(artifact.profile), Profile, where)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not TOML ({error})") from error
