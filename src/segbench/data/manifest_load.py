"""A case of a manifest in hand: files opened, proved against hashes and shapes, labels made classes."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segbench.data.manifest import UNLABELLED, Located, Split
from segbench.errors import InputError
from segbench.io import blocks, depth_range, file_sha256, open_volume, read_labels
from segbench.io.location import locate
from segbench.volume import UInt8, Volume


@dataclass(frozen=True)
class LoadedCase:
    """A case in hand.

    Attributes:
        domain: Name of the domain.
        name: Name of the case.
        split: train, validation or test.
        image: The image, lazy.
        label: Class indices, the shape of the image; `UNLABELLED` where there is no label.
        sha256: Of what was read: both files, arrays in them, the slices taken and the label map; for provenance.
    """

    domain: str
    name: str
    split: Split
    image: Volume
    label: UInt8
    sha256: str


def hashes(located: Located) -> tuple[str, str]:
    """SHA-256 of image and label as they lie there.

    Raises:
        InputError: A file is missing, or its hash is not the one that the manifest states.
    """
    case = located.case
    stated = {"image": (located.image, case.image_sha256), "label": (located.label, case.label_sha256)}
    found = {kind: file_sha256(path) for kind, (path, _) in stated.items()}
    for kind, (path, expected) in stated.items():
        if expected is not None and expected != found[kind]:
            raise InputError(
                f"{path}: wrong hash, sha256 is {found[kind]}, but {kind}_sha256 says {expected}: "
                "restore the file or correct the manifest"
            )
    return found["image"], found["label"]


def case_hash(located: Located) -> str:
    """SHA-256 of what `load_case` reads: both files, arrays in them, the slices taken and the label map.

    Raises:
        InputError: A file is missing, or its hash is not the one that the manifest states.
    """
    digest = hashlib.sha256("".join(hashes(located)).encode())
    digest.update(repr((located.case.z, sorted(located.domain.labels.items()))).encode())
    inner = [locate(path).inner for path in (located.image, located.label)]
    if any(inner):
        digest.update(repr(inner).encode())
    if located.case.slices is not None:
        digest.update(repr(("slices", located.case.slices)).encode())
    return digest.hexdigest()


def load_case(located: Located) -> LoadedCase:
    """Opens the image, reads the label, and proves both against hashes, shapes and the label map.

    Raises:
        InputError: One line: a file is unusable, a hash or shape differs, a label value has no class.
    """
    found = case_hash(located)
    image, label = volumes(located)
    classes = np.concatenate([classes_of(located, label, part) for part in blocks(image)])
    names = (located.domain.name, located.case.name, located.case.split)
    return LoadedCase(*names, image, classes, found)


def volumes(located: Located) -> tuple[Volume, Volume]:
    """Image and raw label of a case, lazy, with the voxel size that the manifest states.

    Their shapes are equal, or the label has the slices that the case names.
    """
    image, label = open_volume(located.image, located.domain.voxel_um), read_labels(located.label)
    if located.case.slices is not None:
        return _with_slices(located, image, label)
    if image.shape != label.shape:
        raise InputError(
            f"{located.label}: shape {label.shape}, but {located.image.name} has {image.shape}: "
            "they must be equal, is it the label of another image?"
        )
    if located.case.z is None:
        return image, label
    start, stop = located.case.z
    if stop > image.shape[0]:
        raise InputError(f"{located.image}: {image.shape[0]} slices, but z asks for {start} to {stop - 1}")
    return depth_range(image, start, stop), depth_range(label, start, stop)


def _with_slices(located: Located, image: Volume, label: Volume) -> tuple[Volume, Volume]:
    named = located.case.slices or ()
    wanted = (len(named), *image.shape[1:])
    if label.shape != wanted:
        raise InputError(
            f"{located.label}: shape {label.shape}, but slices names {len(named)} of {located.image.name} "
            f"{image.shape}, so it has to be {wanted}"
        )
    start, stop = located.case.z or (0, image.shape[0])
    last = max(*named, stop - 1)
    if last >= image.shape[0]:
        raise InputError(f"{located.image}: {image.shape[0]} slices, counted from 0, but the manifest names {last}")
    return depth_range(image, start, stop), label


def classes_of(located: Located, label: Volume, part: slice) -> UInt8:
    """Class indices of the slices `part` of a case's image; `label` as `volumes` returned it."""
    mapping = located.domain.labels
    if located.slices is None:
        return to_classes(label, part, mapping)
    out = np.full((part.stop - part.start, *label.shape[1:]), UNLABELLED, dtype=np.uint8)
    for number, z in enumerate(located.slices):
        if part.start <= z < part.stop:
            out[z - part.start] = to_classes(label, slice(number, number + 1), mapping)[0]
    return out


def to_classes(label: Volume, part: slice, mapping: dict[int, int]) -> UInt8:
    """Class indices of the slices `part` of a raw label."""
    raw = np.asarray(label.data[part])
    raw = raw.astype(np.uint8) if raw.dtype == bool else raw
    values = np.array(sorted(mapping), dtype=np.int64)
    at: npt.NDArray[np.intp] = np.minimum(np.searchsorted(values, raw), len(values) - 1)
    wrong = values[at] != raw
    if wrong.any():
        strange = np.unique(raw[wrong])
        shown = ", ".join(str(v) for v in strange[:8]) + (", ..." if len(strange) > 8 else "")
        raise InputError(
            f"{label.source}: label values outside the map: {shown}; mapped are {sorted(mapping)}: "
            "add them to labels in the manifest"
        )
    return np.array([mapping[int(v)] for v in values], dtype=np.uint8)[at]
