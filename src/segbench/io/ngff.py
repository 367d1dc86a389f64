"""OME-Zarr metadata 0.4 and 0.5: which array is the image, what its axes are, how large a voxel is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segbench.errors import InputError
from segbench.io.units import VoxelUm, micrometres

# Axes by position, where 0.1 and 0.2 had no names.
UNNAMED = ("t", "c", "z", "y", "x")


@dataclass(frozen=True)
class Level:
    """One resolution of an image.

    Attributes:
        path: The array, below the group that has the metadata.
        axes: Names of its axes.
        units: Of the axes, None where not said.
        scale: Edges of a voxel along the axes; empty where not said.
    """

    path: str
    axes: tuple[str, ...]
    units: tuple[str | None, ...]
    scale: tuple[float, ...]

    @property
    def voxel_um(self) -> VoxelUm | None:
        """Edges in µm along (Z, Y, X); None unless all three have a unit of length."""
        if self.axes[-3:] != ("z", "y", "x") or len(self.scale) != len(self.axes):
            return None
        return micrometres(self.scale[-3:], self.units[-3:])


def levels(attributes: Mapping[str, Any], where: str) -> list[Level]:
    """Resolutions of the one image that a group describes, the highest first; empty where it describes none.

    Args:
        attributes: Of the group.
        where: For messages.

    Raises:
        InputError: Several images, or metadata that are no OME-Zarr.
    """
    ome = attributes.get("ome")  # 0.5; before it, the metadata were attributes themselves
    described = ome if isinstance(ome, Mapping) else attributes
    images = described.get("multiscales")
    if images is None:
        return []
    try:
        if len(images) != 1:
            raise InputError(f"{where}: describes {len(images)} images: choose an array, such as {where}::0")
        found = [_level(images[0], dataset) for dataset in images[0]["datasets"]]
        if not found:
            raise ValueError("no datasets")
        return found
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: damaged OME-Zarr metadata (multiscales: {error!r}): save it again") from error


def volume_axes(axes: Sequence[str], shape: Sequence[int], where: str) -> int:
    """How many axes of length 1 stand before (Z, Y, X) or (Y, X).

    Args:
        axes: Their names.
        shape: Their lengths.
        where: For messages.

    Raises:
        InputError: Another order, or several channels or times.
    """
    names = [name.lower() for name in axes]
    if len(names) != len(shape):
        raise InputError(f"{where}: {len(names)} axes ({', '.join(axes)}) for shape {tuple(shape)}: save it again")
    space = 3 if "z" in names else 2
    if names[-space:] != ["z", "y", "x"][-space:]:
        raise InputError(f"{where}: axes ({', '.join(axes)}): save it in the order z, y, x")
    for name, length in zip(names[:-space], shape, strict=False):
        if length != 1:
            raise InputError(
                f"{where}: {length} along axis {name!r}, of which none can be chosen here: save one channel at one time"
            )
    return len(names) - space


def _level(image: Any, dataset: Any) -> Level:  # noqa: ANN401
    axes = image.get("axes")
    scales = [_scale(dataset), _scale(image)]
    length = len(axes) if axes is not None else max((len(s) for s in scales if s), default=len(UNNAMED))
    axes = UNNAMED[-length:] if axes is None else axes
    names = tuple(str(axis if isinstance(axis, str) else axis["name"]).lower() for axis in axes)
    units = tuple(None if isinstance(axis, str) else axis.get("unit") for axis in axes)
    # those of the image apply after those of the dataset
    own, common = (scale or (1.0,) * length for scale in scales)
    if len(own) != length or len(common) != length:
        raise ValueError(f"scale of {len(own)} numbers for {length} axes")
    told = any(scales)
    scale = tuple(a * b for a, b in zip(own, common, strict=True)) if told else ()
    return Level(str(dataset["path"]).strip("/"), names, units, scale)


def _scale(described: Any) -> tuple[float, ...]:  # noqa: ANN401
    """The scale among the transformations; empty where there is none."""
    for change in described.get("coordinateTransformations") or ():
        if change["type"] == "scale":
            return tuple(float(edge) for edge in change["scale"])
    return ()
