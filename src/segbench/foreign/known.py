"""What a model's training scans look like, and how far from them another one is; a small file beside the card.

Four distances, each in units of what 99 % of the training scans stay within, are put together as the root of the sum of
their squares:
- `grey`: of the descriptors of the grey values (`descriptors.NAMES`);
- `features`: of what the network's bottleneck makes of the windows (`encoder`);
- `structure`: how much less form there is than usual, down to noise;
- `bulge`: how much less the bright side bulges than usual, down to where the dark one does.
The score is the share of the training scans that are nearer. Without a runtime for the graph it is that of the other
three.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.foreign import cloud
from segbench.foreign.cloud import Cloud
from segbench.foreign.descriptors import BULGE, NAMES, structure
from segbench.zoo.reference import Array, read_arrays, write_arrays

Float64 = npt.NDArray[np.float64]

PARTS = ("grey", "features", "structure", "bulge")
GREY, FEATURES = PARTS[:2]
AXES = 16
LOW = 2.0  # percentile that says how far training scans reach down in a one-sided part
UNIT = 0.99  # share of the training scans within one unit of a part
_TABLES = ("lows", "units", "all", "without", "tiles", "tiles_without")
_CLOUD = ("median", "below", "above", "axes", "variances")


@dataclass(frozen=True, eq=False)
class Known:
    """Fitted to N training scans and M tiles of them.

    Attributes:
        grey: Of the descriptors of grey values.
        features: Of the bottleneck; None for a model without a place to take it.
        lows: Of structure and bulge: median, and deviation below it [2, 2].
        units: Of `PARTS` [4]; 1 where there is no such part.
        all: Distances of the training scans in all parts, rising [N].
        without: The same without features [N].
        tiles: Distances of tiles, parts of scans that were normalised as a whole, rising [M].
        tiles_without: The same without features [M].
    """

    grey: Cloud
    features: Cloud | None
    lows: Float64
    units: Float64
    all: Float64
    without: Float64
    tiles: Float64
    tiles_without: Float64

    def parts(self, described: Float64, features: Float64 | None) -> dict[str, Float64]:
        """Distances of scans by part, each in its unit.

        Args:
            described: Of grey values [N, len(NAMES)].
            features: Of the bottleneck [N, channels]; None where they were not computed.
        """
        down = (self.lows[0] - np.stack([structure(described), described[:, BULGE]], axis=1)) / self.lows[1]
        found = {
            "grey": self.grey(described),
            "structure": np.maximum(down[:, 0], 0),
            "bulge": np.maximum(down[:, 1], 0),
        }
        if features is not None and self.features is not None:
            found["features"] = self.features(features)
        return {name: found[name] / unit for name, unit in zip(PARTS, self.units, strict=True) if name in found}

    def score(self, parts: dict[str, Float64], *, tile: bool = False) -> Float64:
        """Shares of the training scans, or tiles, that are nearer than scans, or tiles, with these parts [N].

        Beyond the farthest of them it goes on rising, towards 1, so that foreign scans can still be told apart.
        """
        full = FEATURES in parts or self.features is None
        seen = (self.tiles if full else self.tiles_without) if tile else self.all if full else self.without
        return share(seen, together(parts))


def together(parts: dict[str, Float64]) -> Float64:
    """One distance of several parts [N]."""
    return np.asarray(np.sqrt(sum(part * part for part in parts.values())))


def share(scans: Float64, distances: Float64) -> Float64:
    """The share of N rising `scans` below each distance, interpolated, less than 1 (ranks over N + 1)."""
    count = len(scans)
    ranks = np.arange(1, count + 1) / (count + 1)
    within = np.interp(distances, np.concatenate([[0.0], scans]), np.concatenate([[0.0], ranks]))
    beyond = 1 - scans[-1] / np.maximum(distances, scans[-1]) / (count + 1)
    return np.asarray(np.where(distances > scans[-1], beyond, within))


def fit(described: Float64, features: Float64 | None, tile: npt.NDArray[np.bool_]) -> Known:
    """Fits to training scans, and knows their tiles.

    Args:
        described: Of grey values [N + M, len(NAMES)].
        features: Of the bottleneck [N + M, channels], if it is looked at.
        tile: Which of them are tiles [N + M]; nothing but their distances is taken from these.
    """
    everything, (described, features) = (described, features), _only(~tile, described, features)
    grey = cloud.fit(described, len(NAMES))
    deep = None if features is None else cloud.fit(features, min(AXES, features.shape[1]))
    down = np.stack([structure(described), described[:, BULGE]], axis=1)
    low, median = np.percentile(down, [LOW, 50], axis=0)
    lows = np.stack([median, np.maximum(median - low, 1e-6)])
    none = np.empty(0)
    raw = Known(grey, deep, lows, np.ones(len(PARTS)), none, none, none, none)
    parts = raw.parts(described, features)
    units = {name: max(float(np.quantile(values, UNIT)), 1e-6) for name, values in parts.items()}
    of_tiles = raw.parts(*_only(tile, *everything))
    units_ = np.array([units.get(name, 1.0) for name in PARTS])
    return Known(grey, deep, lows, units_, *_distances(parts, units), *_distances(of_tiles, units))


def _only(which: npt.NDArray[np.bool_], described: Float64, features: Float64 | None) -> tuple[Float64, Float64 | None]:
    return described[which], None if features is None else features[which]


def _distances(parts: dict[str, Float64], units: dict[str, float]) -> tuple[Float64, Float64]:
    """Rising, with and without features."""
    scaled = {name: values / units[name] for name, values in parts.items()}
    without = {name: values for name, values in scaled.items() if name != FEATURES}
    return np.sort(together(scaled)), np.sort(together(without))


def write(path: Path, known: Known) -> None:
    """Writes it as float32 .npz; the same fit gives the same bytes.

    Raises:
        OutputError: The file cannot be written.
    """
    arrays = {name: getattr(known, name) for name in _TABLES}
    for name, fitted in ((GREY, known.grey), (FEATURES, known.features)):
        if fitted is not None:
            arrays |= {f"{name}_{part}": getattr(fitted, part) for part in _CLOUD}
    write_arrays(path, {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()})


def read(path: Path, features: int) -> Known:
    """Reads what `write` wrote.

    Args:
        path: The file.
        features: Channels of the bottleneck, as the card says; 0 for none.

    Raises:
        InputError: There is no such file, it holds something else, or it is of other descriptors or channels.
    """
    arrays = read_arrays(path, "fit of foreign input")
    try:
        grey = _cloud(arrays, GREY, len(NAMES))
        deep = _cloud(arrays, FEATURES, features) if features or f"{FEATURES}_{_CLOUD[0]}" in arrays else None
        lows, units = _array(arrays, "lows", (2, 2)), _array(arrays, "units", (len(PARTS),), above=0)
        _demand("lows", bool((lows[1] > 0).all()))
        return Known(grey, deep, lows, units, *(_distances_in(arrays, name) for name in _TABLES[2:]))
    except KeyError as error:
        raise InputError(f"{path}: not what segbench zoo foreign writes ({error.args[0]}): fit it again") from error


def _cloud(arrays: Mapping[str, Array], name: str, wide: int) -> Cloud:
    """The cloud of so many descriptors that arrays hold under a name."""
    median, below, above, axes, variances = (f"{name}_{part}" for part in _CLOUD)
    columns = arrays[axes].shape[-1] if arrays[axes].ndim else 0
    return Cloud(
        _array(arrays, median, (wide,)),
        _array(arrays, below, (wide,), above=0),
        _array(arrays, above, (wide,), above=0),
        _array(arrays, axes, (wide, min(columns, wide))),
        _array(arrays, variances, (min(columns, wide) + 1,), above=0),
    )


def _distances_in(arrays: Mapping[str, Array], name: str) -> Float64:
    """A table of distances: at least one, none negative, none falling."""
    found = _array(arrays, name, (max(arrays[name].size, 1),))
    _demand(name, found[0] >= 0 and found[-1] > 0 and bool((np.diff(found) >= 0).all()))
    return found


def _array(arrays: Mapping[str, Array], name: str, shape: tuple[int, ...], above: float = -np.inf) -> Float64:
    """The array of that name as float64, of this shape, its numbers finite and above a limit."""
    found = arrays[name]
    if found.dtype.kind != "f" or found.shape != shape:
        raise KeyError(f"{name} is {found.dtype} {found.shape}, not numbers {shape}")
    _demand(name, bool((np.isfinite(found) & (found > above)).all()))
    return found.astype(np.float64)


def _demand(name: str, good: bool) -> None:
    if not good:
        raise KeyError(f"{name} holds what no fit gives")
