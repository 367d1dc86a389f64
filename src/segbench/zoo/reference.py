"""Fixed inputs and outputs that travel with a model, so that any machine can tell whether it runs that very model."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError
from segbench.io.atomic import write_bytes
from segbench.volume import Float32

Array = npt.NDArray[Any]
_DAMAGED = (ValueError, KeyError, EOFError, TypeError, AttributeError, NotImplementedError, RuntimeError)
"""What a damaged archive makes NumPy and zipfile raise, of what is no error of theirs."""
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file can state


@dataclass(frozen=True, eq=False)
class Reference:
    """What goes in, and what PyTorch says of it; K is the number of logits a voxel, T of samples.

    Attributes:
        grey: A scan, uint16 (Z, Y, X), with a constant exterior and hot voxels, so that every part of a normalisation
            shows in `image`.
        image: The same normalised as the card says, float32 [1, 1, Z, Y, X].
        seed: Of the masks, int32 [1].
        samples: Their numbers, int32 [T].
        masks: Float32 [T, channels].
        logits: Of the masked network, float32 [T, K, Z, Y, X].
        deterministic: Logits of all-ones masks, float32 [1, K, Z, Y, X].
        mean: Mean calibrated probability, float32 [1, K, Z, Y, X].
        entropy: Of that mean, in nats, float32 [1, 1, Z, Y, X].
        mutual_information: In nats, float32 [1, 1, Z, Y, X].
        features: Of a cascade's classifier, float32 [N, K + 1]; this and what follows only where there is a cascade,
            and by ONNX's own evaluator.
        doubt: Its logits, float32 [N, 1].
        patches: Of its local network, float32 [P, 1 + K, edge, edge]; None for a dense one.
        context: Likewise, float32 [P, K].
        seen: Of a dense local network, float32 [1, 1 + K, Y, X]; else None.
        local: Logits of the local network, float32 [P, K] or [1, K, Y, X].
        refined: Probabilities of the middle slice by both networks, float32 [K, Y, X].
        doubted: Its pixels that the local network decides, uint8 (Y, X).
    """

    grey: npt.NDArray[np.uint16]
    image: Float32
    seed: npt.NDArray[np.int32]
    samples: npt.NDArray[np.int32]
    masks: Float32
    logits: Float32
    deterministic: Float32
    mean: Float32
    entropy: Float32
    mutual_information: Float32
    features: Float32 | None = None
    doubt: Float32 | None = None
    patches: Float32 | None = None
    context: Float32 | None = None
    seen: Float32 | None = None
    local: Float32 | None = None
    refined: Float32 | None = None
    doubted: npt.NDArray[np.uint8] | None = None

    @property
    def arrays(self) -> dict[str, Array]:
        """Those that there are by name; of graphs' inputs and outputs, too."""
        each = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in each.items() if array is not None}


def write_reference(path: Path, reference: Reference) -> None:
    """Writes the arrays; see `write_arrays`."""
    write_arrays(path, reference.arrays)


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes arrays as .npz; the same arrays give the same bytes.

    Raises:
        OutputError: The file cannot be written.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue())
    write_bytes(path, packed.getvalue())


def read_reference(path: Path) -> Reference:
    """Reads what `write_reference` wrote; nothing is unpickled.

    Raises:
        InputError: There is no such file, or it holds something else.
    """
    arrays = read_arrays(path, "reference of a model")
    names = [field.name for field in fields(Reference) if field.default is MISSING or field.name in arrays]
    try:
        return Reference(**{name: arrays[name] for name in names})
    except KeyError as error:
        raise InputError(f"{path}: no reference of a model ({error}): export again, or copy it again") from error


def read_arrays(path: Path, what: str) -> dict[str, Array]:
    """Reads what `write_arrays` wrote, `what` in words; nothing is unpickled.

    Raises:
        InputError: There is no such file, or it holds something else.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (*_DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: no {what} ({said}): make it again, or copy it again") from error
