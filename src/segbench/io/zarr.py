"""Zarr 2 and 3, plain or OME-Zarr 0.4 and 0.5, in a folder or behind a URL: one array, read by chunks.

Zarr fills a missing chunk with the fill value and says nothing. Here it is an error unless the caller allows it.
"""

from functools import partial
from typing import Any

from segbench.errors import InputError, UnknownNameError
from segbench.io.extras import missing
from segbench.io.location import Location
from segbench.io.message import line, printable
from segbench.io.ngff import Level, levels
from segbench.io.zarr_array import array_at, lazy_zarr
from segbench.volume import Volume

SHOWN = 8
# Chunks of one read that are asked of a server at once.
REMOTE_WORKERS = 8


def open_zarr(location: Location, *, allow_missing: bool = False) -> Volume:
    """The array `location.inner` of a store, else its image's highest resolution, else the only volume in it.

    Args:
        location: A folder or URL.
        allow_missing: Whether missing chunks are read as the fill value.

    Raises:
        InputError: One line: a library is missing; no zarr, or damaged metadata; no such array, or several; not of
            two or three axes in the order (Z, Y, X), other axes being of length 1; a chunk too large to be read.
    """
    try:
        import zarr  # noqa: F401

        if location.remote:
            import fsspec  # noqa: F401
    except ImportError as error:
        raise missing(error.name or "zarr", str(location)) from error
    try:
        array, path, level = _choose(location, allow_missing=allow_missing)
        where = printable(str(Location(location.root, path)))
        data = lazy_zarr(
            array,
            partial(array_at, location, path, allow_missing),
            where,
            level,
            REMOTE_WORKERS if location.remote else 1,
        )
    except InputError:
        raise
    except ImportError as error:  # a scheme such as s3:// whose library is missing
        raise InputError(f"{location}: {line(error)}") from error
    except Exception as error:  # metadata of a stranger: whatever they set off is their fault
        what = "cannot be reached, is no zarr, or" if location.remote else "no zarr, or its metadata"
        raise InputError(f"{location}: {what} damaged ({line(error)}): check it, or copy it again") from error
    return Volume(data, level.voxel_um if level else None, where)


def _choose(location: Location, *, allow_missing: bool) -> tuple[Any, str, Level | None]:
    """The array, its path in the store, and what OME-Zarr says of it."""
    import zarr

    from segbench.io.zarr_store import store_at

    store = store_at(location, allow_missing=allow_missing)
    try:
        node = zarr.open(store=store, path=location.inner, mode="r")
    except FileNotFoundError as error:
        if not location.inner:
            raise
        if location.remote:
            raise InputError(f"{location.root}: has no array /{location.inner}: check what follows the ::") from error
        names = [name for name, _ in _members(zarr.open_group(store=store, mode="r"))]
        raise UnknownNameError(f"array of {location.root}", f"/{location.inner}", names) from error
    if isinstance(node, zarr.Array):
        return node, location.inner, _level_of(location, allow_missing=allow_missing)
    found = levels(node.attrs.asdict(), str(location))
    if found:
        path = "/".join(part for part in (location.inner, found[0].path) if part)
        return array_at(location, path, allow_missing), path, found[0]
    if location.remote and node.metadata.consolidated_metadata is None:
        raise InputError(f"{location}: a group, and a URL cannot be searched: name the array, such as {location}::/0")
    there = _members(node)
    for axes in (3, 2):
        volumes = [(name, array) for name, array in there if array.ndim == axes]
        if len(volumes) == 1:
            path = "/".join(part for part in (location.inner, volumes[0][0].strip("/")) if part)
            return volumes[0][1], path, None
        if volumes:
            raise InputError(
                f"{location}: holds {len(volumes)} arrays: {_list(volumes)}: choose one, such as "
                f"{location.root}::{volumes[0][0]}"
            )
    raise InputError(f"{location}: holds no array of the axes (Z, Y, X), only: {_list(there) or 'nothing'}")


def _members(group: Any) -> list[tuple[str, Any]]:  # noqa: ANN401
    """Arrays below `group`, not deep: a loop of links must end."""
    import zarr

    return [(f"/{name}", node) for name, node in sorted(group.members(max_depth=3)) if isinstance(node, zarr.Array)]


def _level_of(location: Location, *, allow_missing: bool) -> Level | None:
    """What a group above an array says of it."""
    import zarr

    from segbench.io.zarr_store import store_at

    parts = [part for part in location.inner.split("/") if part]
    if parts:
        above = [Location(location.root, "/".join(parts[:n])) for n in range(len(parts) - 1, -1, -1)]
    else:
        folder, _, name = location.root.rstrip("/").rpartition("/")
        parts, above = [name], [Location(folder or ".")]
    for group in above:
        try:
            store = store_at(group, allow_missing=allow_missing)
            attributes = zarr.open_group(store=store, path=group.inner, mode="r").attrs.asdict()
            found = levels(attributes, str(group))
        except Exception:  # nothing has to be there; where the array lies says nothing against it
            continue
        rest = "/".join(parts[len([p for p in group.inner.split("/") if p]) :])
        return next((level for level in found if level.path == rest), None)
    return None


def _list(arrays: list[tuple[str, Any]]) -> str:
    shown = ", ".join(f"{name} {tuple(array.shape)} {array.dtype}" for name, array in arrays[:SHOWN])
    return shown + (", ..." if len(arrays) > SHOWN else "")
