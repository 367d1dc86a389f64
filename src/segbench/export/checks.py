"""What an artifact's folder says of itself, checked before anything runs: files, card, normalisation, masks."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from segbench.errors import InputError
from segbench.export.parity import compare
from segbench.export.profile import Tolerance
from segbench.io.files import file_sha256
from segbench.normalisation import fit
from segbench.predict import said
from segbench.recipe import read_toml
from segbench.volume import Volume
from segbench.zoo import CARD, Model, find, names
from segbench.zoo.artifact import Check
from segbench.zoo.card import Card
from segbench.zoo.proof import drawn_of
from segbench.zoo.reference import Array, Reference

EXACT = Tolerance(rtol=1e-6, atol=1e-6, accuracy=0, nll=0)  # the same arithmetic in NumPy, rounded once


def files(folder: Path, pinned: Mapping[str, str]) -> Check:
    """Every file is the one that was exported."""
    wrong = []
    for path, expected in pinned.items():
        try:
            found = file_sha256(folder / path)
        except InputError:
            wrong.append(f"{path} is missing")
            continue
        if found != expected:
            wrong.append(f"{path} was changed (sha256 {found[:12]}…, exported {expected[:12]}…)")
    if wrong:
        return Check(name="files", status="failed", said="; ".join(wrong))
    return Check(name="files", status="passed", said=f"{len(pinned)} files as they were exported")


def card(model: Model, expected: str) -> Check:
    """The card is the one that was exported."""
    if model.hash == expected:
        return Check(name="card", status="passed", said=f"the card of model {expected[:12]}…")
    line = f"{CARD} is not that of model {expected[:12]}…, which was exported{_changes(model.card, expected)}"
    return Check(name="card", status="failed", said=line)


def _changes(changed: Card, expected: str) -> str:
    """What is other than in the zoo's own card, where the zoo holds the model that was exported."""
    for name in names():
        original = find(name)
        if original.hash == expected:
            before, now = _flat(original.card.model_dump(mode="json")), _flat(changed.model_dump(mode="json"))
            apart = [key for key in before.keys() | now.keys() if before.get(key) != now.get(key)]
            listed = (f"{key} is {now.get(key)}, was {before.get(key)}" for key in sorted(apart))
            return ": " + "; ".join(listed)
    return ""


def _flat(value: object, path: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {path: value}
    beside = {"results", "seeds", "seams", "conformal", "foreign", "files.reference", "files.foreign"}
    keys = {key: f"{path}.{key}" if path else str(key) for key in value}
    return {k: v for key, name in keys.items() if name not in beside for k, v in _flat(value[key], name).items()}


def normalisation(found: Card, reference: Reference) -> Check:
    """The card makes of the reference's scan the image that PyTorch saw."""
    image = fit(found.input.normalisation, Volume(reference.grey))(reference.grey)[None, None]
    apart = compare("image", image, reference.image, EXACT)
    if apart.passed:
        return Check(name="normalisation", status="passed", said="gives the reference's image", numbers=apart.numbers)
    how = ", ".join(f"{key} = {value}" for key, value in found.input.normalisation.model_dump().items())
    line = f"the card's normalisation ({how}) is not the model's: {apart}"
    return Check(name="normalisation", status="failed", said=line, numbers=apart.numbers)


def calibration(found: Card, reference: Reference) -> Check:
    """The card makes of the reference's logits the probabilities that were released."""
    made = said(reference.logits, found)
    mean = made.probability[None] if made.probabilities is None else made.probabilities
    apart = compare("mean", mean[None], reference.mean, EXACT)
    if apart.passed:
        line = "gives the reference's probabilities"
        return Check(name="calibration", status="passed", said=line, numbers=apart.numbers)
    line = f"the card's calibration is not the model's: {apart}"
    return Check(name="calibration", status="failed", said=line, numbers=apart.numbers)


def masks(found: Card, reference: Reference) -> Check:
    """This installation draws the reference's masks."""
    drawn = drawn_of(found.dropout, int(reference.seed[0]), reference.samples.tolist())
    return masks_alike(drawn, reference.masks, "of this installation")


def masks_alike(found: Array, expected: Array, whose: str, part: str = "") -> Check:
    """Two sets of masks [T, channels], bit for bit."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        line = f"masks {whose} are {found.dtype} {found.shape}, not {expected.dtype} {expected.shape}"
        return Check(name="masks", part=part, status="failed", said=line)
    apart = np.ascontiguousarray(found).view(np.uint32) != np.ascontiguousarray(expected).view(np.uint32)
    numbers = {"different": float(np.count_nonzero(apart)), "of": float(apart.size)}
    if apart.any():
        t, channel = (int(at) for at in np.argwhere(apart)[0])
        line = (
            f"masks {whose} differ in {int(numbers['different'])} of {apart.size} places, first sample number {t}, "
            f"channel {channel}: {found[t, channel]:g} for {expected[t, channel]:g}"
        )
        return Check(name="masks", part=part, status="failed", said=line, numbers=numbers)
    digest = hashlib.sha256(np.ascontiguousarray(found).tobytes()).hexdigest()
    size = f"{len(expected)} samples x {expected.shape[1]} channels"
    line = f"masks {whose} are the same bits, {size}, sha256 {digest[:12]}…"
    return Check(name="masks", part=part, status="passed", said=line, numbers=numbers)


def read_card(folder: Path) -> Model:
    """The model in a folder as it lies there, its files not proved."""
    return Model(card=read_toml(folder / CARD, Card), path=folder)
