"""Measured results, each with what it takes to know how it came about.

A row holds what was measured and nothing derived from other rows: means, ranks and tables are pure functions
of rows. Nothing is rounded. What is undefined is NaN, written as null in JSON and read back as NaN.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from segbench.io import check_output_folder, write_bytes
from segbench.recipe import Strict, read_json

FORMAT = "segbench rows 1"
TIMES = frozenset({"wall_s", "made"})
"""Fields in which two runs of one command may differ."""

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "torch",
)


def _nan_for_null(value: object) -> object:
    return math.nan if value is None else value


def _finite(value: float) -> float:
    if math.isinf(value):
        raise ValueError("a metric is a finite number, or NaN where it is undefined")
    return value


Metric = Annotated[float, BeforeValidator(_nan_for_null), AfterValidator(_finite)]
"""A score; NaN where it is undefined."""

Confusion = tuple[tuple[Annotated[int, Field(ge=0, strict=True)], ...], ...]
"""Voxels of true class i (row) predicted as j (column)."""


class Row(Strict):
    """One measured result with its provenance.

    Attributes:
        kind: "case": a model on one volume. "baseline": a method without a trained model on one volume.
        model: Name of the model or baseline.
        model_hash: sha256 of what was run; None for a baseline.
        data: Name of the data set or manifest.
        domain: Domain that the case belongs to.
        case: Name of the volume within its domain.
        data_hash: sha256 of the volume and its labels.
        engine: Engine that really ran, or the library of a baseline.
        device: Device that really ran it, in words.
        precision: Such as "f32".
        threads: Threads it was allowed; None where it did not matter.
        samples: T; 0 for something deterministic.
        seed: Seed of the masks or of the baseline; None where nothing is random.
        thin: Whether each sample computed only the channels that it keeps.
        inverted: Whether the negative of the image was segmented.
        calibrated: Whether the logits went through the card's calibration, where it has one; `model_hash` is the
            card's either way.
        warnings: What spoke against trusting the prediction.
        metrics: Scores by name; NaN where undefined.
        confusion_truth: Against the truth; None where there is none.
        confusion_human: Against the human label; None where there is none.
        merge: Which class of the data each of the model's was taken for, as `--merge` says it; "" where they are the
            same by number.
        stack: The slices are images of their own: scores of note, and blocks, are against the human label.
        blocks: Confusion of each block of the volume against its reference, the truth where there is one, else the
            human label: what a bootstrap draws from where there is one volume. Of a stack each slice, in order.
        curves: Values along a curve by name, such as a reliability diagram's; NaN where undefined.
        voxels: Useful voxels, without halo.
        wall_s: Wall-clock seconds of what `timed` says.
        timed: What was timed, in words.
        versions: Versions of Python and of the packages that computed it.
        git: Commit of the source checkout, "-dirty" where its code differs from it; None outside a checkout.
        code: sha256 of the code that decides the numbers (`evaluate.source`); None where it was not kept.
        card: sha256 of the model's card without what was measured of it; None for a baseline, or where not kept.
        segbench: Version of segbench.
        made: When, ISO 8601 in UTC.
    """

    kind: Literal["case", "baseline"]
    model: str
    model_hash: str | None
    data: str
    domain: str
    case: str
    data_hash: str
    engine: str
    device: str
    precision: str
    threads: int | None
    samples: int = Field(ge=0)
    seed: int | None
    thin: bool = False
    inverted: bool = False
    calibrated: bool = True
    merge: str = ""
    stack: bool = False
    warnings: tuple[str, ...] = ()
    metrics: dict[str, Metric]
    confusion_truth: Confusion | None
    confusion_human: Confusion | None
    blocks: tuple[Confusion, ...] = ()
    curves: dict[str, tuple[Metric, ...]] = {}
    voxels: int = Field(ge=0)
    wall_s: float = Field(ge=0, allow_inf_nan=False)
    timed: str
    versions: dict[str, str]
    git: str | None
    code: str | None = None
    card: str | None = None
    segbench: str
    made: str


class _File(Strict):
    format: Literal["segbench rows 1"]
    rows: tuple[Row, ...]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes `rows` as JSON, whole or not at all: no half-written file ever stands under `path`.

    Raises:
        OutputError: The folder cannot be made or written, or the disk is full.
    """
    text = json.dumps({"format": FORMAT, "rows": [_json(row) for row in rows]}, indent=1, allow_nan=False)
    check_output_folder(path.parent)
    write_bytes(path, text + "\n")


def read_rows(path: Path) -> tuple[Row, ...]:
    """The rows of a file that `write_rows` wrote.

    Raises:
        InputError: One line that names the file, the key and what is wrong with it.
    """
    return read_json(path, _File).rows


def comparable(row: Row) -> dict[str, object]:
    """The row without its times, NaN as None: equal for two runs of one command with one seed."""
    return {key: value for key, value in _json(row).items() if key not in TIMES}


def now() -> str:
    """This moment, as a row's `made`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def versions() -> dict[str, str]:
    """Version of Python and of every installed package that can change a number."""
    return dict(_versions())


def git_hash(package: Path = Path(__file__).parent) -> str | None:
    """Commit of the checkout that `package` is the source of, "-dirty" where its code was changed since.

    None outside a checkout, without git, or where `package` is merely installed below somebody's repository.
    """
    root = package.resolve().parent.parent
    if not (root / ".git").exists() or package.resolve() != root / "src" / "segbench":
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None or commit.returncode:
        return None
    changes = _git(root, "status", "--porcelain", "--", "src")
    dirty = changes is None or changes.returncode != 0 or bool(changes.stdout.strip())
    return commit.stdout.strip() + ("-dirty" if dirty else "")


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    # Variables such as GIT_DIR, set inside a hook, would point git at another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ("git", "--no-optional-locks", "-C", str(root), *arguments)
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _json(row: Row) -> dict[str, object]:
    """`row` with NaN as None."""
    raw: dict[str, object] = json.loads(row.model_dump_json())
    return raw
