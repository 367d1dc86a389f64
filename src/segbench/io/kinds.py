"""The kinds of files, by their first bytes and by their names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """How a kind of file is known.

    Attributes:
        suffixes: Ends of names, in small letters.
        marks: First bytes, where they are like no others.
    """

    suffixes: tuple[str, ...]
    marks: tuple[bytes, ...] = ()


KINDS: Mapping[str, Kind] = {
    "tiff": Kind((".tif", ".tiff", ".btf", ".tf8"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    "png": Kind((".png",), (b"\x89PNG\r\n\x1a\n",)),
    "npy": Kind((".npy",), (b"\x93NUMPY",)),
    "npz": Kind((".npz",)),
    "hdf5": Kind((".h5", ".hdf5", ".hdf", ".he5", ".nxs", ".nx5"), (b"\x89HDF\r\n\x1a\n",)),
    "nifti": Kind((".nii", ".nii.gz")),
    "nrrd": Kind((".nrrd", ".nhdr"), (b"NRRD000",)),
    "metaimage": Kind((".mha", ".mhd"), (b"ObjectType = Image", b"ObjectType=Image")),
}


def by_suffix(path: Path) -> str | None:
    """The kind that the name of a file says."""
    name = path.name.lower()
    return next((kind for kind, known in KINDS.items() if name.endswith(known.suffixes)), None)


def by_content(path: Path) -> str | None:
    """The kind that the first bytes of a file say.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        first = file.read(32)
    return next((kind for kind, known in KINDS.items() if first.startswith(known.marks)), None)
