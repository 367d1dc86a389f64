"""Tiles: every voxel once, replicated borders, one shape for all tiles of a grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench.errors import InputError
from segbench.tiling import Grid, read

edges = st.tuples(*[st.integers(1, 23)] * 3)


halos, multiples = st.tuples(*[st.integers(0, 5)] * 3), st.tuples(*[st.integers(1, 4)] * 3)


@settings(deadline=None)  # up to some thousand tiles
@given(volume=edges, core=edges, halo=halos, multiple=multiples)
def test_splitting_and_stitching_gives_the_volume_back(volume, core, halo, multiple):
    data = np.random.default_rng(0).standard_normal(volume).astype(np.float32)
    stitched, hits = np.full(volume, np.nan, np.float32), np.zeros(volume, np.int64)
    grid = Grid(volume, core, halo, multiple)
    tiles = list(grid)
    assert len(tiles) == len(grid)
    for tile in tiles:
        block = read(data, tile)
        assert block.shape == tile.shape == grid.shape
        assert all(n % m == 0 for n, m in zip(block.shape, multiple, strict=True))
        stitched[tile.core] = block[tile.inner]
        hits[tile.core] += 1
    assert (hits == 1).all()
    np.testing.assert_array_equal(stitched, data)


def test_what_lies_outside_is_the_replicated_border():
    data = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)
    grid = Grid((4, 5, 6), (4, 5, 6), (2, 3, 1))
    (tile,) = grid
    np.testing.assert_array_equal(read(data, tile), np.pad(data, ((2, 2), (3, 3), (1, 1)), mode="edge"))


def test_inner_tiles_read_their_neighbours_and_not_copies():
    data = np.random.default_rng(0).standard_normal((12, 12, 12)).astype(np.float32)
    tile = list(Grid((12, 12, 12), (4, 4, 4), (2, 2, 2)))[13]
    assert tile.core == (slice(4, 8),) * 3
    np.testing.assert_array_equal(read(data, tile), data[2:10, 2:10, 2:10])


def test_a_tile_reads_only_what_it_needs():
    class Watched:
        shape, dtype, asked = (1000, 1000, 1000), np.dtype(np.uint8), None

        def __getitem__(self, key):
            Watched.asked = key
            return np.zeros([s.stop - s.start for s in key], np.uint8)

    read(Watched(), next(iter(Grid((1000, 1000, 1000), (96, 96, 96), (12, 12, 12)))))
    assert Watched.asked == (slice(0, 103),) * 3


def test_short_axes_get_short_tiles_unless_the_tile_is_fixed():
    assert Grid((1, 50, 570), (96, 96, 96), (12, 12, 12), (8, 8, 8)).shape == (32, 80, 120)
    assert Grid((1, 50, 500), (96, 96, 96), (12, 12, 12), (8, 8, 8), fixed=True).shape == (120, 120, 120)


@pytest.mark.parametrize(
    ("depth", "shape", "count"),
    [(1, (1, 184, 288), 4), (3, (3, 184, 288), 4), (8, (8, 184, 288), 4), (20, (7, 184, 288), 12)],
)
def test_a_network_of_slices_reads_no_slice_in_vain(depth, shape, count):
    grid = Grid((depth, 300, 500), (8, 256, 256), (0, 16, 16), (1, 8, 8))
    assert (grid.shape, len(list(grid))) == (shape, count)
    assert {tile.inner[0].start for tile in grid} == {0}


@given(volume=edges, core=edges, halo=halos, multiple=multiples)
def test_tiles_share_an_axis_evenly_and_are_no_more_than_they_must_be(volume, core, halo, multiple):
    grid = Grid(volume, core, halo, multiple)
    whole = Grid(volume, core, halo, multiple, fixed=True)
    assert len(grid) <= len(whole)
    assert all(a <= b for a, b in zip(grid.shape, whole.shape, strict=True))


def test_a_little_more_than_one_tile_is_two_of_half_the_size():
    grid = Grid((100, 160, 256), (96, 96, 96), (16, 16, 16), (8, 8, 8))
    assert grid.cores == (56, 80, 88)
    assert grid.shape == (88, 112, 120)
    assert [tile.start[0] for tile in grid][::6] == [0, 56]


bad_grids = [
    ((0, 1, 1), (4, 4, 4), (0, 0, 0)),
    ((4, 4, 4), (0, 4, 4), (0, 0, 0)),
    ((4, 4, 4), (4, 4, 4), (0, 0, 0), (1, 0, 1)),
]


@pytest.mark.parametrize("bad", bad_grids)
def test_impossible_grids_are_refused(bad):
    with pytest.raises(InputError):
        Grid(*bad)
