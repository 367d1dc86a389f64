"""Grey values: the scale they come in does not matter, and what is no part of the scan does not set it."""

import numpy as np
import pytest
from conftest import blobs

import segbench
from segbench.data.battery16 import make_case
from segbench.data.domains import DOMAINS
from segbench.errors import InputError
from segbench.io.chunked import Cache, Chunked
from segbench.normalisation import Normalisation, Normalised, constant_exterior, fit
from segbench.tiling import Grid, read
from segbench.volume import Volume

PLAIN = Normalisation()
CLIPPED = Normalisation(clip_percentiles=(0.1, 99.9))
LEAVING_OUT = Normalisation(clip_percentiles=(0.1, 99.9), exterior=True)
SHAPE = (20, 64, 72)


def whole(how, data, **options):
    """The normalised volume."""
    return fit(how, Volume(data), **options)(data)


def levels(shape=SHAPE, highest=4000, seed=0):
    """Integers from 0 to `highest`: every type below holds them, scaled and shifted, without rounding."""
    image = blobs(shape, seed).astype(np.float64)
    return np.rint((image - image.min()) / (image.max() - image.min()) * highest)


def disc(shape=SHAPE):
    """True outside a round field of view."""
    y, x = (np.linspace(-1, 1, n) for n in shape[1:])
    return np.broadcast_to(y[:, None] ** 2 + x**2 > 1, shape)


@pytest.mark.parametrize("how", [PLAIN, CLIPPED], ids=["plain", "clipped"])
@pytest.mark.parametrize(
    ("kind", "factor", "offset"),
    [
        (np.uint16, 1, 0),
        (np.uint16, 13, 13000),
        (np.int16, 1, -2000),
        (np.int32, 100000, -(10**9)),
        (np.float16, 0.25, 0),
        (np.float32, 2.0**-30, 0),
        (np.float32, 2.0**-12, -0.5),
        (np.float64, 1 / 4000, 1e6),
        (np.float32, 1, 1e6),
        (np.float64, 1e-100, 0),
    ],
)
def test_type_factor_and_offset_do_not_matter(how, kind, factor, offset):
    """Tolerance: rounding of a float64 around the offset, seen in units of the contrast."""
    base = levels(highest=2000 if kind is np.float16 else 4000)
    given = (base * factor + offset).astype(kind)
    np.testing.assert_allclose(whole(how, given), whole(how, base), atol=2e-6)


def test_a_contrast_that_float32_cannot_hold_survives():
    """A contrast of 1 at 10^8, where float32 knows steps of 8: the normalised image as if there were no offset."""
    base = levels() / 4000
    volume = Volume(base + 1e8)
    tile = next(iter(Grid(SHAPE, (16, 32, 32), (4, 4, 4))))
    seen = read(Normalised(volume.data, fit(CLIPPED, volume)), tile)
    expected = read(whole(CLIPPED, base), tile)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_mean_and_deviation_are_those_of_numpy_however_the_volume_is_cut(monkeypatch):
    data = levels() * 1e-6 + 1e3
    expected = (data - data.mean()) / data.std()
    for voxels in (1, 64 * 72 * 3, 2**24):
        monkeypatch.setattr("segbench.io.checks.BLOCK_VOXELS", voxels)
        scaling = fit(PLAIN, Volume(data))
        assert scaling.offset == pytest.approx(data.mean(), rel=1e-15)
        assert scaling.scale == pytest.approx(data.std(), rel=1e-10)
        np.testing.assert_allclose(scaling(data), expected, atol=1e-6)


