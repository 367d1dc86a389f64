"""A user's own labelled images, of a manifest, to train on: whole volumes, single slices, or parts of them."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segbench import nets
from segbench.data.manifest import UNLABELLED, Located, Manifest, read_manifest
from segbench.data.manifest_load import case_hash, load_case
from segbench.data.pool import Sample
from segbench.errors import InputError
from segbench.normalisation import Normalisation, fit
from segbench.train.recipe import Recipe
from segbench.train.sources import ManifestRecipe
from segbench.volume import UInt8

WINDOW_MARGIN = 16
"""Voxels around a window of the validation that are seen and not scored."""
VALIDATED = 1 << 20
"""Voxels that are validated on at most, margins included: so much takes seconds."""


def labelled(recipe: Recipe) -> tuple[list[Sample], list[Sample]]:
    """Training volumes and windows to validate on; where there is no label they hold `UNLABELLED`.

    Each image is normalised by itself, as one is that is predicted.

    Raises:
        InputError: One line: the manifest or a file is unusable, the classes are not the recipe's, the data is not what
            the recipe pins, nothing is labelled, or a class is nowhere.
    """
    data = recipe.data
    assert isinstance(data, ManifestRecipe)
    manifest = read_manifest(data.manifest)
    if manifest.classes != recipe.classes:
        raise InputError(
            f"recipe {recipe.name}: its classes are {', '.join(recipe.classes)}, but {data.manifest} has "
            f"{', '.join(manifest.classes)}: they have to be the same, in one order"
        )
    trained, validated = located(manifest, data, data.train), located(manifest, data, data.validation)
    if not trained:
        raise InputError(f'{data.manifest}: no case has split = "{data.train}": there is nothing to train on')
    if data.sha256 is not None and (found := data_hash([*trained, *validated])) != data.sha256:
        raise InputError(
            f"{data.manifest}: not the data that the recipe names: sha256 is {found[:12]}..., the recipe says "
            f"{data.sha256[:12]}...; restore the files, or train from this data into another folder"
        )
    train = [_sample(case, recipe.normalisation) for case in trained]
    if validated:
        parts = [_sample(case, recipe.normalisation) for case in validated]
    else:
        parts = [_part(sample, data.held_back, last=True) for sample in train]
        train = [_part(sample, data.held_back, last=False) for sample in train]
    _check_classes(train, recipe, data)
    windows = [window for sample in parts for window in _windows(sample, recipe)]
    return [_drawn(_grown(sample, recipe)) for sample in train], _few(windows)


def located(manifest: Manifest, data: ManifestRecipe, split: str) -> list[Located]:
    """The cases of a split; none is fine."""
    return manifest.cases(None if data.root is None else Path(data.root), None, split)


def data_hash(cases: Sequence[Located]) -> str:
    """sha256 of all that is read of these cases."""
    return hashlib.sha256("".join(case_hash(case) for case in cases).encode()).hexdigest()


def said(data: ManifestRecipe, images: int) -> str:
    """What was trained on, in words."""
    manifest = read_manifest(data.manifest)
    cases = located(manifest, data, data.train)
    slices = sum(len(case.case.slices) for case in cases if case.case.slices is not None)
    few = f", {slices} labelled slices" if slices else ""
    return f"{manifest.name}: {images} images of split {data.train}{few} (use: {manifest.use})"


def held_back(data: ManifestRecipe) -> str:
    """What was validated and calibrated on, in words."""
    manifest = read_manifest(data.manifest)
    if located(manifest, data, data.validation):
        return f"cases of split {data.validation} of {manifest.name}"
    return f"{data.held_back:.0%} of the labelled area of each training image, at its end, which was not trained on"


def _sample(case: Located, normalisation: Normalisation) -> Sample:
    loaded = load_case(case)
    if not (loaded.label != UNLABELLED).any():
        raise InputError(f'{case.label}: no labelled voxel: all of its values mean "ignore"')
    image = fit(normalisation, loaded.image)(np.asarray(loaded.image.data[:]))
    return Sample(f"{loaded.domain}/{loaded.name}", image, loaded.label)


def _part(sample: Sample, share: float, last: bool) -> Sample:
    """The last `share` of what is labelled along Y or X, whichever is longer, or all but that."""
    axis = 1 + int(np.argmax(sample.label.shape[1:]))
    others = tuple({0, 1, 2} - {axis})
    known = np.cumsum((sample.label != UNLABELLED).sum(axis=others))
    border = int(np.searchsorted(known, (1 - share) * known[-1])) + 1
    label = np.moveaxis(sample.label.copy(), axis, 0)
    label[slice(None, border) if last else slice(border, None)] = UNLABELLED
    return Sample(sample.domain, sample.image, np.moveaxis(label, 0, axis))


def _check_classes(train: Sequence[Sample], recipe: Recipe, data: ManifestRecipe) -> None:
    counts = sum(np.bincount(sample.label.ravel(), minlength=UNLABELLED + 1) for sample in train)
    for name, count in zip(recipe.classes, np.asarray(counts)[: len(recipe.classes)], strict=True):
        if not count:
            raise InputError(
                f"{data.manifest}: class {name!r} is nowhere in what is trained on: label some of it, or leave it out"
            )


def _grown(sample: Sample, recipe: Recipe) -> Sample:
    """The sample, where a crop does not fit in it with its border replicated; that is not labelled.

    A single slice stays one: crops of it are slices.
    """
    edge = max(recipe.crop) if recipe.augmentation.symmetries is True else 0
    flat = recipe.augmentation.flat == 1 or recipe.crop[0] == 1
    wanted = [1 if flat and axis == 0 else max(edge, length) for axis, length in enumerate(recipe.crop)]
    if recipe.augmentation.symmetries == "planar":
        wanted[1:] = [max(wanted[1:])] * 2
    return _padded(sample, [max(n, length) for n, length in zip(sample.image.shape, wanted, strict=True)])


def _padded(sample: Sample, shape: Sequence[int]) -> Sample:
    more = [((n - m) // 2, n - m - (n - m) // 2) for n, m in zip(shape, sample.image.shape, strict=True)]
    label = np.pad(sample.label, more, constant_values=UNLABELLED)
    return Sample(sample.domain, np.pad(sample.image, more, mode="edge"), label)


def _drawn(sample: Sample) -> Sample:
    """The sample with the places that crops are drawn around, unless all of it is labelled."""
    known: npt.NDArray[np.int64] = np.flatnonzero(sample.label != UNLABELLED)
    return sample if len(known) == sample.label.size else Sample(sample.domain, sample.image, sample.label, known)


def _windows(sample: Sample, recipe: Recipe) -> Iterator[Sample]:
    """Boxes of a network's multiples that hold what is labelled, each with a margin that is not scored."""
    shape = sample.image.shape
    multiple = nets.build(recipe.network.kind, **recipe.network.options).stride
    places = np.nonzero(sample.label != UNLABELLED)
    first, last = [int(p.min()) for p in places], [int(p.max()) + 1 for p in places]
    cores = [min(core, 64 if recipe.tile.halo[0] else 256) for core in recipe.tile.core]
    for corner in product(*(range(a, b, c) for a, b, c in zip(first, last, cores, strict=True))):
        stop = [min(b, p + c) for b, p, c in zip(last, corner, cores, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(corner, stop, strict=True))
        if not (sample.label[box] != UNLABELLED).any():
            continue
        margin = [min(WINDOW_MARGIN, halo) for halo in recipe.tile.halo]
        low = [max(0, p - m) for p, m in zip(corner, margin, strict=True)]
        high = [min(n, p + m) for n, p, m in zip(shape, stop, margin, strict=True)]
        seen = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        label: UInt8 = np.full([b - a for a, b in zip(low, high, strict=True)], UNLABELLED, np.uint8)
        label[tuple(slice(b.start - a, b.stop - a) for b, a in zip(box, low, strict=True))] = sample.label[box]
        whole = [-(-n // m) * m for n, m in zip(label.shape, multiple, strict=True)]
        yield _padded(Sample(sample.domain, sample.image[seen], label), whole)


def _few(windows: list[Sample]) -> list[Sample]:
    """As many of them, evenly chosen, as `VALIDATED` voxels allow."""
    count = max(1, VALIDATED // max(window.label.size for window in windows))
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(count, len(windows))).round().astype(int))
    return [windows[number] for number in chosen]
