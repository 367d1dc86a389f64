"""The slices of a run read back. The file may be anybody's: nothing is unpickled or unpacked beyond a limit."""

import io
import json
import zipfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.errors import InputError
from segbench.evaluate.slices import FILE, About, CaseAbout
from segbench.io.message import line
from segbench.recipe import validate
from segbench.volume import UInt8

FILE_BYTES = 256_000_000
TOTAL_BYTES = 512_000_000  # of all arrays, unpacked
ARRAY_BYTES = 64_000_000
ABOUT_BYTES = 8_000_000
MEMBERS = 50_000
PIXELS = 4096  # of a plane's edge
LAYERS = ("image", "human", "truth", "labels", "uncertainty")


@dataclass(frozen=True, eq=False)
class Slices:
    """An open file of slices; arrays are read when they are asked for, and checked."""

    path: Path
    about: About
    names: frozenset[str]

    def layers(self, number: int) -> dict[str, UInt8]:
        """The layers of case `number` by name, (N, Y, X) each; the truth only where there is one.

        Raises:
            InputError: One line: an array is missing, damaged or of another shape.
        """
        case = self.about.cases[number]
        with self._open() as archive:
            found = {name: self._array(archive, f"{number}/{name}") for name in LAYERS if self._has(number, name)}
        shape = found["image"].shape
        if len(shape) != 3 or shape[0] != len(case.z) or max(shape) > PIXELS:
            raise self._wrong(f"{number}/image has shape {shape}, which does not fit its {len(case.z)} slices")
        for name, array in found.items():
            if array.shape != shape:
                raise self._wrong(f"{number}/{name} has shape {array.shape}, the image {shape}")
        return found

    def patch(self, number: int, at: int) -> UInt8:
        """Square `at` of case `number`: (4, Y, X), image, reference, labels, uncertainty.

        Raises:
            InputError: As for `layers`.
        """
        with self._open() as archive:
            found = self._array(archive, f"{number}/patch{at}")
        if found.ndim != 3 or len(found) != 4 or max(found.shape) > PIXELS:
            raise self._wrong(f"{number}/patch{at} has shape {found.shape}, not (4, Y, X)")
        return found

    def _has(self, number: int, name: str) -> bool:
        return name != "truth" or f"{number}/{name}" in self.names

    def _open(self) -> closing[zipfile.ZipFile]:
        try:
            return closing(zipfile.ZipFile(self.path))
        except (OSError, zipfile.BadZipFile) as error:
            raise self._wrong(line(error)) from error

    def _array(self, archive: zipfile.ZipFile, name: str) -> UInt8:
        return _array(self.path, archive, name, ARRAY_BYTES)

    def _wrong(self, why: str) -> InputError:
        return _wrong(self.path, why)


def read_slices(folder: Path) -> Slices | None:
    """The slices that a run left in `folder`; None where it left none.

    Raises:
        InputError: One line: the file is damaged, too large, or no such file.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        if path.stat().st_size > FILE_BYTES:
            raise _wrong(path, f"larger than {FILE_BYTES // 10**6} MB")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MEMBERS or sum(member.file_size for member in members) > TOTAL_BYTES:
                raise _wrong(path, f"it unpacks to more than {MEMBERS} arrays or {TOTAL_BYTES // 10**6} MB")
            text = _array(path, archive, "about", ABOUT_BYTES).tobytes()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise _wrong(path, line(error)) from error
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, "its about is not JSON") from error
    about = validate(told, About, str(path))
    for case in about.cases:
        _check(path, case)
    return Slices(path, about, frozenset(member.filename.removesuffix(".npy") for member in members))


def _check(path: Path, case: CaseAbout) -> None:
    inside = all(0 <= z < case.shape[0] for z in (*case.z, *(patch.z for patch in case.patches)))
    if not inside or min(case.shape) < 1:
        raise _wrong(path, "a slice lies outside of its volume")


def _array(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> UInt8:
    """One member, of type uint8. What its header says of its size is compared before anything is reserved for it."""
    try:
        with archive.open(f"{name}.npy") as member:
            packed = member.read(most + 1)
        if len(packed) > most:
            raise _wrong(path, f"{name} unpacks to more than {most // 10**6} MB")
        data = io.BytesIO(packed)
        version = np.lib.format.read_magic(data)
        if version != (1, 0):
            raise ValueError(f"version {version} of the .npy format")
        shape, fortran, kind = np.lib.format.read_array_header_1_0(data)
        rest = packed[data.tell() :]
    except InputError:
        raise
    except KeyError as error:
        raise _wrong(path, f"{name} is missing") from error
    except Exception as error:  # a header is parsed as Python: there is no list of what that raises
        raise _wrong(path, f"{name}: {line(error)}") from error
    if kind != np.uint8 or fortran:
        raise _wrong(path, f"{name} holds {kind}, not uint8 in C order")
    size = 1
    for edge in shape:
        size *= edge
    if size != len(rest) or not size or min(shape) < 1:
        raise _wrong(path, f"{name} has shape {shape} and {len(rest)} bytes")
    return np.frombuffer(rest, np.uint8).reshape(shape)


def _wrong(path: Path, why: str) -> InputError:
    return InputError(f"{path}: cannot be shown ({why}): evaluate again, or take the file away")
