"""What a prediction is of: all that decides its bytes, written down so that a later process goes on with the same."""

import hashlib
from pathlib import Path

import numpy as np
from pydantic import ConfigDict

from segbench.engines import Engine
from segbench.errors import InputError, OutputError
from segbench.foreign import Foreign, Look
from segbench.io import check_image
from segbench.normalisation import Scaling, fit
from segbench.polarity import polarity
from segbench.predict.sampling import sample_masks
from segbench.recipe import Strict
from segbench.volume import Volume
from segbench.zoo import Model
from segbench.zoo.findings import ConformalCard

Shape = tuple[int, int, int]
LOOKED_AT = 9  # slices whose content tells one scan from another


class Wanted(Strict):
    """What was asked for; two runs go on with each other's work only where all of it is the same.

    Attributes:
        scan: Hash of the scan's shape, type and of nine of its slices: a scan may be moved or mounted elsewhere.
        shape: Its voxels (Z, Y, X).
        voxel_um: Its voxels' edges in µm along (Z, Y, X), or None where unknown.
        model: Name of the model.
        model_version: Of its card.
        model_hash: Changes with card, weights or graph.
        samples: Monte-Carlo samples; 0 for the network without dropout.
        seed: Of the masks.
        engine: What computed, with its version.
        precision: Of the convolutions.
        thin: Whether each sample was a thinner network.
        inverted: Whether the image's negative was segmented.
        keep_samples: How many samples' own labels are kept.
        format: Of the result: "zarr" or "tiff".
    """

    scan: str
    shape: Shape
    voxel_um: tuple[float, float, float] | None
    model: str
    model_version: str
    model_hash: str
    samples: int
    seed: int
    engine: str
    precision: str
    thin: bool
    inverted: bool
    keep_samples: int
    format: str


class Finite(Strict):
    """A record with no limit (infinity) written as a word, because JSON has no number for it."""

    model_config = ConfigDict(ser_json_inf_nan="strings")


class Job(Finite):
    """A prediction in the making.

    Attributes:
        wanted: What was asked for.
        source: Path or address of the scan, as it was given.
        classes: Names of the labels 0, 1, ….
        scaling: What was fitted to the whole scan, once.
        warnings: What speaks against trusting the result, a sentence each.
        conformal: What the model's card had fitted when the job began; None where it had nothing.
        foreign: How unlike the training scans it is, found once for all shards; None without a fit.
    """

    wanted: Wanted
    source: str
    classes: tuple[str, ...]
    scaling: Scaling
    warnings: tuple[str, ...]
    conformal: ConformalCard | None = None
    foreign: Foreign | None = None


def wanted(
    volume: Volume, model: Model, engine: Engine, samples: int, seed: int, *, invert: bool, keep: int, form: str
) -> Wanted:
    """What is asked for, checked before any voxel is computed.

    Raises:
        InputError: Samples out of range, or more of them to keep than there are.
    """
    drawn = len(sample_masks(model.card, samples, seed))
    if not 0 <= keep <= drawn:
        raise InputError(f"--keep-samples is {keep}: there are {drawn} samples to keep")
    return Wanted(
        scan=fingerprint(volume),
        shape=volume.shape,
        voxel_um=volume.voxel_um,
        model=model.card.name,
        model_version=model.card.version,
        model_hash=model.hash,
        samples=samples,
        seed=seed,
        engine=f"{engine.name} {engine.version} on {engine.device}",
        precision=engine.precision,
        thin=engine.thin,
        inverted=invert,
        keep_samples=keep,
        format=form,
    )


def start(volume: Volume, model: Model, asked: Wanted, look: Look | None = None) -> Job:
    """Proves the scan, fits the normalisation to it, block by block, and looks whether it is foreign.

    Raises:
        InputError: NaN or infinite voxels, or a constant image.
    """
    sample = check_image(volume)
    scaling = fit(model.card.input.normalisation, volume, invert=asked.inverted, sample=sample)
    warning = None if asked.inverted else polarity(volume).warning(volume.source)
    foreign = None if look is None else look.volume(volume, scaling)
    spoken = (warning, None if foreign is None else foreign.warning(volume.source, model.card.name))
    return Job(
        wanted=asked,
        source=volume.source,
        classes=model.card.classes,
        scaling=scaling,
        warnings=tuple(text for text in spoken if text is not None),
        conformal=model.card.conformal,
        foreign=foreign,
    )


def fingerprint(volume: Volume) -> str:
    """Hash of shape, type and the content of nine slices, evenly spaced."""
    data = volume.data
    digest = hashlib.sha256(repr((volume.shape, np.dtype(data.dtype).str)).encode())
    depth = volume.shape[0]
    for z in sorted({round(at) for at in np.linspace(0, depth - 1, min(depth, LOOKED_AT))}):
        digest.update(np.ascontiguousarray(np.asarray(data[z])).tobytes())
    return digest.hexdigest()


def check_same(found: Wanted, asked: Wanted, where: Path) -> None:
    """Refuses to go on with work that was of something else.

    Raises:
        OutputError: Names the first thing in which the two differ.
    """
    for name in Wanted.model_fields:
        before, now = getattr(found, name), getattr(asked, name)
        if before != now:
            raise OutputError(
                f"{where}: holds a prediction of another {name.replace('_', ' ')} ({_short(before)}, now "
                f"{_short(now)}): choose another --out, or --restart to begin anew"
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
