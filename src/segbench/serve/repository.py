"""What a server may load: models of the zoo, and folders below its roots, links followed first."""

import re
from collections.abc import Iterator
from pathlib import Path

from segbench.errors import InputError, SegbenchError, UnknownNameError
from segbench.recipe import read_toml
from segbench.resources import folder
from segbench.zoo import CARD, names
from segbench.zoo.artifact import MODEL, is_artifact
from segbench.zoo.card import Card

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a client may call a model: nothing that leads anywhere."""


def located(given: str, roots: tuple[Path, ...]) -> str:
    """What `zoo.find` takes for a name or folder that was given, if it may be read.

    Raises:
        UnknownNameError: It is neither a zoo model nor a folder.
        InputError: It, or a file in it, lies outside the roots once links are followed.
    """
    if given in names():
        return given
    for path in (*(root / given for root in roots), Path(given)):
        if path.is_dir():
            if not _below(path, roots):
                raise InputError(f"{given}: models are read from the zoo and below the roots only; give --root")
            return str(path.resolve())
    raise UnknownNameError("model", given, names())


def _below(path: Path, roots: tuple[Path, ...]) -> bool:
    """Whether a folder and all in it lie below a root, links followed."""
    real = [root.resolve() for root in roots]
    try:
        return all(any(each.resolve().is_relative_to(root) for root in real) for each in (path, *path.rglob("*")))
    except (OSError, RuntimeError):  # it cannot be read, or is a link to itself
        return False


def newer(version: str) -> list[tuple[int, str]]:
    """Sorts versions by their numbers: 0.10 is newer than 0.9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.\-+]", version)]


def repository(roots: tuple[Path, ...]) -> Iterator[tuple[str, Card]]:
    """What can be loaded by name, and its card: the zoo, and folders right below a root."""
    for name in names():
        yield from _card(name, folder("model_zoo") / name)
    for root in roots:
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            if NAME.fullmatch(path.name) and path.is_dir() and _below(path, roots):
                yield from _card(str(path.resolve()), path / MODEL if is_artifact(path) else path)


def _card(where: str, path: Path) -> Iterator[tuple[str, Card]]:
    """Nothing where there is no card, or one that cannot be read: others are listed all the same."""
    try:
        if (path / CARD).is_file():
            yield where, read_toml(path / CARD, Card)
    except (SegbenchError, OSError):
        return
