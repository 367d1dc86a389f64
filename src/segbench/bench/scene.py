"""What is benchmarked: the request, proved before anything runs, and what all contenders share."""

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from segbench.bench.row import Kind
from segbench.engines import Engine, start
from segbench.engines.graph import GraphEngine
from segbench.errors import EngineError, InputError, UnknownNameError
from segbench.io import check_output_folder
from segbench.normalisation import fit
from segbench.predict import sample_masks, tiles
from segbench.recipe import Strict
from segbench.tiling import Grid
from segbench.volume import Float32, Volume
from segbench.zoo import find

Key = tuple[Kind, str]
"""A contender: its kind and its precision."""

AGAINST = ("monai", "onnxruntime")
SMALLEST, LARGEST = 16, 1024  # voxels of an edge; the largest takes 40 GB
PERIOD = 24.0  # voxels of the synthetic structure
REFERENCE = "f32"  # of the peers that have nothing else, and of the reference that is agreed with


class Request(Strict):
    """What to benchmark; the options of `segbench bench`."""

    zoo: str = "vnet-battery"
    samples: int = 16
    seed: int = 0
    size: int = 160
    repeats: int = 5
    threads: int | None = None
    engine: str = "auto"
    precisions: tuple[str, ...] = (REFERENCE,)
    against: tuple[str, ...] = ()
    out: Path | None = None


class Scene:
    """One model, one synthetic volume, one set of masks; engines start once, whoever asks for them.

    Raises:
        InputError: Any part of the request cannot be used.
        EngineError: An engine or a package is missing, or refuses.
        OutputError: The folder cannot be written.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        _check(request)
        self.model = find(request.zoo)
        card = self.model.card
        if card.cascade is not None or card.mean != "probability":
            raise InputError(
                f"model {card.name!r} is not the mean of its samples' probabilities, which is what peers take: "
                "it has no bench; docs/cascade.py times one of two networks"
            )
        if not card.dropout and request.samples:
            raise InputError(f"model {card.name!r} has no dropout and no samples: time one pass of it with --samples 0")
        if request.size < max(card.input.multiple):
            raise InputError(f"size is {request.size}; model {card.name!r} needs at least {max(card.input.multiple)}")
        self.masks: Float32 = sample_masks(card, request.samples, request.seed)
        self._engines: dict[tuple[str, str, bool | None], Engine] = {}
        for precision in request.precisions:
            self.engine(precision)
        if "onnxruntime" in request.against:
            self.engine(REFERENCE, False, "onnxruntime")
        if request.out is not None:
            check_output_folder(request.out)

    def engine(self, precision: str, thin: bool | None = None, name: str | None = None) -> Engine:
        """An engine of that precision, the one that was asked for unless it is named; thin where it can be."""
        key = (name or self.request.engine, precision, thin)
        if key not in self._engines:
            started = start(self.model, key[0], precision, self.request.threads, thin=thin)
            if started.name == "fake":
                raise EngineError("engine 'fake' computes nothing that could be timed; name another")
            self._engines[key] = started
        return self._engines[key]

    @property
    def keys(self) -> tuple[Key, ...]:
        """The contenders."""
        found: list[Key] = []
        for precision in self.request.precisions:
            found.append(("segbench", precision))
            if self.request.samples:  # else the engine alone computes one dense pass
                found.append(("engine", precision))
            found.append(("dense", precision))
            if isinstance(self.engine(precision), GraphEngine):
                found.append(("peak", precision))
        if "monai" in self.request.against:
            found.append(("monai-torch", REFERENCE))
            found += [("monai-engine", precision) for precision in self.request.precisions]
        if "onnxruntime" in self.request.against:
            found.append(("onnxruntime", REFERENCE))
        return tuple(found)

    @cached_property
    def volume(self) -> Volume:
        """Grey values (Z, Y, X); see `synthetic`."""
        return Volume(synthetic(self.request.size), source="synthetic volume")

    @cached_property
    def image(self) -> Float32:
        """The whole volume as the network expects it, for those who do not normalise."""
        return fit(self.model.card.input.normalisation, self.volume)(np.asarray(self.volume.data))

    @cached_property
    def grid(self) -> Grid:
        """The model's tiles."""
        return tiles(self.model.card, self.volume.shape)


def _check(request: Request) -> None:
    if request.repeats < 1:
        raise InputError(f"repeats is {request.repeats}; it must be at least 1")
    if not SMALLEST <= request.size <= LARGEST:
        raise InputError(f"size is {request.size}; it must be from {SMALLEST} to {LARGEST}")
    if not request.precisions:
        raise InputError("no precision is named, such as f32")
    for listed in (request.precisions, request.against):
        if len(set(listed)) < len(listed):
            raise InputError(f"{','.join(listed)} names something twice")
    for name in request.against:
        if name not in AGAINST:
            raise UnknownNameError("contender", name, AGAINST)
    if "monai" in request.against and not all(find_spec(name) for name in ("monai", "torch", "safetensors")):
        raise EngineError("--against monai needs MONAI and PyTorch: pip install 'segbench[bench]'")


def synthetic(size: int) -> Float32:
    """A gyroid with noise (size, size, size), the same for every call: two phases that wind through each other.

    It stands in for a scan because the time that a network takes does not depend on what it sees.
    """
    angle = np.arange(size, dtype=np.float32) * np.float32(2 * np.pi / PERIOD)
    z, y, x = angle[:, None, None], angle[None, :, None], angle[None, None, :]
    values = np.sin(z) * np.cos(y) + np.sin(y) * np.cos(x) + np.sin(x) * np.cos(z)
    values += 0.3 * np.random.default_rng(size).standard_normal(values.shape, dtype=np.float32)
    return np.asarray(values, dtype=np.float32)
