"""What a run keeps to be looked at: some slices of each case and its worst squares, a byte a voxel, in one file.

An .npz without pickled objects: `about` holds JSON as bytes, `0/image` the slices (N, Y, X) of the first case, and
`0/patch2` its third square as (layer, Y, X) with the layers image, reference, labels, uncertainty.
"""

import io
from dataclasses import dataclass, field
from math import ceil, log
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from segbench.evaluate.cases import Labelled
from segbench.evaluate.patches import EDGE, Patch, worst
from segbench.io import write_bytes
from segbench.predict import Prediction
from segbench.recipe import Strict
from segbench.volume import UInt8

FILE, FORMAT = "slices.npz", "segbench slices 1"
SLICES = 11
"""Of a case, evenly spaced; odd, so that the middle one is among them."""
PIXELS = 256
"""Of a plane's longer edge; a larger plane is carried at every n-th voxel."""
CASES = 3
"""Of a domain: those with the lowest accuracy."""
BUDGET = 64_000_000
"""Bytes of all arrays before they are packed; cases beyond it carry no slices."""
MARGIN = 8
"""Voxels around a square that are shown with it."""
WINDOW = (0.5, 99.5)
"""Percentiles of a case's grey values that become 0 and 255."""

Planes = npt.NDArray[np.generic]


class CaseAbout(Strict):
    """What the arrays of one case are.

    Attributes:
        domain: As in its row.
        case: As in its row.
        data_hash: As in its row.
        shape: Of the volume (Z, Y, X).
        z: Which slices.
        step: A pixel stands for a square of so many voxels: the mean of grey values and uncertainty, the middle label.
        low: Grey value of 0.
        high: Grey value of 255.
        top: Uncertainty of 255: entropy in nats.
        patches: Squares, in the order of the arrays.
    """

    domain: str
    case: str
    data_hash: str
    shape: tuple[int, int, int]
    z: tuple[int, ...] = Field(min_length=1, max_length=256)
    step: int = Field(ge=1)
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    top: float = Field(gt=0, allow_inf_nan=False)
    patches: tuple[Patch, ...] = Field((), max_length=64)


class Facts(Strict):
    """What a run knows that its rows do not hold.

    Attributes:
        model_hash: Of the model that was run; with the next four it says whose slices these are.
        samples: As in the rows.
        seed: As in the rows.
        engine: As in the rows.
        precision: As in the rows.
        classes: Names in the order of their index.
        trained_on: Domains of the data that the model was trained on.
        note: What the data is.
        command: That made the run.
    """

    model_hash: str
    samples: int
    seed: int | None
    engine: str
    precision: str
    classes: tuple[str, ...]
    trained_on: tuple[str, ...] = ()
    note: str = ""
    command: str = ""


class About(Strict):
    """The `about` of a file; `left_out` counts cases that carry no slices."""

    format: str = Field(FORMAT, pattern=f"^{FORMAT}$")
    facts: Facts
    cases: tuple[CaseAbout, ...] = Field(max_length=4096)
    left_out: int = 0


