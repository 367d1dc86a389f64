"""TensorRT: engines for the NVIDIA card of this machine, timed on it while they are built."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from segbench.engines.cuda import Cuda
from segbench.engines.plan import AMPERE, Plan
from segbench.errors import EngineError
from segbench.export.plan import Settings, engines, package
from segbench.export.profile import Profile
from segbench.export.targets import Built
from segbench.io import write_bytes
from segbench.recipe import validate
from segbench.zoo import Model

INSTALL = "pip install 'segbench[tensorrt]' on the machine that has the card"
OLDEST = 10


class CardSettings(Settings):
    """The profile's options.

    Attributes:
        version_compatible: Newer versions of TensorRT load the engine, too; slower, and it brings code of its own.
        cards: Which cards run it. "this" is the fastest.
        level: How long the builder looks for faster kernels, 0 to 5; TensorRT's own default where it is not said.
        timing_cache: Whether measured times are kept beside the artifact, so that the next build is quicker and
            chooses the same kernels.
    """

    version_compatible: bool = False
    cards: Literal["this", "same-capability", "ampere-and-newer"] = "this"
    level: int | None = Field(default=None, ge=0, le=5)
    timing_cache: bool = True


def build(model: Model, profile: Profile, precision: str, folder: Path) -> Built:
    """See `Build`."""
    settings = validate(profile.options, CardSettings, f"profile {profile.target!r}: options")
    trt = package("tensorrt", INSTALL)
    version = str(trt.__version__)
    if int(version.split(".", maxsplit=1)[0]) < OLDEST:
        raise EngineError(f"TensorRT {version} is too old: {OLDEST}.0 or newer; {INSTALL}")
    card = Cuda().card
    if settings.cards == "ampere-and-newer" and card.capability < AMPERE:
        raise EngineError(f'{card.name} is older than Ampere: cards = "this" or "same-capability" in the profile')
    cache = Timings(folder.parent / _cache_name(version, card.name)) if settings.timing_cache else None

    def configure(config: Any) -> None:  # noqa: ANN401
        _configure(trt, config, settings)
        if cache:
            cache.lend(config)

    about = Plan(
        runtime="tensorrt",
        version=version,
        newer_too=settings.version_compatible,
        cards=settings.cards,
        card=card.name,
        capability=card.capability,
        shapes={},
    )
    parts = engines(trt, model, precision, settings, folder, about, configure)
    if cache:
        cache.keep()
    return Built(parts, {"tensorrt": version}, about.fits)


class Timings:
    """Measured times of kernels, in a file that outlives a build."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._bytes = file.read_bytes() if file.is_file() else b""
        self._config: Any = None

    def lend(self, config: Any) -> None:  # noqa: ANN401
        """Gives a builder the times that there are; none where they turn out to be another card's or version's."""
        if self._config is not None:
            self._bytes = bytes(self._config.get_timing_cache().serialize())
        cache = config.create_timing_cache(self._bytes)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
        self._config = config

    def keep(self) -> None:
        """Writes what was measured, for the next build."""
        write_bytes(self._file, bytes(self._config.get_timing_cache().serialize()))


def _configure(trt: Any, config: Any, settings: CardSettings) -> None:  # noqa: ANN401
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    levels = trt.HardwareCompatibilityLevel
    if settings.cards == "ampere-and-newer":
        config.hardware_compatibility_level = levels.AMPERE_PLUS
    elif settings.cards == "same-capability":
        config.hardware_compatibility_level = levels.SAME_COMPUTE_CAPABILITY
    if settings.level is not None:
        config.builder_optimization_level = settings.level


def _cache_name(version: str, card: str) -> str:
    return f"tensorrt-{version}-{re.sub(r'[^A-Za-z0-9]+', '-', card)}.timings"
