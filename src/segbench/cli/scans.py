"""What the options of a scan say: its voxels' size, and how to read a file without a header."""

from collections.abc import Mapping

from segbench.errors import InputError


def raw_layout(flags: Mapping[str, str | int | None]) -> dict[str, str | int] | None:
    """What the flags say of a RAW file, if they say anything."""
    if flags["shape"] is None and flags["dtype"] is None:
        return None
    return {name: value for name, value in flags.items() if value is not None}


def voxel_edges(text: str | None) -> float | tuple[float, float, float] | None:
    """What --voxel-um says, in µm."""
    if text is None:
        return None
    try:
        edges = [float(part) for part in text.split(",")]
    except ValueError:
        edges = []
    if len(edges) == 1:
        return edges[0]
    if len(edges) != 3:
        raise InputError(f"--voxel-um {text}: give one number in µm, or three for Z,Y,X: 0.5 or 1,0.5,0.5")
    return edges[0], edges[1], edges[2]
