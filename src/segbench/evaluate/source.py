"""What decides the numbers of a row beside model and data, as hashes: rows of another one are computed again.

Counted is what runs between a volume in hand and its row: every module that `evaluate.eval` imports, directly or not,
the engines and networks, which are imported by name, and the degraded scans. A model, files and the simulator have
hashes and a version of their own. Comments, docstrings and layout do not count.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from segbench.zoo.card import Card

PACKAGE = Path(__file__).parent.parent
ROOTS = ("evaluate.eval", "evaluate.robustness", "engines", "nets")
"""Where the search for modules begins; of a package all of its modules."""

APART = frozenset({"data", "zoo", "rows", "errors", "recipe", "resources", "hardware", "io", "evaluate.source"})
"""Not counted: the simulator has a version, a model and files have hashes, the rest changes no number."""


@cache
def code() -> str:
    """sha256 of the code that decides the numbers of a row, the same for every version of Python."""
    digest = hashlib.sha256()
    for name, path in sorted(modules().items()):
        digest.update(f"{name}:{plain(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()


def card_hash(card: Card) -> str:
    """sha256 of a card without what was measured of the model: what was fitted to it counts."""
    text = card.model_dump_json(exclude={"results", "seeds", "seams"}, exclude_defaults=True)
    return hashlib.sha256(text.encode()).hexdigest()


def modules() -> dict[str, Path]:
    """The counted modules by name, without the package's own."""
    found: dict[str, Path] = {}
    todo = list(ROOTS)
    while todo:
        name = todo.pop()
        path = _path(name)
        if path is None or name in found or _apart(name):
            continue
        found[name] = path
        todo += _imported(path)
        if name in ROOTS and path.name == "__init__.py":
            todo += [f"{name}.{beside.stem}" for beside in path.parent.glob("*.py") if beside != path]
    return found


def plain(text: str) -> str:
    """A module's syntax tree without comments, docstrings, places and what is empty."""
    return "".join(_written(ast.parse(text)))


def _written(value: object) -> Iterator[str]:
    if isinstance(value, ast.AST):
        yield f"{type(value).__name__}("
        for key, part in ast.iter_fields(value):
            # what is None or empty is left out: newer versions of Python have more of such fields
            if part is not None and part != []:
                yield f"{key}="
                yield from _written(_code_of(value) if key == "body" and _documented(value) else part)
        yield ")"
    elif isinstance(value, list):
        for part in value:
            yield from _written(part)
            yield ","
    else:
        yield repr(value)


def _documented(node: ast.AST) -> bool:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds)


def _code_of(node: ast.AST) -> list[ast.stmt]:
    """The body without strings that stand alone: docstrings, of names too."""
    body: list[ast.stmt] = getattr(node, "body", [])
    return [line for line in body if not _is_text(line)]


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.removeprefix("segbench.") for name in names if name.startswith("segbench.")]


def _path(name: str) -> Path | None:
    stem = PACKAGE.joinpath(*name.split("."))
    found = [path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()]
    return found[0] if found else None


def _apart(name: str) -> bool:
    return name in APART or name.split(".", maxsplit=1)[0] in APART
