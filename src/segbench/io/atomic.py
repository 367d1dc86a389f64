"""Output: a file appears under its final name whole, or not at all."""

import errno
import hashlib
import os
import secrets
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.errors import OutputError, SegbenchError

# What the medium says, whichever file it was; None: NumPy's and Pillow's short writes carry no number.
_MEDIUM = (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)

READ = (".json", ".npz")  # of what commands leave in a run's folder, what other commands read


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`, and gives it the name `path` once the block has ended well.

    The temporary name is hidden and keeps the suffix, because many writers choose the format by it. The
    content is on the disk before the name changes; if the block raises, the temporary file is removed and
    `path` stays as it was.

    Raises:
        OutputError: One line: the folder is missing or not writable, the disk is full, `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: cannot be written, it is a folder: name a file")
    temp = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        # not tempfile: its files are readable by their owner alone, and so would be the result
        os.close(os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temp
        _flush(temp)
        temp.replace(path)
        with suppress(OSError):  # some network file systems cannot flush a folder
            _flush(path.parent)
    except SegbenchError:
        raise
    except OSError as error:
        if error.errno in _MEDIUM or str(error.filename) == str(temp):
            raise OutputError(f"{path}: cannot be written ({_reason(error)}){_advice(error)}") from error
        raise
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)


@contextmanager
def telling(path: str | Path) -> Iterator[None]:
    """Turns what the operating system says while `path` is written into one line.

    Raises:
        OutputError: That line: no permission, a full disk, a folder that is missing.
    """
    try:
        yield
    except SegbenchError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({_reason(error)}){_advice(error)}") from error


def write_bytes(path: str | Path, content: bytes | str) -> None:
    """Writes `content` (text as UTF-8) to `path`, whole or not at all."""
    with replacing(path) as temp:
        temp.write_bytes(content.encode() if isinstance(content, str) else content)


def write_tiff(path: str | Path, array: npt.NDArray[Any], voxel_um: tuple[float, float, float] | None = None) -> None:
    """Writes `array` (Z, Y, X) or (Y, X) as compressed OME-TIFF, BigTIFF where needed; bool becomes uint8.

    The same array gives the same bytes: the UUID that OME asks for is made from the content.
    """
    import tifffile

    data = np.ascontiguousarray(array, dtype=np.uint8 if array.dtype == bool else None)
    axes = "ZYX" if data.ndim == 3 else "YX"
    digest = hashlib.blake2b(repr((data.shape, data.dtype.str, voxel_um)).encode(), digest_size=16)
    digest.update(data.data)
    metadata: dict[str, Any] = {"axes": axes, "UUID": str(uuid.UUID(bytes=digest.digest()))}
    for axis, size in zip("ZYX", voxel_um or (), strict=False):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    with replacing(path) as temp:
        tifffile.imwrite(
            temp, data, ome=True, photometric="minisblack", compression="zlib", metadata=metadata,
            bigtiff=data.nbytes > 2**31,
        )  # fmt: skip


def check_output_folder(path: str | Path, need_bytes: int = 0) -> Path:
    """Makes the folder `path` where it is missing, and proves that it can be written before any work starts.

    Args:
        path: The folder.
        need_bytes: Free space that the results will take.

    Raises:
        OutputError: One line: it cannot be made or written, or less than `need_bytes` are free.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{secrets.token_hex(4)}"
        try:
            probe.write_bytes(b"segbench")
        finally:
            probe.unlink(missing_ok=True)
        free = shutil.disk_usage(path).free
    except OSError as error:
        reason = f"{path}: this folder cannot be written ({_reason(error)})"
        raise OutputError(f"{reason}{_advice(error) or ': choose another one'}") from error
    if free < need_bytes:
        raise OutputError(f"{path}: {_size(need_bytes)} are needed and {_size(free)} are free: choose another disk")
    return path


def check_not_read(out: str | Path, read: Iterable[str | Path]) -> None:
    """Proves that a result would not take the place of what it is made of.

    Args:
        out: The file to write.
        read: Files, and folders of runs; what is no path of either says nothing.

    Raises:
        OutputError: One line: `out` is one of them, or what a command left in one of those folders to be read.
    """
    out = Path(out)
    for path in map(Path, read):
        inside = path.is_dir() and out.suffix in READ and path.resolve() == out.resolve().parent
        if out.exists() and (inside or (path.is_file() and path.samefile(out))):
            raise OutputError(f"{out}: is read by this very command: name another file")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: OSError) -> str:
    return error.strerror or " ".join(str(error).split()) or "short write, perhaps a full disk"


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ": free some space or choose another disk"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ": make its folder first"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ": choose a place that you may write to"
    return ""
