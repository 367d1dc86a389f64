"""Whether an artifact was proved on this machine: nothing unproved is run unless somebody insists."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from segbench.errors import EngineError, InputError
from segbench.hardware import machine
from segbench.io.files import file_sha256
from segbench.masks import Site, masks, ones
from segbench.recipe import read_json
from segbench.volume import Float32
from segbench.zoo import Model
from segbench.zoo.artifact import ARTIFACT, RECORD, Record

SEED, SAMPLES = 7, range(4)  # of the masks whose hash a record holds; any will do


def drawn_of(sites: Sequence[Site], seed: int, samples: Sequence[int]) -> Float32:
    """Masks [T, channels]; of a model without dropout [T, 0]."""
    return masks(sites, seed, samples) if sites else np.repeat(ones(sites), len(samples), axis=0)


def masks_hash(sites: Sequence[Site]) -> str:
    """Changes where this installation would draw other masks for these sites."""
    return hashlib.sha256(drawn_of(sites, SEED, SAMPLES).tobytes()).hexdigest()


def check_proved(model: Model, engine: str) -> None:
    """Refuses an artifact without a passing record that fits it, this installation and this machine.

    Args:
        model: Nothing is asked of one that was not found in an artifact.
        engine: Where the artifact has parts for that runtime, they are to have been run.

    Raises:
        EngineError: One line: what is missing, and the command that proves it.
    """
    reason = "" if model.artifact is None else unproved(model, engine)
    if reason:
        raise EngineError(f"{reason}; run: segbench verify {model.path.parent} (or give --unverified)")


def unproved(model: Model, engine: str) -> str:
    """Why an artifact's model is not proved here; empty if it is."""
    folder = model.path.parent
    if not (folder / RECORD).is_file():
        return f"{folder} was not verified on this machine"
    try:
        record = read_json(folder / RECORD, Record)
    except InputError as error:
        return str(error)
    return next(_misfits(model, record, engine), "")


def _misfits(model: Model, record: Record, engine: str) -> Iterator[str]:
    """What speaks against a record, the plainest first."""
    artifact, folder = model.artifact, model.path.parent
    assert artifact is not None
    if record.artifact != file_sha256(folder / ARTIFACT):
        yield f"{folder / RECORD} is of another export"
    for check in record.checks:
        if check.status == "failed":
            yield f"{folder} failed its verification: {check.name}: {check.said}"
    own = {part.path for part in artifact.parts if part.runtime == engine}
    ran = {check.part for check in record.checks if check.name == "outputs" and check.status == "passed"}
    if not record.passed or (own and not own & ran):
        yield f"{folder}: its parts {f'for {engine} ' if own else ''}could not be run when it was verified"
    if record.masks != masks_hash(model.card.dropout):
        yield f"{folder / RECORD} was written by a segbench that draws other masks ({record.segbench})"
    if artifact.device != "any" and record.machine != machine():
        yield f"{folder} was verified on another machine ({record.machine})"
