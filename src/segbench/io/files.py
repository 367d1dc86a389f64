"""Which files a path means, and their hash: one file, a folder of slices or a pattern of slices."""

import hashlib
import re
import stat
from collections import Counter
from glob import glob, has_magic
from pathlib import Path

from segbench.errors import InputError
from segbench.io.companions import companions
from segbench.io.kinds import KINDS
from segbench.io.location import locate

TIFF, PNG = KINDS["tiff"].suffixes, KINDS["png"].suffixes
# Files that make a folder a zarr array or group.
ZARR = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
# Numbers of missing slices that a message names.
SHOWN = 5


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


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    try:
        return any((folder / name).is_file() for name in ZARR)
    except (OSError, ValueError):  # opening it says what is wrong
        return False


def natural_key(name: str) -> tuple[tuple[str, int, str], ...]:
    """Sorts `slice_2` before `slice_10`."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    return tuple((text.lower(), int(digits or -1), digits) for text, digits in parts)


def files_of(path: str | Path) -> list[Path]:
    """Every file that an image consists of, in an order of its own: one, slices, those of a zarr folder.

    A header with its voxels in another file counts both, RAW also the page that describes it.

    Raises:
        InputError: It cannot be read, is behind a URL, or is no image.
    """
    location = locate(path)
    if location.remote:
        raise InputError(f"{path}: what is behind a URL has no hash here: copy it first")
    if is_zarr(location.path):
        inside = [file for file in location.path.rglob("*") if file.is_file()]
        return sorted(inside, key=lambda file: file.relative_to(location.path).as_posix())
    slices = slices_of(location.path)
    if slices is not None:
        return slices
    return [location.path, *companions(location.path)]


def file_sha256(path: str | Path) -> str:
    """SHA-256 in hexadecimal of a file; of an image of several files over all of them.

    For several it is the hash of the lines `name <NUL> sha256-of-the-content <LF>` in the order of `files_of`; the
    name is the file's alone, or its path in a zarr folder, so that an image may be moved.
    """
    location = locate(path)
    files = files_of(path)
    if files == [location.path]:
        return _digest(location.path)
    folder = location.path if is_zarr(location.path) else None
    names = [file.name if folder is None else file.relative_to(folder).as_posix() for file in files]
    lines = (f"{name}\0{_digest(file)}\n" for name, file in zip(names, files, strict=True))
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
    if len(files) < 2 or len({len(row) for row in numbers}) != 1:
        return
    columns = [[int(n) for n in column] for column in zip(*numbers, strict=True)]
    varying = [column for column in columns if len(set(column)) > 1]
    if len(varying) != 1:
        return
    steps = [b - a for a, b in zip(varying[0], varying[0][1:], strict=False)]
    counts = Counter(steps)
    # two slices do not tell a step of their own; of equally frequent steps the smaller one is the usual
    usual = 1 if len(steps) == 1 else min(counts, key=lambda step: (-counts[step], step))
    for step, number, before, after in zip(steps, varying[0], files, files[1:], strict=False):
        if step == usual:
            continue
        if step > usual > 0 and step % usual == 0:
            gone = [str(number + n * usual) for n in range(1, min(step // usual, SHOWN + 1))]
            more = ", ..." if step // usual - 1 > SHOWN else ""
            raise InputError(
                f"{path}: slice {', '.join(gone)}{more} is missing, {after.name} follows {before.name}: copy it again"
            )
        raise InputError(
            f"{path}: slices are missing or double: {after.name} follows {before.name}, elsewhere the step is {usual}"
        )
