"""A look at a scan, or at a tile of it: is it of the kind that the model was trained on?"""

from collections.abc import Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt

from segbench.engines import Engine, runtime_for
from segbench.errors import InputError
from segbench.foreign.descriptors import describe
from segbench.foreign.encoder import Encoder, encoder
from segbench.foreign.known import FEATURES, Known, read
from segbench.foreign.windows import core, windows
from segbench.normalisation import Normalised, Scaling
from segbench.recipe import Strict
from segbench.tiling import Tile
from segbench.volume import Float32, Volume
from segbench.zoo import Model

Float64 = npt.NDArray[np.float64]

AGAIN = "fit it again: segbench zoo foreign FOLDER"
WHY = {
    "grey": "its grey values are distributed otherwise",
    "features": "the network's inner features are others",
    "structure": "it has hardly more form than noise",
    "bulge": "the dark side bulges, as if the contrast were inverted",
}


class Foreign(Strict):
    """How foreign a scan is to a model.

    Attributes:
        score: Share of the training scans that are nearer to the usual one; None where too little is there to see.
        threshold: Of the card; a scan above it is warned of.
        parts: Distance in each respect, in units of what 99 % of the training scans stay within.
        places: Windows that were looked at.
        tiles: Of the tiles looked at by themselves, the share above the threshold; None where none could be.
        features: Whether the network's features are part of it; not where no runtime for its graph is installed.
    """

    score: float | None
    threshold: float
    parts: dict[str, float] = {}
    places: int = 0
    tiles: float | None = None
    features: bool = False

    @property
    def above(self) -> bool:
        """Whether it is to be warned of."""
        return self.score is not None and self.score > self.threshold

    def warning(self, source: str, model: str) -> str | None:
        """One sentence for a scan that is unlike the training scans, or None."""
        if not self.above:
            return None
        why = WHY[max(self.parts, key=lambda part: self.parts[part])]
        seen = "grey values and the network's features" if self.features else "grey values"
        return (
            f"{source}: unlike the scans that {model} was trained on, above all because {why} (foreign score "
            f"{self.score:.4f}, above {self.threshold:g}; {seen} of {self.places} places were looked at): check that "
            "it is the right scan, its contrast and its voxel size, and compare labels with the image before using them"
        )


class Look:
    """Looks for one model; may be asked from several threads.

    Args:
        known: What the training scans look like.
        threshold: Of the card.
        encoder: The network up to its first dropout; None looks at grey values alone.
    """

    def __init__(self, known: Known, threshold: float, encoder: Encoder | None) -> None:
        self._known, self._threshold, self._encoder, self._lock = known, threshold, encoder, Lock()

    def volume(self, volume: Volume, scaling: Scaling) -> Foreign:
        """Looks at a whole scan; a function of it alone, whatever tiles, threads and samples there are."""
        return self.judge(of_volume(volume, scaling))

    def tile(self, image: Float32, tile: Tile, scaling: Scaling) -> Foreign:
        """Looks at the core of a tile, in what the tile read [1, 1, Z, Y, X]; it is held against tiles."""
        return self.judge(windows(core(image, tile), scaling.exterior is not None), tile=True)

    def judge(self, seen: Float32 | None, *, tile: bool = False) -> Foreign:
        """What windows [N, Y, X] of a scan, or of a tile, say, if there are any.

        Raises:
            InputError: The fit is of a network with another number of features.
        """
        if seen is None:
            return Foreign(score=None, threshold=self._threshold)
        with self._lock:  # a request of OpenVINO serves one caller
            features = None if self._encoder is None else encoded(seen, self._encoder)
        if features is not None and self._known.features is not None:
            fitted = len(self._known.features.median)
            if len(features) != fitted:
                raise InputError(
                    f"foreign input was fitted to {fitted} features, the network has {len(features)}: {AGAIN}"
                )
        parts = self._known.parts(describe(seen)[None], None if features is None else features[None])
        return Foreign(
            score=float(self._known.score(parts, tile=tile)[0]),
            threshold=self._threshold,
            parts={name: float(part[0]) for name, part in parts.items()},
            places=len(seen),
            features=FEATURES in parts,
        )


def of_volume(volume: Volume, scaling: Scaling) -> Float32 | None:
    """The windows [N, Y, X] of a whole scan, read and normalised; None where it is too small."""
    return windows(Normalised(volume.data, scaling), scaling.exterior is not None)


def encoded(seen: Float32, encoder: Encoder) -> Float64:
    """Features of windows [N, Y, X]: roots of the channels' means, since these are skewed [channels]."""
    mean = np.mean([encoder(window) for window in seen], axis=0)
    return np.asarray(np.sign(mean) * np.sqrt(np.abs(mean)))


def look_of(model: Model, engine: Engine) -> Look | None:
    """The look of a model beside an engine; None where its card has no fit.

    Raises:
        InputError: The fit cannot be read.
        EngineError: The runtime refuses.
    """
    if model.foreign is None or model.card.foreign is None:
        return None
    known = read(model.foreign, model.card.foreign.features)
    runtime = runtime_for(engine.name)
    see = None if runtime is None else encoder(model, runtime)
    return Look(known, model.card.foreign.threshold, see)


def with_tiles(whole: Foreign, tiles: Sequence[float | None]) -> Foreign:
    """The same with the share of those tiles whose score is above the threshold; without any the scan is its tile."""
    scores = [score for score in (tiles or [whole.score]) if score is not None]
    above = sum(score > whole.threshold for score in scores)
    return whole.model_copy(update={"tiles": above / len(scores) if scores else None})
