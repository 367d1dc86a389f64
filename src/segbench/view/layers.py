"""What a page carries: each layer as one byte a voxel, at the finest resolution that is small enough."""

import base64
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.view.result import MAPS, Level, Result, Shape
from segbench.volume import Float32, UInt8

PAGE_BYTES = 30_000_000  # of all layers, as text
HELD_BYTES = 120_000_000  # of all layers, as a browser holds them
LAYERS = 2 + len(MAPS)  # grey and labels, too; and one of what was doubted, where a model has a second network
GREY_BYTES = 1.1  # what noise takes a voxel, as text
TITLES = {"grey": "grey value", "probability": "probability", "entropy": "entropy",
          "mutual_information": "mutual information", "labels": "label", "doubted": "second network"}  # fmt: skip
# Grey values beyond these percentiles are shown as them: a hot pixel does not set the contrast.
WINDOW = (0.1, 99.9)


@dataclass(frozen=True)
class Layer:
    """One byte a voxel: v stands for `low` + v / 255 * (`high` - `low`).

    Attributes:
        name: As in `TITLES`.
        shape: Voxels along (Z, Y, X).
        packed: The bytes, deflated, in base64.
        low: What 0 stands for.
        high: What 255 stands for.
        unit: Of both, or empty.
    """

    name: str
    shape: Shape
    packed: str
    low: float = 0.0
    high: float = 255.0
    unit: str = ""


def carried(result: Result, edge: int, *, grey: bool) -> tuple[Level, list[Layer]]:
    """The finest level that a page can carry, with labels and maps of it.

    Args:
        result: What to show.
        edge: Voxels that its longest edge may have.
        grey: Whether the scan will be carried too.

    Raises:
        InputError: Even the coarsest level is too large; or the result is damaged.
    """
    fitting = [
        level
        for level in result.levels
        if max(level.shape) <= edge and level.voxels * (LAYERS + result.doubts) <= HELD_BYTES
    ]  # fmt: skip
    if not fitting:
        shape = " x ".join(map(str, result.levels[-1].shape))
        small = max(result.levels[-1].shape) <= edge
        advice = "predict the scan again" if small else f"give --edge {max(result.levels[-1].shape)}"
        raise InputError(f"{result.folder}: its coarsest resolution, {shape} voxels, is too large for a page: {advice}")
    for level in fitting:
        layers = [_labels(result, level), *(_map(result, level, name) for name in MAPS)]
        if result.doubts:
            layers.append(_layer("doubted", 255 * result.read_doubted(level), 0.0, 1.0))
        text = sum(len(layer.packed) for layer in layers) + (GREY_BYTES * level.voxels if grey else 0)
        if text <= PAGE_BYTES or level is fitting[-1]:
            break
    return level, layers


def grey_layer(image: Float32) -> Layer:
    """The scan, (Z, Y, X)."""
    finite = image[np.isfinite(image)]
    low, high = (float(v) for v in np.percentile(finite, WINDOW)) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1
    share = (np.nan_to_num(image, nan=low, posinf=high, neginf=low) - low) / (high - low)
    return _layer("grey", np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8), low, high)


def _labels(result: Result, level: Level) -> Layer:
    return _layer("labels", result.read_labels(level))


def _map(result: Result, level: Level, name: str) -> Layer:
    """Probability from 0 to 1; entropy from 0 to that of a coin, or of a die with a face a class; else to its largest.

    So the colours of entropy mean the same on every page.
    """
    values = result.read_map(name, level)
    largest = int(values.max())
    unit = result.about.unit
    if name == "probability":
        top = round(1 / unit)
    elif name == "entropy":
        top = max(largest, round(math.log(max(2, len(result.about.classes))) / unit))
    else:
        top = max(largest, 1)
    share = (values.astype(np.uint32) * 510 + top) // (2 * top)  # rounded to the nearest of 255
    return _layer(
        name, np.minimum(share, 255).astype(np.uint8), 0.0, top * unit, "" if name == "probability" else "nat"
    )


def _layer(name: str, values: UInt8, low: float = 0.0, high: float = 255.0, unit: str = "") -> Layer:
    z, y, x = values.shape
    return Layer(name, (z, y, x), _packed(values), low, high, unit)


def _packed(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).data, 6)).decode()
