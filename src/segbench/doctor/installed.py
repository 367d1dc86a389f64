"""What is installed: segbench and its models, the kinds of scans that can be read, and the extras."""

import re
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

import segbench
from segbench.doctor.cards import driver
from segbench.doctor.finding import Finding
from segbench.zoo import find, names

# what a scan is kept in -> the libraries that read it; none where the base install does
FORMATS = {
    "TIFF, PNG, NPY, RAW": (),
    "MetaImage": (),
    "OME-Zarr, zarr": (),
    "TIFF beyond deflate": ("imagecodecs",),
    "HDF5, NeXus": ("h5py", "hdf5plugin"),
    "NIfTI": ("nibabel",),
    "NRRD": ("nrrd",),
    "zarr behind a URL": ("fsspec", "aiohttp"),
}
INSTALL = "pip install 'segbench[formats]'"
DEVELOPERS = ("dev",)
CARDS = ("gpu", "tensorrt", "tensorrt-rtx")  # of no use without an NVIDIA card, and some of them harm without one


def zoo() -> Iterator[Finding]:
    """The version, and every model against the hashes in its card."""
    yield Finding(topic="segbench", name="version", said=segbench.__version__)
    for name in names():
        try:
            card = find(name).card
        except Exception as error:  # the next model is looked at all the same
            yield Finding(topic="segbench", name=name, status="failed", said=str(error), fix="install segbench again")
        else:
            yield Finding(topic="segbench", name=name, said=f"version {card.version}, its files as its card pins them")


def formats() -> Iterator[Finding]:
    """Kinds of scans that can be read."""
    for name, needed in FORMATS.items():
        lacks = [library for library in needed if find_spec(library) is None]
        said = f"needs {' and '.join(lacks)}" if lacks else "can be read"
        yield Finding(
            topic="formats",
            name=name,
            status="missing" if lacks else "ok",
            said=said,
            fix=INSTALL if lacks else "",
        )


def extras(package: str = "segbench", card: bool | None = None) -> Iterator[Finding]:
    """Extras, by what segbench's own installation says that they need; those of its developers are left out.

    Args:
        package: Whose extras.
        card: Whether there is an NVIDIA card; looked up by default.
    """
    card = driver() if card is None else card
    required = metadata.requires(package) or []
    for extra in metadata.metadata(package).get_all("Provides-Extra") or []:
        if extra in DEVELOPERS:
            continue
        lacks = sorted(name for name in _needed(extra, required, package) if not _installed(name))
        useless = extra in CARDS and not card
        said = f"without {', '.join(lacks)}" if lacks else "installed"
        fix = f"pip install 'segbench[{extra}]'" if lacks and not useless else ""
        if fix and extra == "gpu" and _installed("onnxruntime"):
            fix = f"pip uninstall onnxruntime; {fix}"  # the two write the same files
        yield Finding(
            topic="extras",
            name=extra,
            status="missing" if lacks else "ok",
            said=said + ("; needs an NVIDIA card" if useless else ""),
            fix=fix,
        )


def _needed(extra: str, required: list[str], package: str) -> set[str]:
    """Distributions that an extra names, those of extras inside it too."""
    found = set()
    for text in required:
        requirement, _, marker = text.partition(";")
        if not re.search(rf"""extra\s*==\s*["']{re.escape(extra)}["']""", marker):
            continue
        name, inner = re.match(r"\s*([\w.-]+)\s*(?:\[([^\]]*)\])?", requirement).groups()  # type: ignore[union-attr]
        if name == package:
            found |= {each for part in inner.split(",") for each in _needed(part.strip(), required, package)}
        else:
            found.add(name)
    return found


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
