"""Files in and out: images and labels as lazy volumes, results that are never half-written."""

from segbench.io.arrays import as_volume
from segbench.io.atomic import check_not_read, check_output_folder, replacing, telling, write_bytes, write_tiff
from segbench.io.checks import blocks, check_image, sampled
from segbench.io.files import file_sha256, files_of
from segbench.io.lazy import depth_range
from segbench.io.opening import open_volume, read_labels
from segbench.io.raw import Raw

__all__ = [
    "Raw",
    "as_volume",
    "blocks",
    "check_image",
    "check_not_read",
    "check_output_folder",
    "depth_range",
    "file_sha256",
    "files_of",
    "open_volume",
    "read_labels",
    "replacing",
    "sampled",
    "telling",
    "write_bytes",
    "write_tiff",
]