def test_eight_bits_lose_half_a_step_and_no_more():
    """256 levels over 7.6 standard deviations: at most 0.015 from rounding, 0.03 with the clipping's last level."""
    data = blobs((24, 80, 80), seed=1)
    low, high = np.percentile(data, [0.1, 99.9])
    narrow = np.rint(np.clip((data - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    apart = whole(CLIPPED, narrow) - whole(CLIPPED, data)
    assert np.abs(apart).max() < 0.03
    assert abs(apart.mean()) < 1e-3


def test_the_labels_of_a_scan_do_not_depend_on_its_type():
    """The released model on one domain of battery16; 8 bits cost rounding, every other type next to nothing."""
    image = make_case(DOMAINS["Litarion"], 40, 0).image.astype(np.float64)
    low, high = np.percentile(image, [0.1, 99.9])
    u = (image - image.min()) / (image.max() - image.min())
    model = segbench.load("vnet-battery", threads=1)
    expected = model.predict(image.astype(np.float32), samples=4).labels
    given = {
        "8 bit": np.rint(np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8),
        "16 bit": np.rint(13000 + u * (65535 - 13000)).astype(np.uint16),
        "float at a million": 1e6 + u,
    }
    differ = {name: np.mean(model.predict(data, samples=4).labels != expected) for name, data in given.items()}
    assert max(differ.values()) <= 1e-3, differ
    assert differ["float at a million"] <= 1e-4, differ


def test_inverting_negates():
    data = levels()
    straight = whole(PLAIN, data)
    np.testing.assert_array_equal(whole(PLAIN, data, invert=True), -straight)
    np.testing.assert_allclose(whole(PLAIN, -data, invert=True), straight, atol=1e-6)


@pytest.mark.parametrize("fill", [0.0, 65535.0, -1e30, 2000.0])
@pytest.mark.parametrize("clip", [None, (0.1, 99.9)])
def test_a_constant_exterior_sets_nothing(fill, clip):
    """Inside, the z-score of the inside alone; outside, void. Exact to rounding."""
    data, outside = levels() + 1, disc()
    inside = data[~outside]
    given = np.where(outside, fill, data)
    given[given == fill] += ~outside[given == fill]  # 2000 is a level of the scan: kept apart here
    inside = given[~outside]
    low, high = (inside.min(), inside.max()) if clip is None else np.percentile(inside, clip, method="inverted_cdf")
    clipped = np.clip(inside, low, high)
    how = Normalisation(clip_percentiles=clip, exterior=True)
    seen = whole(how, given)
    np.testing.assert_allclose(seen[~outside], (clipped - clipped.mean()) / clipped.std(), atol=1e-6)
    assert (seen[outside] == -1).all()
    if abs(fill) > 5000:
        assert not np.allclose(whole(how.model_copy(update={"exterior": False}), given), seen, atol=0.1)


def test_the_exterior_of_an_inverted_scan_is_void_as_well():
    data, outside = levels() + 1, disc()
    seen = whole(LEAVING_OUT, np.where(outside, 0, data), invert=True)
    assert (seen[outside] == -1).all()
    assert seen[~outside].max() > 2


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_an_exterior_is_found_in_every_type_and_read_slice_by_slice(kind):
    data = np.where(disc(), 0, levels(highest=250) + 1).astype(kind)
    read_planes = []
    plane = (1, *SHAPE[1:])
    lazy = Chunked(SHAPE, np.dtype(kind), plane, lambda at: read_planes.append(at[0]) or data[at[0]][None], Cache(0))
    assert constant_exterior(Volume(lazy)) == 0
    assert len(set(read_planes)) == len(read_planes) <= 9
    assert fit(LEAVING_OUT, Volume(lazy)) == fit(LEAVING_OUT, Volume(data))


def test_what_is_no_constant_exterior_is_none():
    data, outside = levels() + 1, disc()
    filled = np.where(outside, 0, data)
    assert constant_exterior(Volume(filled)) == 0
    assert constant_exterior(Volume(data)) is None
    one_corner = filled.copy()
    one_corner[10, 0, 0] = 1
    assert constant_exterior(Volume(np.repeat(one_corner[10:11], 20, axis=0))) is None
    drifting = filled + np.arange(20)[:, None, None] * outside
    assert constant_exterior(Volume(drifting)) is None, "another value in every slice"
    only_corners = data.copy()
    for ys in (slice(3), slice(-3, None)):
        for xs in (slice(3), slice(-3, None)):
            only_corners[:, ys, xs] = 0
    assert constant_exterior(Volume(only_corners)) is None, "36 of 4608 voxels are less than a percent"
    assert constant_exterior(Volume(np.zeros(SHAPE))) is None, "nothing is left"


def test_without_an_exterior_the_switch_changes_nothing():
    for data in (levels(), blobs(SHAPE)):
        a, b = fit(CLIPPED, Volume(data)), fit(LEAVING_OUT, Volume(data))
        assert a == b
    filled = np.where(disc(), 0, levels())
    assert fit(CLIPPED, Volume(filled)).exterior is None, "it is switched off by default"


def test_a_slice_with_an_exterior_is_normalised_like_its_repetition():
    data = np.where(disc((1, 64, 72)), 0, levels((1, 64, 72)) + 1)
    one, many = fit(LEAVING_OUT, Volume(data)), fit(LEAVING_OUT, Volume(np.repeat(data, 16, axis=0)))
    assert (one.low, one.high, one.exterior) == (many.low, many.high, many.exterior)
    assert one.scale == pytest.approx(many.scale, rel=1e-12)


def test_booleans_are_grey_values_too():
    data = levels() > 2000
    np.testing.assert_allclose(whole(CLIPPED, data), whole(PLAIN, data.astype(float)), atol=1e-6)


def test_what_is_constant_inside_its_exterior_is_refused():
    data = np.where(disc(), 0, 7.0)
    assert fit(PLAIN, Volume(data)).scale > 0
    with pytest.raises(InputError, match=r"scan\.tif: the image is constant"):
        fit(LEAVING_OUT, Volume(data, source="scan.tif"))
    with pytest.raises(InputError, match="constant"):
        fit(CLIPPED, Volume(np.where(np.arange(10000).reshape(10, 100, 10) == 5000, 1.0, 0.0)))


@pytest.mark.parametrize("factor", [1e-250, 1e250])
def test_numbers_whose_squares_are_none_are_refused(factor):
    with pytest.raises(InputError, match="too small or too large"):
        fit(PLAIN, Volume(levels() * factor))
