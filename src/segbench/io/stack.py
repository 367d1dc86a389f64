"""A stack: a folder or pattern of files with one slice each. Every header is read here, and no voxel.

slice_000.tif  slice_001.tif  slice_002.tif ...     one of Z each, along Y and X
"""

from collections.abc import Sequence
from pathlib import Path

from segbench.errors import InputError
from segbench.io.chunked import Cache, Chunked, Index
from segbench.io.files import PNG, is_folder
from segbench.io.lazy import Array, Stack
from segbench.volume import Volume


def open_stack(path: Path, files: Sequence[Path], *, labels: bool = False) -> Volume:
    """The slices `files`, in this order, as the volume that `path` names.

    Raises:
        InputError: One line that names the first file that cannot be read, holds more than a slice, or differs from
            the first one in shape or type.
    """
    first = _open_slice(files[0], labels=labels)
    volumes = [first]
    for file in files[1:]:
        one = _open_slice(file, labels=labels)
        volumes.append(one)
        if one.shape[1:] != first.shape[1:]:
            raise InputError(
                f"{file}: {one.shape[1]} x {one.shape[2]} pixels, but {files[0].name} has {first.shape[1]} x "
                f"{first.shape[2]}: a stack needs slices of one shape"
            )
        if one.data.dtype != first.data.dtype:
            raise InputError(
                f"{file}: {one.data.dtype}, but {files[0].name} has {first.data.dtype}: "
                "a stack needs slices of one type"
            )
    planes = [volume.data for volume in volumes]
    packed = [plane for plane in planes if isinstance(plane, Chunked)]
    if len(packed) < len(planes):
        return Volume(Stack(planes), None, str(path))
    # one memory of decoded blocks for the whole stack, in place of one for each slice
    blocks = {plane.block for plane in packed}
    _, height, width = first.shape
    block = blocks.pop() if len(blocks) == 1 else (1, height, width)
    decode = _Slices(packed, block)
    return Volume(Chunked((len(files), height, width), packed[0].dtype, block, decode), None, str(path))


class _Slices:
    """Gives a block of the slice that it lies in."""

    def __init__(self, planes: Sequence[Chunked], block: Index) -> None:
        self.planes, self.block = tuple(planes), block

    def __call__(self, index: Index) -> Array:
        z, *inside = index
        plane = self.planes[z]
        return plane.decode((0, *inside)) if plane.block == self.block else plane[:]  # type: ignore[arg-type]


def _open_slice(file: Path, *, labels: bool) -> Volume:
    if is_folder(file):
        raise InputError(f"{file}: a folder with the name of a slice: move it away, or give a pattern")
    try:
        if file.stat().st_size == 0:
            raise InputError(f"{file}: empty file of 0 bytes: copy it again")
        with file.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}): check its permissions") from error
    if file.suffix.lower() in PNG:
        from segbench.io.png import open_png

        return Volume(open_png(file, labels=labels), None, str(file))
    from segbench.io.tiff import open_tiff

    volume = open_tiff(file)
    if volume.shape[0] != 1:
        raise InputError(f"{file}: holds {volume.shape[0]} slices, but a stack takes one each: give this file alone")
    if isinstance(volume.data, Chunked):
        volume.data.cache = Cache(0)
    return volume
