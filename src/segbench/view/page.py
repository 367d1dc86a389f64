"""The page: one HTML file with its layers inside. No text of a result becomes markup or code."""

import html
from collections.abc import Sequence
from typing import Any

from segbench.document import MOST, base_style, fill, inside_script, policy, resource, short
from segbench.document.colours import INFERNO, VIRIDIS
from segbench.io.message import printable
from segbench.view.layers import TITLES, Layer
from segbench.view.result import Level, Result

PACKAGE = "segbench.view"


def page(result: Result, level: Level, layers: Sequence[Layer], warnings: Sequence[str]) -> str:
    """The whole file as text.

    Args:
        result: What is shown.
        level: The resolution that is carried.
        layers: Of that level.
        warnings: What the reader must know before looking, a sentence each.
    """
    script, style = resource(PACKAGE, "page.js"), base_style() + resource(PACKAGE, "page.css")
    data = "\n".join(f'<script type="text/plain" id="layer-{layer.name}">{layer.packed}</script>' for layer in layers)
    parts = {
        "title": html.escape(f"{printable(result.folder.name)} - segbench"),
        "policy": policy(script, style),
        "style": style,
        "script": script,
        "about": inside_script(_about(result, level, layers, warnings)),
        "layers": data,
    }
    return fill(resource(PACKAGE, "page.html"), parts)


def resolution(level: Level) -> str:
    """Such as "1/4 resolution", or "full resolution"."""
    if level.factor == (1, 1, 1):
        return "full resolution"
    halved = {f for f, length in zip(level.factor, level.shape, strict=True) if f > 1 or length > 1}
    if len(halved) == 1:
        return f"1/{halved.pop()} resolution"
    return ", ".join(f"1/{f}" for f in level.factor) + " resolution along z, y, x"


def _about(result: Result, level: Level, layers: Sequence[Layer], warnings: Sequence[str]) -> dict[str, Any]:
    said = result.about
    values = sorted({*range(len(said.classes)), *said.colours})
    return {
        "name": printable(result.folder.name),
        "facts": [[name, short(text)] for name, text in _facts(result, level)],
        "warnings": [short(text, 3 * MOST) for text in (*warnings, *said.warnings)],
        "shape": level.shape,
        "full": result.levels[0].shape,
        "factor": level.factor,
        "voxel_um": result.voxel_um,
        "layers": {
            layer.name: {"title": TITLES[layer.name], "low": layer.low, "high": layer.high, "unit": layer.unit}
            for layer in layers
        },
        "classes": [{"value": v, "name": short(said.name(v)), "rgba": said.colour(v)} for v in values],
        "ramps": {"probability": VIRIDIS, "other": INFERNO},
        "colours": [said.colour(v) for v in range(256)],
        "of": {0: "", 1: "", 2: short(said.name(1))}.get(len(said.classes), "the label's class"),
        "shares": [
            {"name": short(share.name), "mean": share.mean, "low": share.low, "high": share.high}
            for share in said.shares
        ],
    }


def _facts(result: Result, level: Level) -> list[tuple[str, str]]:
    said, voxel = result.about, result.voxel_um
    known = {
        "model": " ".join(part for part in (said.model, said.model_version) if part),
        "samples": "" if said.samples is None else str(said.samples),
        "seed": "" if said.seed is None else str(said.seed),
        "segbench": said.version or "",
        "scan": printable(said.source or ""),
        "voxels (z, y, x)": " x ".join(map(str, result.levels[0].shape)),
        "voxel size": "unknown" if voxel is None else _edges(voxel),
        "shown at": resolution(level),
    }
    return [(name, text) for name, text in known.items() if text]


def _edges(voxel_um: tuple[float, float, float]) -> str:
    edges = [f"{edge:.4g}" for edge in voxel_um]
    return (edges[0] if len(set(edges)) == 1 else " x ".join(edges)) + " µm"
