"""One volume in every format: the same voxels, the same voxel size, lazily, from threads and other processes."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from scans import CANNOT, FORMATS, SIZED, VOXEL_UM, picture, write

import segbench
from segbench.io import open_volume

CASES = [
    (name, dtype)
    for name, dtype in product(FORMATS, (np.uint8, np.uint16, np.int16, np.float32))
    if dtype not in CANNOT.get(name, ())
]


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_every_format_gives_the_same_voxels_and_voxel_size(tmp_path, name, dtype):
    array = picture(dtype=dtype)
    volume = open_volume(write(tmp_path, name, array))
    assert volume.shape == array.shape
    assert volume.data.dtype == dtype
    assert volume.data.dtype.isnative
    assert volume.voxel_um == (pytest.approx(VOXEL_UM, rel=1e-6) if name in SIZED else None)
    np.testing.assert_array_equal(np.asarray(volume.data), array)
    for key in (
        2,
        slice(1, 4),
        (slice(None), 3),
        (slice(3, 1, -1), slice(2, 11, 3), slice(-9, None)),
        (..., -1),
        (4, 5, 6),
    ):
        part = volume.data[key]
        assert part.dtype == dtype
        np.testing.assert_array_equal(part, array[key])


@pytest.mark.parametrize("name", FORMATS)
def test_an_overridden_voxel_size_stands_above_the_file(tmp_path, name):
    assert segbench.open_volume(write(tmp_path, name, picture()), 3).voxel_um == (3, 3, 3)


def read_all(volumes):
    return [np.asarray(volume.data) for volume in volumes]


def test_a_volume_of_every_kind_can_be_read_in_another_process(tmp_path):
    array = picture()
    volumes = [open_volume(write(tmp_path, name, array)) for name in FORMATS]
    for volume in volumes:
        np.asarray(volume.data[0])  # a memory of blocks and an open store must not travel
    # a Pool would wait for ever where a worker cannot unpickle
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for name, got in zip(FORMATS, pool.submit(read_all, volumes).result(), strict=True):
            np.testing.assert_array_equal(got, array, err_msg=name)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_pickled_is_where_the_voxels_are_and_not_the_voxels(tmp_path, name):
    array = picture((4, 24, 50))
    volume = open_volume(write(tmp_path, name, array))
    np.asarray(volume.data)
    pickled = pickle.dumps(volume)
    assert len(pickled) < 4000
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickled).data), array)


@pytest.mark.parametrize("name", FORMATS)
def test_threads_read_one_volume_together(tmp_path, name):
    array = picture((6, 24, 33))
    data = open_volume(write(tmp_path, name, array)).data
    boxes = [
        (slice(z, z + 3), slice(y, y + 9), slice(x, x + 13)) for z in range(4) for y in (0, 7, 14) for x in (0, 20)
    ]
    with ThreadPoolExecutor(8) as pool:
        for box, got in zip(boxes * 3, pool.map(data.__getitem__, boxes * 3), strict=True):
            np.testing.assert_array_equal(got, array[box])


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.startswith(("stack", "pattern"))])
def test_a_single_slice_has_a_depth_of_one(tmp_path, name):
    array = picture((1, 12, 17))
    volume = open_volume(write(tmp_path, name, array))
    assert volume.shape == array.shape
    np.testing.assert_array_equal(np.asarray(volume.data), array)
