"""One contender's times with what it takes to know how they came about.

A row holds what was measured and nothing derived: medians, ratios and shares are pure functions of rows (`summary`).
"""

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from segbench import __version__
from segbench.io import check_output_folder, write_bytes
from segbench.recipe import Strict, read_json
from segbench.rows import git_hash, now, versions

FORMAT = "segbench bench 1"

Kind = Literal["segbench", "engine", "dense", "onnxruntime", "monai-torch", "monai-engine", "peak"]
Triple = tuple[int, int, int]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Agreement(Strict):
    """How a mean probability differs from that of MONAI and PyTorch in f32, with MONAI's tiling on both sides.

    Attributes:
        largest: Largest absolute difference of a voxel.
        rms: Root of the mean squared difference over all voxels.
        standard_error: Monte-Carlo standard error of the reference's mean, root mean square over all voxels; None for
            one sample, whose error is not known.
        within: Share of the voxels whose difference is at most the standard error there, or rounding (1e-6).
    """

    largest: Finite
    rms: Finite
    standard_error: Finite | None
    within: Annotated[float, Field(ge=0, le=1)] | None


class Facts(Strict):
    """What a contender is, known before it runs.

    Attributes:
        kind: "segbench": predict end to end. "engine": the same tiles through the bare engine. "dense": one pass of the
            deterministic twin over them. "onnxruntime": T runs of the masked graph over them. "monai-torch" and
            "monai-engine": T passes of MONAI's sliding window. "peak": plain convolutions.
        engine: What computed the convolutions.
        device: What it really ran on, in words.
        precision: Of the convolutions.
        threads: Of the engine.
        thin: Whether a sample computed only the channels that it keeps.
        samples: T; 0 where nothing is dropped.
        window: Voxels (Z, Y, X) that the network sees at once.
        windows: How many of them cover the volume.
        core: Useful voxels of a window, all others being cropped; None where windows overlap and are blended.
        halo: Voxels read on each side of the core; None likewise.
        overlap: Share by which neighbouring windows overlap; None where cores do not.
        voxels: Useful ones: those of the volume.
        flops: Of the dense network over all windows once, or of one run of plain convolutions; a multiply-add is two.
        timed: What was timed, in words.
    """

    kind: Kind
    engine: str
    device: str
    precision: str
    threads: int = Field(ge=1)
    thin: bool = False
    samples: int = Field(ge=0)
    window: Triple
    windows: int = Field(ge=1)
    core: Triple | None = None
    halo: Triple | None = None
    overlap: float | None = None
    voxels: int = Field(ge=1)
    flops: int = Field(ge=0)
    timed: str


class BenchRow(Facts):
    """One contender's times with their provenance.

    Attributes:
        model: Name of the model.
        model_hash: sha256 of what was run.
        size: Edge of the synthetic volume in voxels.
        seed: Of the masks.
        seconds: Wall time of each repeat, in the order of the rounds.
        first_s: Wall time of the warm-up, in which graphs are compiled.
        peak_mib: Largest resident memory of a process that starts, loads and runs this contender alone, once, Python
            and libraries included; None for plain convolutions.
        agreement: With MONAI and PyTorch; None where they were not asked for.
        versions: Of Python and of the packages that computed it.
        git: Commit of the source checkout, "-dirty" where its code differs from it; None outside a checkout.
        segbench: Version of segbench.
        made: When, ISO 8601 in UTC.
    """

    model: str
    model_hash: str
    size: int = Field(ge=1)
    seed: int
    seconds: tuple[Seconds, ...] = Field(min_length=1)
    first_s: Seconds
    peak_mib: Finite | None
    agreement: Agreement | None
    versions: dict[str, str]
    git: str | None
    segbench: str
    made: str


class _File(Strict):
    format: Literal["segbench bench 1"]
    rows: tuple[BenchRow, ...]


def provenance() -> dict[str, object]:
    """Versions, commit and moment of a row that is made now."""
    found = versions()
    for name in ("onnx", "monai"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"versions": found, "git": git_hash(), "segbench": __version__, "made": now()}


def write_rows(path: Path, rows: Sequence[BenchRow]) -> None:
    """Writes `rows` as JSON, whole or not at all."""
    text = json.dumps({"format": FORMAT, "rows": [row.model_dump(mode="json") for row in rows]}, indent=1)
    check_output_folder(path.parent)
    write_bytes(path, text + "\n")


def read_rows(path: Path) -> tuple[BenchRow, ...]:
    """The rows of a file that `write_rows` wrote.

    Raises:
        InputError: One line that names the file, the key and what is wrong with it.
    """
    return read_json(path, _File).rows
