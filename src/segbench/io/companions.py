"""Files that belong to another one: the voxels that a header names, the page that describes a RAW file."""

from pathlib import Path

from segbench.errors import InputError
from segbench.io.kinds import by_suffix


def companions(path: Path) -> list[Path]:
    """What has to travel with `path`; empty for a file that stands alone.

    Raises:
        InputError: Its header is damaged, or what it names is missing.
    """
    suffix = path.suffix.lower()
    if suffix == ".mhd":
        from segbench.io.metaimage import data_file
    elif suffix == ".nhdr":
        from segbench.io.nrrd import data_file
    else:
        page = sidecar(path)
        return [] if page is None else [page]
    file = data_file(path)
    return [] if file is None else [file]


def sidecar(path: Path) -> Path | None:
    """The page `scan.raw.toml` beside `scan.raw`; of a file whose name tells its kind there is none."""
    page = path.with_name(f"{path.name}.toml")
    return page if by_suffix(path) is None and page.is_file() else None


def beside(header: Path, name: str) -> Path:
    """The file `name` in the folder of `header`.

    A header is a stranger's file: what it names is only looked for beside it, never anywhere else.

    Raises:
        InputError: It names a list, a pattern or another folder, or the file cannot be read.
    """
    name = name.strip()
    if not name or name.upper().startswith("LIST") or name in (".", "..") or any(mark in name for mark in "%/\\\0"):
        raise InputError(f"{header}: its data file {name!r} is not one file beside it: save both in one folder")
    path = header.with_name(name)
    try:
        if path.is_symlink() and path.resolve().parent != header.resolve().parent:
            raise InputError(f"{header}: its data file {name!r} is a link to another folder: put the file there")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: empty file of 0 bytes: copy it again")
        with path.open("rb"):
            return path
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        reason = getattr(error, "strerror", None) or "a loop of links"
        raise InputError(f"{header}: its data file {name!r} cannot be read ({reason}): copy both files") from error
