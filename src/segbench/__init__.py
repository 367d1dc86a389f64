"""Segment battery-electrode CT with per-voxel uncertainty: train, export, serve and evaluate.

import segbench
prediction = segbench.load("vnet-battery").predict("scan.tif", samples=16, seed=0)
prediction.labels, prediction.probability, prediction.entropy      # arrays (Z, Y, X)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from segbench.io import Raw
    from segbench.predict import Predictor
    from segbench.volume import Volume

__version__ = "0.1.0"


def load(
    name: str,
    engine: str = "auto",
    precision: str = "f32",
    threads: int | None = None,
    *,
    device: str = "cpu",
    thin: bool | None = None,
    unverified: bool = False,
) -> "Predictor":
    """A zoo model, or the model in a folder or artifact, ready to predict; see `engines.start` for the arguments.

    Raises:
        InputError: There is no such model, or its files are not those that its card pins.
        EngineError: The engine is missing or refuses, or the artifact was not verified here.
    """
    from segbench.cascade import cascade_of
    from segbench.engines import start
    from segbench.foreign import look_of
    from segbench.predict import Predictor
    from segbench.zoo import find

    model = find(name)
    started = start(model, engine, precision, threads, device=device, thin=thin, unverified=unverified)
    return Predictor(model.card, started, look_of(model, started), cascade_of(model, started))


def open_volume(
    path: "str | Path",
    voxel_um: float | tuple[float, float, float] | None = None,
    *,
    raw: "Raw | Mapping[str, object] | None" = None,
    allow_missing_chunks: bool = False,
) -> "Volume":
    """An image as a lazy volume (Z, Y, X), in any format of docs/formats.md; see `io.open_volume` for the arguments.

    Raises:
        InputError: One line: what is wrong with the file.
    """
    from segbench import io

    return io.open_volume(path, voxel_um, raw=raw, allow_missing_chunks=allow_missing_chunks)


def as_volume(array: "Any", voxel_um: float | tuple[float, float, float] | None = None) -> "Volume":  # noqa: ANN401
    """A NumPy, dask or zarr array (Z, Y, X) as a volume, as lazy as it is.

    Raises:
        InputError: One line: why it is none.
    """
    from segbench import io

    return io.as_volume(array, voxel_um)
