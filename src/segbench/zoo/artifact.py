"""An artifact: a zoo model as a folder that other machines run, and the record of what was proved of it there.

In its folder:
- `artifact.json`: what it is; every other file with its sha256
- `model/`: the zoo model as it is: card, weights, graph
- `reference.npz`: inputs and the outputs that PyTorch gives for them
- parts: graphs and engines, in the layout of the target
- `verify.json`: the record; `segbench verify` writes it on the machine that runs the artifact
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from segbench.errors import InputError
from segbench.io.files import file_sha256
from segbench.recipe import Strict, read_json

ARTIFACT, RECORD, REFERENCE, MODEL = "artifact.json", "verify.json", "reference.npz", "model"
Inside = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")]
"""A path below the folder, with slashes; it cannot lead out of it."""
Kind = Literal["masked", "deterministic", "seeded", "aggregated", "doubt", "patch", "dense"]


class Part(Strict):
    """A graph or an engine that can be run.

    Attributes:
        kind: Its inputs and outputs. K is the number of logits a voxel, T of samples.
            "masked": image [1, 1, Z, Y, X], masks [T, channels] -> logits [T, K, Z, Y, X].
            "deterministic": image -> logits [1, K, Z, Y, X], of all-ones masks.
            "seeded": image, seed [1] int32, samples [T] int32 -> logits [T, K, Z, Y, X], masks [T, channels].
            "aggregated": the same inputs -> mean [1, K, Z, Y, X] of calibrated probabilities, entropy and
            mutual_information [1, 1, Z, Y, X] in nats, masks.
            "doubt": features [N, K + 1] -> logits [N, 1], of a cascade's classifier.
            "patch": patches [N, 1 + K, edge, edge], context [N, K] -> logits [N, K], of its local network; or
            "dense": image [Z, 1 + K, Y, X] -> logits [Z, K, Y, X].
        runtime: What runs it: "onnxruntime", "openvino", "tensorrt" or "tensorrt-rtx".
        path: Below the artifact's folder.
        precision: Of the convolutions.
    """

    kind: Kind
    runtime: str
    path: Inside
    precision: str = "f32"


class Artifact(Strict):
    """What lies in an artifact's folder.

    Attributes:
        format: Of this file.
        segbench: Version that made it.
        target: As it was asked for.
        model: Name of the zoo model.
        version: Of the zoo model.
        model_hash: `Model.hash`.
        precision: As it was asked for.
        profile: Text of the export profile.
        tools: Versions of what made it.
        device: The card that an engine is built for; "any" where it runs on all that its runtime knows.
        parts: What can be run.
        files: Every file but artifact.json and the record, by path, with its sha256.
    """

    format: Literal[1] = 1
    segbench: str
    target: str
    model: str
    version: str
    model_hash: str
    precision: str
    profile: str
    tools: dict[str, str]
    device: str = "any"
    parts: tuple[Part, ...]
    files: dict[Inside, str]


class Check(Strict):
    """One thing that `segbench verify` looked at.

    Attributes:
        name: "files", "lint", "masks", "outputs", "liveness", "accuracy" or another.
        part: Path of the part; empty where the whole artifact is meant.
        status: "not run" is never "passed": what the machine lacks stays unproved.
        said: One line: what was found, or why it was not run.
        numbers: What was measured.
    """

    name: str
    part: str = ""
    status: Literal["passed", "failed", "not run"]
    said: str
    numbers: dict[str, float] = {}


class Record(Strict):
    """What was proved of an artifact on a machine.

    Attributes:
        artifact: sha256 of artifact.json, so that a record fits one artifact only.
        segbench: Version that looked.
        when: UTC, ISO 8601.
        machine: Processor, and the card where there is one.
        versions: Of the runtimes.
        masks: Hash of what this installation draws for the model's sites; others' masks are other networks.
        checks: In the order in which they were made.
    """

    artifact: str
    segbench: str
    when: str
    machine: str
    versions: dict[str, str]
    masks: str = ""
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Nothing failed and at least one part was run."""
        ran = any(check.name == "outputs" and check.status == "passed" for check in self.checks)
        return ran and not any(check.status == "failed" for check in self.checks)


def is_artifact(folder: Path) -> bool:
    """Whether a folder is an artifact."""
    return (folder / ARTIFACT).is_file()


def read_artifact(folder: Path) -> Artifact:
    """What lies in `folder`; every file is checked against its hash.

    Raises:
        InputError: Not an artifact, or a file is missing or was changed.
    """
    found = read_json(folder / ARTIFACT, Artifact)
    check_files(folder, found.files)
    return found


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """Checks files against their hashes.

    Raises:
        InputError: Names the first one that is missing or was changed.
    """
    for path, expected in files.items():
        found = file_sha256(folder / path)
        if found != expected:
            raise InputError(
                f"{folder / path}: not the file that was exported (sha256 {found[:12]}…, {ARTIFACT} {expected[:12]}…): "
                "copy the folder again, or export again"
            )
