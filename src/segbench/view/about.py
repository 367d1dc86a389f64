"""What a result says of itself. None of it has to be there, and all of it is a stranger's text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segbench.document.colours import LABELS
from segbench.io.message import printable

LONGEST = 500  # characters of a text that a page shows
UNIT = 1e-4  # of maps, where a result does not say
MOST = 256  # classes; labels are uint8

Colour = tuple[int, int, int, int]


@dataclass(frozen=True)
class Share:
    """How much of the volume one class takes, and from where to where the samples say so: in [0, 1], or None."""

    name: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class About:
    """Where a result came from.

    Attributes:
        source: Path of the scan, as it was written: not fit for a terminal.
        model: Name.
        model_version: Of the model.
        version: Of the segbench that wrote it.
        samples: How many Monte-Carlo samples.
        seed: Of their masks.
        classes: Names; the place is the label's value.
        shares: Of the classes.
        warnings: What speaks against trusting it, a sentence each.
        colours: Red, green, blue and opacity of each label, 0 to 255.
        unit: What the maps are whole numbers of: of 1, or of a nat.
    """

    source: str | None
    model: str | None
    model_version: str | None
    version: str | None
    samples: int | None
    seed: int | None
    classes: tuple[str, ...]
    shares: tuple[Share, ...]
    warnings: tuple[str, ...]
    colours: Mapping[int, Colour]
    unit: float

    def colour(self, value: int) -> Colour:
        """Of the label `value`, which may have none in the file."""
        return self.colours.get(value, (*LABELS[value % len(LABELS)], 255))

    def name(self, value: int) -> str:
        """Of the label `value`, which may have none in the file."""
        return self.classes[value] if value < len(self.classes) else f"class {value}"


def about(said: object, labels: Mapping[str, Any]) -> About:
    """Whatever is usable of it.

    Args:
        said: The attribute "segbench" of a result.
        labels: Attributes of its labels.
    """
    told = said if isinstance(said, dict) else {}
    classes = tuple(_text(name) or f"class {i}" for i, name in enumerate(_list(told.get("classes"))[:MOST]))
    summary = told.get("summary")
    fractions = summary.get("fractions") if isinstance(summary, dict) else None
    return About(
        source=source if isinstance(source := told.get("source"), str) else None,
        model=_text(told.get("model")),
        model_version=_text(told.get("model_version")),
        version=_text(told.get("version")),
        samples=_whole(told.get("samples")),
        seed=_whole(told.get("seed")),
        classes=classes,
        shares=_shares(fractions if isinstance(fractions, dict) else {}),
        warnings=tuple(text for text in map(_text, _list(told.get("warnings"))[:20]) if text),
        colours=_colours(labels),
        unit=unit if (unit := _number(told.get("unit_of_maps"))) and 1e-6 <= unit <= 1 else UNIT,
    )


def _shares(fractions: Mapping[str, Any]) -> tuple[Share, ...]:
    found = []
    for name, value in list(fractions.items())[:MOST]:
        told = value if isinstance(value, dict) else {"mean": value}
        mean = _number(told.get("mean"))
        if mean is not None:
            found.append(Share(printable(name)[:LONGEST], mean, _number(told.get("low")), _number(told.get("high"))))
    return tuple(found)


def _colours(labels: Mapping[str, Any]) -> dict[int, Colour]:
    ome = labels.get("ome")
    image = ome.get("image-label") if isinstance(ome, dict) else None
    found: dict[int, Colour] = {}
    for entry in _list(image.get("colors") if isinstance(image, dict) else None)[:MOST]:
        value = _whole(entry.get("label-value")) if isinstance(entry, dict) else None
        marks = [_whole(mark) for mark in _list(entry.get("rgba"))] if value is not None else []
        if value is not None and len(marks) == 4:
            red, green, blue, alpha = (min(255, max(0, mark or 0)) for mark in marks)
            found[value] = (red, green, blue, alpha)
    return found


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return printable(value)[:LONGEST] or None if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None  # type: ignore[arg-type]
