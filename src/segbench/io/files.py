"""Which files a path means, and their hash: one file, a folder of slices or a pattern of slices."""

import hashlib
import re
import stat
from collections import Counter
from glob import glob, has_magic
from pathlib import Path

from segbench.errors import InputError

TIFF = (".tif", ".tiff", ".btf", ".tf8")
PNG = (".png",)
NPY = (".npy",)


def slices_of(path: Path) -> list[Path] | None:
    """The slices, in natural order, that a folder or pattern means; None where `path` is one file.

    Hidden files are left out. The slices are of one kind, TIFF or PNG, and their numbers have no gap.

    Raises:
        InputError: Nothing is there, it cannot be read, kinds are mixed, or a slice is missing.
    """
    if has_magic(str(path)) and not path.exists():
        found = [
            Path(name)
            for name in glob(str(path))  # noqa: PTH207 - patterns may be absolute
            if not Path(name).is_dir()
        ]
        if not found:
            raise InputError(f"{path}: no file matches this pattern: check the folder and the pattern")
        wanted = found
    elif not is_folder(path):
        return None
    else:
        try:
            wanted = [file for file in path.iterdir() if not file.name.startswith(".")]
        except OSError as error:
            raise InputError(f"{path}: this folder cannot be read ({error.strerror})") from error
    kinds = {kind: [f for f in wanted if f.suffix.lower() in kind] for kind in (TIFF, PNG)}
    if all(kinds.values()):
        raise InputError(f"{path}: holds both TIFF and PNG files: give a pattern such as '{path}/*.tif'")
    found = next((files for files in kinds.values() if files), [])
    if not found:
        raise InputError(f"{path}: holds no TIFF slices (.tif, .tiff): give the folder that holds them")
    found.sort(key=lambda file: natural_key(file.name))
    _check_consecutive(path, found)
    return found


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder and not a regular file.

    Raises:
        InputError: It is neither, is missing or may not be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file or folder: check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        # a pipe would block for ever
        raise InputError(f"{path}: neither a file nor a folder: give an image file")
    return stat.S_ISDIR(mode)


def natural_key(name: str) -> tuple[tuple[str, int, str], ...]:
    """Sorts `slice_2` before `slice_10`."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    return tuple((text.lower(), int(digits or -1), digits) for text, digits in parts)


def file_sha256(path: str | Path) -> str:
    """SHA-256 in hexadecimal of a file; of a folder or pattern over its slices.

    For slices it is the hash of the lines `name <NUL> sha256-of-the-content <LF>` in natural order; the name
    is the file's alone, so that a stack may be moved.
    """
    path = Path(path)
    slices = slices_of(path)
    if slices is None:
        return _digest(path)
    lines = (f"{file.name}\0{_digest(file)}\n" for file in slices)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error


def _check_consecutive(path: Path, files: list[Path]) -> None:
    """Refuses a gap, where the names differ in one number alone; other names cannot tell."""
    numbers = [re.findall(r"[0-9]+", file.stem) for file in files]
    if len(files) < 3 or len({len(row) for row in numbers}) != 1:
        return
    columns = [[int(n) for n in column] for column in zip(*numbers, strict=True)]
    varying = [column for column in columns if len(set(column)) > 1]
    if len(varying) != 1:
        return
    steps = [b - a for a, b in zip(varying[0], varying[0][1:], strict=False)]
    usual = Counter(steps).most_common(1)[0][0]
    for step, before, after in zip(steps, files, files[1:], strict=False):
        if step != usual:
            raise InputError(
                f"{path}: slices are missing or double: {after.name} follows {before.name}, "
                f"elsewhere the step is {usual}"
            )
