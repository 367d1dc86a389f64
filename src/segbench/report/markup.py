"""HTML as values: what is not `Markup` is text, and is escaped."""

import html
import math
from collections.abc import Iterable

DASH, MINUS, SPACE = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
KEPT = frozenset({"\n", SPACE})
VOID = frozenset({"img", "input", "br", "col"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | Markup | None
Attribute = str | int | float | bool | None


def element(name: str, *children: Child, **attributes: Attribute) -> Markup:
    """One element.

    Args:
        name: Of the element.
        children: In order; None is left out.
        attributes: `class_` is class, an underscore inside is a hyphen; True is an attribute without value, None and
            False are left out.
    """
    told = "".join(
        f" {_name(key)}{_value(value)}" for key, value in attributes.items() if value is not None and value is not False
    )
    inside = "".join(escape(child) for child in children if child is not None)
    return Markup(f"<{name}{told}>" if name in VOID else f"<{name}{told}>{inside}</{name}>")


def join(children: Iterable[Child], between: str = "") -> Markup:
    """Several children, one after the other."""
    return Markup(escape(between).join(escape(child) for child in children if child is not None))


def escape(text: str) -> str:
    """`text` as it may stand in HTML; marks that nobody sees, or that turn text around, become spaces."""
    if isinstance(text, Markup):
        return text
    return html.escape("".join(mark if mark.isprintable() or mark in KEPT else " " for mark in text))


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A score as text: rounded; "undefined" for NaN, a dash where it was not measured."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return "undefined"
    sign = "+" if signed else ""
    if abs(value) >= 1e5:
        return f"{value:{sign}.3g}".replace("-", MINUS)
    text = f"{value:{sign}.{digits}f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", MINUS)


def percent(value: float, digits: int = 1) -> str:
    """A share in percent."""
    return f"{number(100 * value, digits)} %" if math.isfinite(value) else "undefined"


def count(value: int) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}".replace(",", " ")


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: Attribute) -> str:
    if value is True:
        return ""
    text = value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)
    return f'="{escape(text)}"'
