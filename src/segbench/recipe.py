"""Files that a person writes: TOML read into frozen models in which an unknown key is an error."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from segbench.errors import InputError

T = TypeVar("T", bound="Strict")


class Strict(BaseModel):
    """A frozen record without room for misspelt keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


def read_toml(path: Path, kind: type[T]) -> T:
    """Reads `path` as `kind`.

    Raises:
        InputError: One line that names the file, the key and what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML ({error})") from error
    return validate(raw, kind, str(path))


def validate(raw: object, kind: type[T], where: str) -> T:
    """Checks `raw` against `kind`; `where` opens the message of what is wrong."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        # a misspelt key is also a missing one: name what was written, not what was not
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        key = ".".join(_keys(first["loc"], raw)) or "top level"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        said = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise InputError(f"{where}: {key}: {said}{more}") from error


def _keys(place: tuple[int | str, ...], raw: object) -> Iterator[str]:
    """The keys that lead to `place` in what was written: pydantic names the kind of a record among them."""
    for number, part in enumerate(place):
        inside = part in (raw if isinstance(raw, dict) else range(len(raw)) if isinstance(raw, list) else ())
        if inside or number == len(place) - 1:
            yield str(part)
        if inside:
            raw = raw[part]  # type: ignore[index]


def read_json(path: Path, kind: type[T]) -> T:
    """Reads the JSON file `path` as `kind`; the same errors as `read_toml`."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    except RecursionError as error:
        raise InputError(f"{path}: not JSON (nested too deep)") from error
    return validate(raw, kind, str(path))
