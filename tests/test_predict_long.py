"""What takes minutes: `make test-long`. Measured figures are in docs/predict.md."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from conftest import blobs
from test_predict_scan import command, killed_runs, tree

from segbench.data import battery16
from segbench.data.domains import DOMAINS

pytestmark = pytest.mark.long


def test_a_hundred_kills_lose_nothing(tiny, tmp_path):
    scan = tmp_path / "scan.tif"
    tifffile.imwrite(scan, (blobs((128, 128, 128)) * 200).astype(np.uint8))
    subprocess.run(command(scan, tmp_path / "b.zarr", tiny.path, "--quiet"), check=True)
    expected, rng = tree(tmp_path / "b.zarr"), np.random.default_rng(0)
    for number in range(25):  # four kills each
        out = tmp_path / f"{number}.zarr"
        killed_runs(scan, tiny.path, out, 4, rng)
        assert tree(out) == expected


def test_memory_does_not_grow_with_the_volume(tmp_path):
    """512^3 voxels with the default model stay within 2 GiB."""
    (case,) = battery16.load({"Tesla": DOMAINS["Tesla"]}, 96)
    grey = np.round((case.image - case.image.min()) / np.ptp(case.image) * 255).astype(np.uint8)
    scan = tmp_path / "scan.tif"
    tiled = np.tile(grey, (1, 6, 6))[:, :512, :512]
    with tifffile.TiffWriter(scan, bigtiff=True) as writer:
        for z in range(512):
            writer.write(tiled[z % 96], contiguous=True)
    run = [sys.executable, "-m", "segbench", "predict", str(scan), "--out", str(tmp_path / "a.zarr"), "--quiet"]
    # of this process alone: RUSAGE_CHILDREN is the most of any that a test ran before
    process = subprocess.Popen(run)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    peak = used.ru_maxrss / 2**20
    sys.stderr.write(f"peak {peak:.2f} GiB\n")
    assert peak < 2
