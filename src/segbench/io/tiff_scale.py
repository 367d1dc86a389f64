"""Voxel size of a TIFF: from OME-XML, or from ImageJ's description and the resolution tags."""

import xml.etree.ElementTree as ET
from typing import Any

from segbench.io.units import VoxelUm, micrometres


def voxel_um(tif: Any) -> VoxelUm | None:  # noqa: ANN401
    """Edges in µm where the file gives all three with a unit of length; a plain TIFF never tells depth."""
    try:
        return _ome(tif.ome_metadata) if tif.is_ome else _imagej(tif) if tif.is_imagej else None
    except (ET.ParseError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _ome(xml: str) -> VoxelUm | None:
    pixels = next((node for node in ET.fromstring(xml).iter() if node.tag.endswith("}Pixels")), None)
    if pixels is None:
        return None
    given = pixels.attrib
    # µm is OME's default
    units = [given.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"]
    return micrometres([given[f"PhysicalSize{axis}"] for axis in "ZYX"], units)


def _imagej(tif: Any) -> VoxelUm | None:  # noqa: ANN401
    meta, tags = tif.imagej_metadata, tif.pages[0].tags
    per_unit = [tags[name].value for name in ("YResolution", "XResolution")]
    y, x = (denominator / numerator for numerator, denominator in per_unit)
    return micrometres([meta["spacing"], y, x], [meta["unit"]] * 3)
