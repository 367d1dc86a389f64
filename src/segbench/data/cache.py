"""Simulated cases on disk: one hash-checked file per domain, written atomically, never unpickled."""

from __future__ import annotations

import logging
import os
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import platformdirs

from segbench.data.case import Case, data_hash
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
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            case = Case(path.stem, arrays["image"], arrays["truth"], arrays["label"])
            if data_hash(case) == str(arrays["sha256"]):
                return case
        reason = "its sha256 does not fit"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error) or type(error).__name__
    NOTES.warning("%s is damaged (%s) and is made again", path, reason)
    return None


def write(path: Path, case: Case) -> None:
    """Write a case so that the file is whole or not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                digest = np.array(data_hash(case))
                np.savez(stream, image=case.image, truth=case.truth, label=case.label, sha256=digest)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; set SEGBENCH_CACHE to a folder with room"
        ) from error
