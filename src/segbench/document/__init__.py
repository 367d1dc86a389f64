"""HTML files that stand alone: nothing is loaded, no script runs but the page's own, no text becomes markup."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

MOST = 200  # characters of a text that a page shows


def fill(template: str, parts: Mapping[str, str]) -> str:
    """`template` with each {{name}} replaced. In one pass: what is filled in is not searched again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda hole: parts[hole[1]], template)


def policy(script: str, style: str, *, images: bool = False) -> str:
    """A content security policy under which nothing is loaded and no other script or style counts.

    Args:
        script: The page's only script.
        style: The page's only style sheet.
        images: Whether pictures inside the page, data: addresses, are shown.
    """
    shown = "; img-src data:" if images else ""
    return f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'{shown}"


def inside_script(value: Any) -> str:  # noqa: ANN401
    """JSON that can stand inside a <script>: nothing in it ends the element or begins another."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def short(text: str, most: int = MOST) -> str:
    """Its beginning and its end: the end of a path is its name."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def resource(package: str, name: str) -> str:
    """Text of the file `name` beside the modules of `package`."""
    return (files(package) / name).read_text(encoding="utf-8")


def base_style() -> str:
    """Colours in light and dark, and what all pages set."""
    return resource(__name__, "base.css")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
