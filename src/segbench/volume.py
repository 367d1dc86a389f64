"""The one type that carries an image: a lazy array with its voxel size and where it came from."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from segbench.errors import InputError

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


@runtime_checkable
class LazyArray(Protocol):
    """What a volume needs of its data: a NumPy array, a memory map or a zarr array all have it."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> Any: ...  # noqa: ANN401, D102
    def __getitem__(self, key: Any, /) -> Any: ...  # noqa: ANN401


@dataclass(frozen=True)
class Volume:
    """An image in the axis order (Z, Y, X); a single slice has Z = 1.

    Attributes:
        data: Array of shape (Z, Y, X), read lazily where its kind allows.
        voxel_um: Edge lengths of a voxel in µm along (Z, Y, X), or None where unknown. Never invented.
        source: Where it came from, for messages and provenance.
    """

    data: LazyArray
    voxel_um: tuple[float, float, float] | None = None
    source: str = "array"

    def __post_init__(self) -> None:
        if len(self.data.shape) != 3:
            raise InputError(f"{self.source}: a volume has three axes (Z, Y, X), this one has shape {self.data.shape}")
        if 0 in self.data.shape:
            raise InputError(f"{self.source}: empty volume of shape {self.data.shape}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (Z, Y, X)."""
        z, y, x = self.data.shape
        return int(z), int(y), int(x)
