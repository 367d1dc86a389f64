"""A result as BigTIFF files, one for each map and each label image, for programs that do not read zarr."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.predict.job import Job
from segbench.predict.result import MAPS, SEGMENTATION, Result
from segbench.predict.summary import SUMMARY, Summary


def write_tiffs(result: Result, job: Job, summary: Summary, folder: Path, progress: Callable[[int, int], None]) -> Path:
    """Writes the arrays of `result` into a new folder, plane by plane, and returns it."""
    import tifffile

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = {name: result.array("0") for name in MAPS}
    names |= {("labels" if n == SEGMENTATION else n): result.array(f"labels/{n}/0") for n in result.labels}
    depth = result.grid.volume[0]
    done = 0
    for name, array in names.items():
        channel = MAPS.index(name) if name in MAPS else None

        def planes(array: Any = array, channel: int | None = channel) -> Iterator[npt.NDArray[Any]]:  # noqa: ANN401
            nonlocal done
            step = result.grid.cores[0]
            for start in range(0, depth, step):
                part = slice(start, min(start + step, depth))
                for plane in np.asarray(array[part] if channel is None else array[channel, part]):
                    yield plane
                    done += 1
                    progress(done, depth * len(names))

        tifffile.imwrite(
            folder / f"{name}.tif", planes(), shape=result.grid.volume, dtype=array.dtype, bigtiff=True,
            photometric="minisblack", compression="zlib", metadata=None, software="segbench", datetime=None,
            **_resolution(job),
        )  # fmt: skip
    (folder / SUMMARY).write_text(json.dumps(summary.attributes(), indent=1) + "\n")
    return folder


def _resolution(job: Job) -> dict[str, Any]:
    """Voxels a centimetre along X and Y, and ImageJ's spacing along Z."""
    voxel = job.wanted.voxel_um
    if voxel is None:
        return {}
    z, y, x = voxel
    return {
        "resolution": (1e4 / x, 1e4 / y),
        "resolutionunit": "CENTIMETER",
        "description": f"images={job.wanted.shape[0]}\nslices={job.wanted.shape[0]}\nunit=um\nspacing={z}\n",
    }
