"""Lazy arrays: any index gives what NumPy gives, blocks are decoded once, and memory stays bounded."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import dask.array
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from scans import picture

from segbench.errors import InputError
from segbench.io import as_volume, chunked, depth_range
from segbench.io.chunked import Cache, Chunked, corner, grouped
from segbench.io.lazy import Direct, Mapped, Scaled, Stack
from segbench.tiling import Grid, read
from segbench.volume import LazyArray, Volume

SHAPE = (5, 7, 9)


def counting(array, block, cache=None):
    """A chunked array over `array`, and the list of blocks that were decoded."""
    seen = []

    def decode(index):
        seen.append(index)
        return array[corner(index, block, array.shape)]

    return Chunked(array.shape, array.dtype, block, decode, cache), seen


def lazies(tmp_path):
    array = picture(SHAPE)
    (tmp_path / "raw").write_bytes(b"xxx" + array.astype(">u2").tobytes())
    (tmp_path / "fortran").write_bytes(array.tobytes("F"))
    yield Mapped(tmp_path / "raw", np.dtype(">u2"), 3, SHAPE)
    yield Mapped(tmp_path / "fortran", np.dtype("<u2"), 0, SHAPE, "F")
    yield Direct(SHAPE, array.dtype, array.__getitem__)
    yield Stack([counting(array[z : z + 1], (1, 3, 4))[0] for z in range(5)])
    yield Scaled(array.astype(np.float64), 1, 0)
    yield depth_range(
        Volume(Direct((8, 7, 9), array.dtype, np.pad(array, ((2, 1), (0, 0), (0, 0))).__getitem__)), 2, 7
    ).data
    for block in ((1, 1, 1), (2, 3, 4), (5, 7, 9), (16, 16, 16)):
        yield counting(array, block)[0]
        yield counting(array, block, Cache(0))[0]


index = st.one_of(st.integers(-5, 4), st.slices(5), st.slices(9), st.just(Ellipsis))


def test_every_lazy_array_indexes_like_numpy(tmp_path):
    array, kinds = picture(SHAPE), list(lazies(tmp_path))

    @given(st.lists(index, max_size=3).filter(lambda k: k.count(Ellipsis) < 2))
    def check(keys):
        for lazy in kinds:
            assert isinstance(lazy, LazyArray)
            got, wanted = lazy[tuple(keys)], array[tuple(keys)]
            assert np.shape(got) == np.shape(wanted)
            np.testing.assert_array_equal(got, wanted)

    check()


def test_what_is_read_is_a_copy_in_the_order_of_the_machine(tmp_path):
    for lazy in lazies(tmp_path):
        before = lazy[...]
        assert before.dtype.isnative
        before[...] = 0
        assert lazy[...].any()


@pytest.mark.parametrize("key", [[0, 1], (0, 0, 0, 0), np.ones(SHAPE, bool), None, True, "a", 1.5])
def test_an_index_of_another_kind_is_refused(key):
    with pytest.raises(IndexError, match="up to three integers or slices"):
        counting(picture(SHAPE), (2, 2, 2))[0][key]
    with pytest.raises(IndexError):
        counting(picture(SHAPE), (2, 2, 2))[0][5]


def test_only_the_blocks_that_are_touched_are_decoded_and_each_once():
    lazy, seen = counting(picture((8, 8, 8)), (4, 4, 4))
    lazy[5, 0:3, ::5]
    assert sorted(seen) == [(1, 0, 0), (1, 0, 1)]
    lazy[4:6, 1, 7]
    assert len(seen) == 2
    lazy[::100, ::100, ::100]
    assert seen[2:] == [(0, 0, 0)]


def tile_by_tile(data):
    for tile in Grid(data.shape, (8, 8, 8), (4, 4, 4)):
        read(data, tile)


def test_reading_tile_by_tile_does_not_decode_a_slice_for_every_tile(monkeypatch):
    """24 slices of one block each; 64 tiles in each of three layers touch up to 16 of them."""
    monkeypatch.setattr(chunked, "CACHE_BYTES", 0)
    lazy, seen = counting(picture((24, 64, 64), np.uint8), (1, 64, 64))
    tile_by_tile(lazy)
    assert len(seen) == 24  # and in a memory without room for them:
    lazy, seen = counting(picture((24, 64, 64), np.uint8), (1, 64, 64), Cache(0))
    tile_by_tile(lazy)
    assert len(seen) > 1000


def test_a_read_that_is_too_large_for_the_memory_leaves_in_it_what_it_held():
    array = picture((8, 4, 4), np.uint8)
    lazy, seen = counting(array, (1, 4, 4), Cache(6 * 16))
    for _ in range(10):
        np.testing.assert_array_equal(lazy[:], array)
    assert len(seen) == 8 + 9 * 2  # the least recently used first would decode all 80


def test_what_was_used_last_stays():
    lazy, seen = counting(picture((4, 4, 4), np.uint8), (1, 4, 4), Cache(2 * 16))
    for z in (0, 1, 0, 2, 0, 1):
        lazy[z]
    assert [index[0] for index in seen] == [0, 1, 2, 1]


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(chunked, "CACHE_BYTES", 3 * 64)
    monkeypatch.setattr(chunked, "TILE_BYTES", 8 * 64)
    lazy, _ = counting(picture((16, 16, 16), np.uint8), (4, 4, 4))

    def held():
        return sum(held.block.nbytes for held in lazy.cache._held.values())

    lazy[:]
    assert held() == lazy.cache._bytes == 3 * 64  # 64 blocks are no tile
    lazy[:8, :8, :8]
    assert held() == lazy.cache._bytes == 8 * 64  # eight are one
    lazy[15, 15, 15]
    assert held() == lazy.cache._bytes == 3 * 64


def test_a_block_that_several_threads_want_is_decoded_once_and_an_error_reaches_all():
    array, go, calls = picture((4, 4, 4)), threading.Event(), []

    def decode(at):
        calls.append(at)
        go.wait(5)
        if len(calls) == 1:
            raise InputError("damaged")
        return array

    lazy = Chunked((4, 4, 4), array.dtype, (4, 4, 4), decode)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(lazy.__getitem__, 0) for _ in range(4)]
        while not calls:
            pass
        go.set()
        failed = [task.exception() for task in waiting]
    assert any(isinstance(error, InputError) for error in failed)
    np.testing.assert_array_equal(lazy[:], array)  # an error is not kept
    assert len(calls) <= 4


def test_workers_decode_the_blocks_of_one_read_together():
    array, together = picture((4, 4, 4)), threading.Barrier(4, timeout=5)

    def decode(at):
        together.wait()
        return array[corner(at, (4, 2, 2), array.shape)]

    np.testing.assert_array_equal(Chunked(array.shape, array.dtype, (4, 2, 2), decode, workers=4)[:], array)


@pytest.mark.parametrize(
    ("chunk", "shape", "itemsize"),
    [
        ((1, 1, 2048), (500, 600, 2048), 2),
        ((8, 8, 8), (500, 500, 500), 1),
        ((64, 64, 64), (70, 70, 70), 4),
        ((1, 5, 5), (3, 5, 5), 1),
    ],
)
def test_small_chunks_are_read_together(chunk, shape, itemsize):
    block = grouped(chunk, shape, itemsize)
    assert all(b % c == 0 for b, c in zip(block, chunk, strict=True))
    assert np.prod(block) * itemsize >= chunked.BLOCK_BYTES or all(b >= n for b, n in zip(block, shape, strict=True))
    assert np.prod(block) * itemsize < 2 * max(chunked.BLOCK_BYTES, np.prod(chunk) * itemsize)


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr 2", "zarr 3", "volume"])
def test_arrays_of_python_are_volumes(kind, tmp_path):
    array = picture(SHAPE)
    given_array = {
        "numpy": lambda: array,
        "dask": lambda: dask.array.from_array(array, chunks=2),
        "zarr 2": lambda: zarr.create_array(tmp_path / "a", data=array, chunks=(2, 2, 2), zarr_format=2),
        "zarr 3": lambda: zarr.create_array(tmp_path / "a", data=array, chunks=(2, 2, 2)),
        "volume": lambda: Volume(array),
    }[kind]()
    volume = as_volume(given_array, 2, "mine")
    assert volume.voxel_um == (2, 2, 2)
    assert volume.source == ("array" if kind == "volume" else "mine")
    np.testing.assert_array_equal(volume.data[1:3, 4, ::2], array[1:3, 4, ::2])
    np.testing.assert_array_equal(np.asarray(volume.data), array)
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(volume)).data), array)
    if kind in ("numpy", "dask"):
        assert as_volume(given_array[0]).shape == (1, 7, 9)


def test_dask_is_computed_only_where_it_is_read():
    computed = []
    lazy = dask.array.map_blocks(
        lambda part, block_id=None: computed.append(block_id) or part,
        dask.array.zeros((8, 8, 8), chunks=4),
        meta=np.empty(0),
    )
    volume = as_volume(lazy)
    assert computed == []
    np.asarray(volume.data[5, 0:3, 7])
    assert computed == [(1, 0, 1)]


def test_a_zarr_array_with_missing_chunks_is_no_volume_unless_allowed():
    array = zarr.create_array({}, shape=(4, 4, 4), chunks=(2, 2, 2), dtype="u1", fill_value=7)
    array[:2] = 1
    with pytest.raises(InputError, match="chunk c/1/0/0 is missing"):
        as_volume(array).data[:]
    assert (as_volume(array, allow_missing_chunks=True).data[2:] == 7).all()


@pytest.mark.parametrize(
    "wrong",
    [[[1, 2], [3, 4]], np.zeros(5), np.zeros((2, 2, 2, 2)), np.zeros((0, 3, 3)), np.zeros((2, 2), complex), None,
     "a.tif", np.ma.masked_equal(np.zeros((2, 2)), 0), np.zeros((2, 2), object), dask.array.zeros((2, 2, 2, 2)),
     dask.array.zeros((4, 4))[dask.array.zeros(4) > 0]],
    ids=lambda wrong: type(wrong).__name__,
)  # fmt: skip
def test_what_is_no_volume_is_said_in_a_line(wrong):
    with pytest.raises(InputError) as caught:
        as_volume(wrong)
    assert "\n" not in str(caught.value)
