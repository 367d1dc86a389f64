"""Units of length as file formats write them, and voxel sizes made of them."""

import math
from collections.abc import Mapping, Sequence

VoxelUm = tuple[float, float, float]

# Inch is left out: where an image has it, it is the resolution of a print.
_NAMES: Mapping[float, tuple[str, ...]] = {
    1e-6: ("pm", "picometer", "picometre", "picometers"),
    1e-4: ("Å", "\u212b", "angstrom", "Angstrom", "angstroms", "A"),
    1e-3: ("nm", "nanometer", "nanometre", "nanometers", "nanometres"),
    1.0: (
        "µm", "\u03bcm", "um", "\\u00B5m", "micron", "microns",
        "micrometer", "micrometre", "micrometers", "micrometres",
    ),
    1e3: ("mm", "millimeter", "millimetre", "millimeters", "millimetres"),
    1e4: ("cm", "centimeter", "centimetre", "centimeters", "centimetres"),
    1e6: ("m", "meter", "metre", "meters", "metres"),
}  # fmt: skip

MICROMETRES: Mapping[str, float] = {name: size for size, names in _NAMES.items() for name in names}


def micrometres(sizes: Sequence[object], units: Sequence[object]) -> VoxelUm | None:
    """Edges in µm along (Z, Y, X); None unless all three are positive numbers with a unit of length.

    Args:
        sizes: Three edges (Z, Y, X), as a file gives them.
        units: Their units.
    """
    if len(sizes) != 3 or len(units) != 3:
        return None
    try:
        z, y, x = (float(size) * MICROMETRES[_text(u)] for size, u in zip(sizes, units, strict=True))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (z, y, x) if all(math.isfinite(edge) and edge > 0 for edge in (z, y, x)) else None


def millimetres(sizes: Sequence[float]) -> VoxelUm | None:
    """Edges in µm of a medical format, whose convention is mm; None where all are 1.

    Writers that know no size write 1 1 1, and no electrode is scanned with voxels of a millimetre.
    """
    return None if all(size == 1 for size in sizes) else micrometres(sizes, ["mm"] * 3)


def _text(unit: object) -> str:
    return (unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)).strip()
