"""Whether stored rows are what computing them again would give; if not, why not.

Compared is what decides a row: the model's hash and its card, the data, T, the seed of the masks, precision,
calibration, the engine and its version, the baselines' packages, and the code (`evaluate.source`). Threads, device,
time and other packages' versions are stored and do not count.
"""

from collections.abc import Sequence
from pathlib import Path

from segbench.data import fib, fibre
from segbench.data.domains import DOMAINS
from segbench.data.manifest import read_manifest
from segbench.data.manifest_load import case_hash
from segbench.engines import available
from segbench.errors import InputError
from segbench.evaluate.cases import BATTERY16, FIB, FIB_PAPER, FIBRE, PAPER, ROBUSTNESS, choose, made_by
from segbench.evaluate.definitions import RunDefinition, home, rows_file
from segbench.evaluate.robustness import KINDS, PICKED, case_name
from segbench.evaluate.source import card_hash, code
from segbench.rows import Row, read_rows, versions
from segbench.zoo import Model

BASELINES = ("scikit-image", "scikit-learn")
PACKAGE = {"torch-compiled": "torch"}
"""Packages of engines that are not called like them."""


def stale(run: RunDefinition, model: Model, images: Path | None) -> str | None:
    """Why the rows of a run have to be computed again, in a few words; None where they are up to date.

    Args:
        run: The run.
        model: As it is here.
        images: Folder of measured images.

    Raises:
        InputError: A manifest cannot be read, or an image is missing or is not the one that its manifest pins.
    """
    path = rows_file(run)
    if not path.is_file():
        return "no rows are stored"
    try:
        rows = read_rows(path)
    except InputError:
        return "the stored rows cannot be read"  # and computing them again is what helps
    own = [row for row in rows if row.kind == "case"]
    if not own:
        return "no rows of a model are stored"
    return _other_run(run, model, own) or _other_versions(rows) or _other_data(run, own, images)


def _other_run(run: RunDefinition, model: Model, own: Sequence[Row]) -> str | None:
    samples = run.samples if model.card.dropout else 1
    wanted = (samples, run.seed, run.precision, not run.uncalibrated, run.merge)
    for row in own:
        if row.model_hash != model.hash:
            return "another model"
        if row.card != card_hash(model.card):
            return "the model's card has changed"
        stored = (row.samples, row.seed, row.precision, row.calibrated, row.merge)
        for name, value, there in zip(("T", "seed", "precision", "calibrated", "merge"), wanted, stored, strict=True):
            if value != there:
                return f"{name} is {value}, stored {there}"
    return None


def _other_versions(rows: Sequence[Row]) -> str | None:
    here = versions()
    there = available()
    for row in rows:
        if row.code != code():
            return "the code that makes rows has changed"
        if row.kind == "case" and there and row.engine != there[0]:
            return f"engine is {there[0]}, stored {row.engine}"
        deciding = (PACKAGE.get(row.engine, row.engine),) if row.kind == "case" else BASELINES
        for name in deciding:
            if row.versions.get(name) != here.get(name):
                return f"{name} is {here.get(name)}, stored {row.versions.get(name)}"
    return None


def _other_data(run: RunDefinition, own: Sequence[Row], images: Path | None) -> str | None:
    if not run.measured:
        made = made_by(run.data)
        cubes = run.data in (BATTERY16, ROBUSTNESS)  # the size of the others is a part of their version
        for row in own:
            if any(row.versions.get(name) != there for name, there in made.items()):
                return "other simulated volumes"
            if cubes and row.voxels != run.size**3:
                return "other simulated volumes"
        return None if {(row.domain, row.case) for row in own} == _simulated(run) else "other domains"
    manifest = read_manifest(home() / "manifests" / f"{run.data}.toml")
    there = [d.name for d in manifest.domain if any(case.split == "test" for case in d.case)]
    wanted = {
        (domain, located.case.name): case_hash(located)
        for domain in choose(run.domain, there)
        for located in manifest.cases(images, domain, "test")
    }
    return None if {(row.domain, row.case): row.data_hash for row in own} == wanted else "other data"


def _simulated(run: RunDefinition) -> set[tuple[str, str]]:
    """Domains and cases of a simulated data set."""
    if run.data != ROBUSTNESS:
        there = {BATTERY16: tuple(DOMAINS), FIB: fib.DOMAINS, FIB_PAPER: (PAPER,), FIBRE: fibre.DOMAINS}[run.data]
        return {(domain, domain) for domain in choose(run.domain, there)}
    kinds = choose(run.domain, list(KINDS))
    return {(kind, case_name(level, name)) for kind in kinds for level in KINDS[kind].levels for name in PICKED}