@dataclass(frozen=True, eq=False)
class Kept:
    """One case in hand: what its arrays are, the arrays by name, and its accuracy."""

    about: CaseAbout
    arrays: dict[str, UInt8]
    accuracy: float

    @property
    def bytes(self) -> int:
        """Of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(eq=False)
class Keeper:
    """Collects slices while a run goes on; of each domain the cases that the model does worst."""

    classes: tuple[str, ...]
    kept: dict[str, list[Kept]] = field(default_factory=dict)
    seen: int = 0

    def add(self, case: Labelled, prediction: Prediction) -> None:
        """Keeps a case, or lets it or a better one of its domain go."""
        self.seen += 1
        found = self.kept.setdefault(case.domain, [])
        found.append(slices(case, prediction, len(self.classes)))
        found.sort(key=lambda one: one.accuracy)
        over = sum(one.bytes for each in self.kept.values() for one in each) > BUDGET
        if len(found) > CASES or over:
            found.pop()

    def write(self, path: Path, facts: Facts) -> None:
        """Writes all of it, whole or not at all; the same cases give the same bytes.

        Raises:
            OutputError: The file cannot be written.
        """
        every = [one for found in self.kept.values() for one in found]
        about = About(facts=facts, cases=tuple(one.about for one in every), left_out=self.seen - len(every))
        arrays = {"about": np.frombuffer(about.model_dump_json().encode(), np.uint8)}
        for number, one in enumerate(every):
            arrays |= {f"{number}/{name}": array for name, array in one.arrays.items()}
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
        write_bytes(path, packed.getvalue())


def slices(case: Labelled, prediction: Prediction, classes: int) -> Kept:
    """Some slices of one case, and its worst squares. The uncertainty is the entropy of the samples' mean."""
    depth, height, width = case.image.shape
    chosen = tuple(int((n + 0.5) * depth / min(SLICES, depth)) for n in range(min(SLICES, depth)))
    step = ceil(max(height, width) / PIXELS)
    reference = case.reference
    top = log(max(2, classes))
    wrong = prediction.labels != reference
    found = worst(wrong, np.clip(prediction.entropy / np.float32(top), 0, 1))
    low, high = _window(np.stack([np.asarray(case.image.data[z]) for z in chosen]))

    def grey(planes: Planes) -> UInt8:
        return _bytes(planes, low, high)

    def unsure(planes: Planes) -> UInt8:
        return _bytes(planes, 0.0, top)

    at = list(chosen)
    arrays = {
        "image": grey(np.stack([_means(np.asarray(case.image.data[z]), step) for z in at])),
        "human": _middles(case.human[at], step),
        "labels": _middles(prediction.labels[at], step),
        "uncertainty": unsure(np.stack([_means(prediction.entropy[z], step) for z in at])),
    }
    if case.truth is not None:
        arrays["truth"] = _middles(case.truth[at], step)
    for number, patch in enumerate(found):
        rows, columns = (
            slice(max(0, start - MARGIN), start + EDGE + MARGIN) for start in (patch.y, patch.x)
        )  # fmt: skip
        z = patch.z
        layers = (
            grey(np.asarray(case.image.data[z])[rows, columns]), reference[z][rows, columns],
            prediction.labels[z][rows, columns], unsure(prediction.entropy[z][rows, columns]),
        )  # fmt: skip
        arrays[f"patch{number}"] = np.stack(layers)
    about = CaseAbout(
        domain=case.domain, case=case.name, data_hash=case.hash, shape=case.image.shape, z=chosen, step=step,
        low=low, high=high, top=top, patches=tuple(found),
    )  # fmt: skip
    return Kept(about, arrays, 1 - np.count_nonzero(wrong) / wrong.size)


def _window(planes: Planes) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(planes.astype(np.float32), WINDOW))
    return low, high if high > low else low + 1


def _bytes(planes: Planes, low: float, high: float) -> UInt8:
    share = (planes.astype(np.float32) - low) / (high - low)
    return np.asarray(np.rint(np.clip(share, 0, 1) * 255), dtype=np.uint8)


def _means(plane: Planes, step: int) -> Planes:
    """Means of squares of `step` voxels; what is left over at the far borders is cut off."""
    ny, nx = max(1, plane.shape[0] // step), max(1, plane.shape[1] // step)
    whole = plane[: ny * step, : nx * step].astype(np.float32)
    squares = whole.reshape(ny, -1, nx, whole.shape[1] // nx)
    return np.asarray(squares.mean(axis=(1, 3)))


def _middles(planes: UInt8, step: int) -> UInt8:
    """The label in the middle of each square of `_means`."""
    ny, nx = max(1, planes.shape[1] // step), max(1, planes.shape[2] // step)
    middle = [min(step // 2, (edge - 1) // 2) for edge in planes.shape[1:]]
    return np.ascontiguousarray(planes[:, middle[0] :: step, middle[1] :: step][:, :ny, :nx])
