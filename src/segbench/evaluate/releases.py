"""The store of results that grows by release: `evaluate/releases/NAME-VERSION.json`, each written once and never again.

A release keeps what `segbench compare` needs: the rows of the model without curves and counts at thresholds, those of
repeats with other masks without their blocks too. So the noise of a release is measured once, when it is made.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from segbench.errors import InputError, OutputError, UnknownNameError
from segbench.evaluate.compare_match import Run
from segbench.evaluate.compare_scores import family
from segbench.evaluate.definitions import home
from segbench.evaluate.run import ROWS
from segbench.io import check_output_folder, replacing
from segbench.recipe import Strict, read_json, validate
from segbench.rows import FORMAT as ROWS_FORMAT
from segbench.rows import Row, read_rows
from segbench.zoo import Model

NAMED = re.compile(r"(?P<model>[a-z0-9][a-z0-9-]*)@(?P<version>[A-Za-z0-9][A-Za-z0-9._+-]*)")


class Release(Strict):
    """What was measured of one version of a model.

    Attributes:
        model: Its name.
        version: Of its card.
        model_hash: sha256 of card, weights and graph.
        rows: Of the model, on one data set or several.
        repeats: The same with other masks, run by run.
    """

    format: Literal["segbench release 1"] = "segbench release 1"
    model: str
    version: str
    model_hash: str
    rows: tuple[Row, ...]
    repeats: tuple[tuple[Row, ...], ...] = ()


def store_folder() -> Path:
    """Where releases are kept in a checkout or an installation."""
    return home() / "releases"


def release_names(folder: Path) -> list[str]:
    """Stored releases as NAME@VERSION."""
    found = []
    for path in sorted(folder.glob("*.json")):
        release = read_json(path, Release)
        found.append(f"{release.model}@{release.version}")
    return found


def read_release(name: str, folder: Path) -> Release:
    """The release NAME@VERSION.

    Raises:
        UnknownNameError: It is not stored.
        InputError: Its file is broken, or is that of another one.
    """
    parts = NAMED.fullmatch(name)
    path = folder / f"{parts['model']}-{parts['version']}.json" if parts else None
    if path is None or not path.is_file():
        raise UnknownNameError("release", name, release_names(folder))
    found = read_json(path, Release)
    if f"{found.model}@{found.version}" != name:
        raise InputError(f"{path}: is the release {found.model}@{found.version}, not {name}: the file was renamed")
    return found


def read_run(given: str, folder: Path | None = None) -> Run:
    """What a user named: a run's folder, its rows.json, a release's file, or NAME@VERSION.

    Raises:
        InputError: There is no such thing, or it is broken.
    """
    path = Path(given)
    if not path.exists() and NAMED.fullmatch(given):
        return _of(given, read_release(given, folder or store_folder()))
    if path.is_dir():
        if not (path / ROWS).is_file():
            raise InputError(f"{path}: no {ROWS} in this folder: name one that segbench eval --out wrote")
        path = path / ROWS
    if not path.exists():
        raise InputError(f"{given}: there is no such run: name a folder of segbench eval --out, or NAME@VERSION")
    kind = kind_of(path)
    if kind == Release.model_fields["format"].default:
        return _of(given, read_json(path, Release))
    if kind == ROWS_FORMAT:
        return Run(given, read_rows(path))
    raise InputError(f"{path}: holds no rows of segbench eval (format {kind!r})")


def kind_of(path: Path) -> str:
    """What a JSON file says that it is; "" where it says nothing.

    Raises:
        InputError: It cannot be read, or is not JSON.
    """
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # UnicodeDecodeError too
        raise InputError(f"{path}: not JSON ({error})") from error
    except RecursionError as error:  # would end with exit code 1, which stands for a regression
        raise InputError(f"{path}: not rows (nested too deep)") from error
    return str(raw.get("format", "")) if isinstance(raw, dict) else ""


def make_release(model: Model, runs: Sequence[Run], repeats: Sequence[Run]) -> Release:
    """What is stored of a model.

    Args:
        model: The model as it is released.
        runs: Its evaluations, one for each data set, with the same masks.
        repeats: Further ones with other masks; those of one seed belong together.

    Raises:
        InputError: A run is of another model or without its calibration, or repeats nothing.
    """
    for run in (*runs, *repeats):
        wrong = next((row for row in run.own.values() if row.model_hash != model.hash), None)
        if wrong:
            raise InputError(
                f"{run.name}: not an evaluation of {model.path}: its hash is {(wrong.model_hash or '')[:12]}"
            )
        if not all(row.calibrated for row in run.own.values()):
            raise InputError(f"{run.name}: made with --uncalibrated, which is not the model as it is released")
    whole = Run(", ".join(run.name for run in runs), tuple(row for run in runs for row in run.rows))
    base = tuple(whole.own.values())
    again: dict[int | None, list[Row]] = {}
    for run in repeats:
        for row in run.own.values():
            again.setdefault(row.seed, []).append(row)
    if base[0].seed in again:
        raise InputError(f"--repeat: seed {base[0].seed} is that of --rows: repeat with other seeds")
    if again and any(row.samples != base[0].samples for rows in again.values() for row in rows):
        raise InputError(f"--repeat: not of T = {base[0].samples}, as --rows is")
    if len(again) == 1:
        raise InputError("one --repeat says next to nothing of the noise: give at least two, better eight")
    groups = [tuple(Run(f"--repeat of seed {seed}", tuple(rows)).own.values()) for seed, rows in again.items()]
    card = model.card
    if not NAMED.fullmatch(f"{card.name}@{card.version}"):
        raise InputError(f"{model.path}: the card's version {card.version!r} cannot be the name of a file: write 1.2.3")
    return Release(
        model=card.name, version=card.version, model_hash=model.hash, rows=tuple(compact(row) for row in base),
        repeats=tuple(tuple(compact(row).model_copy(update={"blocks": ()}) for row in rows) for rows in groups),
    )  # fmt: skip


def compact(row: Row) -> Row:
    """A row without what `segbench compare` does not read."""
    kept = {name: value for name, value in row.metrics.items() if family(name)}
    return row.model_copy(update={"curves": {}, "metrics": kept})


def store(release: Release, folder: Path) -> Path:
    """Writes a release under its name; one that is there already stays as it is.

    Raises:
        OutputError: It is there already, or cannot be written.
    """
    check_output_folder(folder)
    path = folder / f"{release.model}-{release.version}.json"
    taken = f"{path}: this release is stored already and is never overwritten: give the model's card a new version"
    if path.exists():
        raise OutputError(taken)
    rows = [[_line(row) for row in run] for run in (release.rows, *release.repeats)]
    head = json.dumps(release.model_dump(mode="json", include={"format", "model", "version", "model_hash"}))[1:-1]
    lists = [" [\n  " + ",\n  ".join(run) + "\n ]" for run in rows]
    text = "{" + head + ',\n "rows":' + lists[0] + ',\n "repeats": [\n' + ",\n".join(lists[1:]) + "\n ]\n}\n"
    validate(json.loads(text), Release, str(path))
    with replacing(path) as temp:
        temp.write_text(text, encoding="utf-8")
        if path.exists():  # another process was quicker
            raise OutputError(taken)
    return path


def _line(row: Row) -> str:
    """A row on one line, NaN as null, so that a release can be read in a diff."""
    return json.dumps(json.loads(row.model_dump_json()), separators=(",", ":"), allow_nan=False)


def _of(name: str, release: Release) -> Run:
    return Run(name, release.rows, release.repeats)
