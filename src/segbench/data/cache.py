"""Simulated cases on disk: one hash-checked file per domain, written atomically, never unpickled."""

from __future__ import annotations

import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from segbench.data.case import Case, array_hash
from segbench.errors import OutputError

NOTES = logging.getLogger(__name__)


def home(root: str | os.PathLike[str] | None = None) -> Path:
    """Where what is made is kept: `root`, else $SEGBENCH_CACHE, else the user's cache folder."""
    return Path(root or os.environ.get("SEGBENCH_CACHE") or platformdirs.user_cache_dir("segbench"))


def folder(version: int, size: int, seed: int, root: str | os.PathLike[str] | None = None) -> Path:
    """Folder of one (size, seed) of battery16, below `home`."""
    return home(root) / "battery16" / f"{version}-{size}-{seed}"


def read(path: Path) -> Case | None:
    """The case in a file; None where there is none or where it is damaged, which is noted."""
    arrays = read_arrays(path, ("image", "truth", "label"))
    return None if arrays is None else Case(path.stem, **arrays)


def write(path: Path, case: Case) -> None:
    """Write a case so that the file is whole or not there."""
    write_arrays(path, {"image": case.image, "truth": case.truth, "label": case.label})


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
    """The arrays of these names in a file; None where there is none or where it is damaged, which is noted."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names}
            if array_hash(arrays.values()) == str(stored["sha256"]):
                return arrays
        reason = "its sha256 does not fit"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error) or type(error).__name__
    NOTES.warning("%s is damaged (%s) and is made again", path, reason)
    return None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name so that the file is whole or not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                np.savez(stream, sha256=np.array(array_hash(arrays.values())), **arrays)  # type: ignore[arg-type]
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; set SEGBENCH_CACHE to a folder with room"
        ) from error
