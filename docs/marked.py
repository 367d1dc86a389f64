"""A page's block that a program writes: what lies between `<!-- table -->` and `<!-- /table -->`."""

from collections.abc import Sequence
from pathlib import Path

from segbench.io import write_bytes


def between(text: str, lines: Sequence[str], mark: str = "table") -> str:
    """The page `text` with these lines, and an empty one around them, between its marks.

    Raises:
        ValueError: The page has no such marks.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page lacks {begin} or {end}")
    return "\n".join([before + begin, "", *lines, "", end + after])


def write(page: Path, lines: Sequence[str], mark: str = "table", *, check: bool = False) -> int:
    """Writes a page's block; with `check` nothing is written, and 1 says that the page says otherwise."""
    text = page.read_text(encoding="utf-8")
    made = between(text, lines, mark)
    if check:
        return int(made != text)
    write_bytes(page, made)
    return 0
