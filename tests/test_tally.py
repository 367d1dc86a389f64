"""One pass over a volume against scikit-learn, against brute force, and against what is simple enough to see."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, log_loss, roc_auc_score

from segbench.errors import InputError
from segbench.metrics import slabs
from segbench.metrics.patches import ACCURATE, EDGE
from segbench.metrics.ranking import Histogram, place
from segbench.metrics.reliability import Reliability
from segbench.metrics.sparsification import aurc, ause
from segbench.metrics.uncertainty import HIGHEST, MEASURES, relative
from segbench.tally import ALL, PARTS, Maps, Tally, tally

SHAPES = [(7, 20, 23), (1, 18, 31), (4, 1, 9), (5, 7, 1), (1, 1, 1), (3, 2, 67)]


def values(rng, shape):
    """Float32 in (0, 1) of which those that differ lie in bins of their own."""
    drawn = np.concatenate([rng.uniform(1e-6, 1 - 1e-6, 20_000), 2.0 ** -rng.uniform(1, 20, 5000)]).astype(np.float32)
    return rng.choice(drawn[np.unique(place(drawn), return_index=True)[1]], shape)


def sides(rng, shape):
    """The same in (1/2, 1), and of their distances from 1 too."""
    drawn = rng.integers(1, 1 << 12, 20_000).astype(np.float32) / (1 << 13)  # few bits: 1 - x is exact
    return 1 - rng.choice(drawn[np.unique(place(drawn), return_index=True)[1]], shape)


def made(seed, shape=SHAPES[0]):
    """Maps and a reference of solid blobs."""
    rng = np.random.default_rng(seed)
    coarse = rng.random(tuple(-(-n // 5) for n in shape)) < 0.4
    reference = np.kron(coarse, np.ones((5, 5, 5)))[: shape[0], : shape[1], : shape[2]].astype(np.uint8)
    sure = sides(rng, shape)
    p = np.where((rng.random(shape) < 0.8) == (reference == 1), sure, 1 - sure)
    return Maps(p, *(values(rng, shape) * np.float32(HIGHEST[name]) for name in MEASURES)), reference


def near(reference):
    """The band by distances in float64, of another library."""
    here = np.zeros(reference.shape, bool)
    for phase in (0, 1):
        if (reference != phase).any():
            here |= (reference == phase) & (distance_transform_edt(reference == phase) <= 2)
    return here


def by_name(maps):
    return {f.name: getattr(maps, f.name) for f in fields(maps)}


def same(a, b):
    """Counts alike, sums up to rounding."""
    for one, other in ((a.band, b.band), (a.interior, b.interior)):
        np.testing.assert_array_equal(one.reliability.count, other.reliability.count)
        np.testing.assert_allclose(one.reliability.probability, other.reliability.probability, rtol=1e-12)
        np.testing.assert_allclose(one.sums, other.sums, rtol=1e-12)
        assert one.reliability.nll == pytest.approx(other.reliability.nll, rel=1e-12)
        assert one.reliability.brier == pytest.approx(other.reliability.brier, rel=1e-12)
        for h, k in zip((one.ranking, *one.errors), (other.ranking, *other.errors), strict=True):
            np.testing.assert_array_equal(h.positive, k.positive)
            np.testing.assert_array_equal(h.negative, k.negative)
    for one, other in zip(a.patches, b.patches, strict=True):
        np.testing.assert_array_equal(one.count, other.count)


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_the_probability_are_scikit_learns(seed):
    maps, reference = made(seed)
    whole = tally(maps, reference).whole
    y, p = reference.ravel(), maps.probability.ravel().astype(np.float64)
    assert whole.reliability.mean_nll == pytest.approx(log_loss(y, p), abs=1e-9)
    assert whole.reliability.mean_brier == pytest.approx(brier_score_loss(y, p), abs=1e-9)
    assert whole.ranking.auc() == pytest.approx(roc_auc_score(y, p), abs=1e-9)
    np.testing.assert_array_equal(whole.reliability.confusion, confusion_matrix(y, p > 0.5))


@pytest.mark.parametrize("name", MEASURES)
def test_scores_of_each_measure_are_scikit_learns(name):
    maps, reference = made(11)
    found = tally(maps, reference)
    wrong = (maps.probability > 0.5) != reference
    measure = by_name(maps)[name].astype(np.float64)
    band = near(reference)
    for region, voxels in ((found.whole, np.ones_like(band)), (found.band, band), (found.interior, ~band)):
        errors = region.errors[MEASURES.index(name)]
        y, score = wrong[voxels], measure[voxels]
        assert 0 < y.mean() < 1
        assert errors.auc() == pytest.approx(roc_auc_score(y, score), abs=1e-9)
        assert errors.average_precision() == pytest.approx(average_precision_score(y, score), abs=1e-9)
        assert region.means[MEASURES.index(name)] == pytest.approx(score.mean(), abs=1e-9)
        assert aurc(errors) == pytest.approx(expected_aurc(score, y), abs=1e-9)
        excess = expected_aurc(score, y) - expected_aurc(y.astype(float), y)
        assert ause(errors) == pytest.approx(excess / y.mean(), abs=1e-9)


def expected_aurc(score, wrong):
    """Mean error rate of the n most certain voxels; equal scores leave together, in proportion."""
    levels, inverse = np.unique(score, return_inverse=True)
    held, errors = np.bincount(inverse), np.bincount(inverse, wrong)
    n = np.arange(1, len(score) + 1)
    kept = np.interp(n, [0, *np.cumsum(held)], [0, *np.cumsum(errors)])
    assert len(levels)
    return (kept / n).mean()


@pytest.mark.parametrize("threshold", [0.5, 0.31])
def test_calibration_error_is_that_of_its_definition(threshold):
    maps, reference = made(3)
    band = near(reference)
    p = maps.probability.astype(np.float64)
    called = p > np.float32(threshold)
    sure, right = np.where(called, p, 1 - p), called == reference
    found = tally(maps, reference, threshold)
    for region, voxels in ((found.whole, np.ones_like(band)), (found.band, band), (found.interior, ~band)):
        assert region.reliability.ece == pytest.approx(by_bins(sure[voxels], right[voxels]), abs=1e-12)
        expected = by_bins(p[voxels], reference[voxels] == 1)
        assert region.reliability.ece_classwise == pytest.approx(expected, abs=1e-12)


def by_bins(probability, happened):
    """Calibration error over 15 bins, in float64, as it is written down."""
    total = 0.0
    for low in range(15):
        inside = (probability >= low / 15) & ((probability < (low + 1) / 15) | (low == 14))
        if inside.any():
            total += inside.mean() * abs(happened[inside].mean() - probability[inside].mean())
    return total


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_compiled_sums_are_the_definitions(shape, seed):
    """Same bins, same cells: counts are equal, and sums to rounding."""
    maps, reference = made(seed, shape)
    found = tally(maps, reference)
    band = near(reference)
    wrong = (maps.probability > 0.5) != reference
    for region, voxels in ((found.band, band), (found.interior, ~band)):
        expected = Reliability()
        if voxels.any():
            expected = Reliability().add(maps.probability[voxels], reference[voxels])
            ranked = Histogram().add(maps.probability[voxels], reference[voxels])
            np.testing.assert_array_equal(region.ranking.positive, ranked.positive)
            for errors, name in zip(region.errors, MEASURES, strict=True):
                meant = Histogram().add(relative(by_name(maps)[name][voxels], name), wrong[voxels])
                np.testing.assert_array_equal(errors.positive, meant.positive)
                np.testing.assert_array_equal(errors.negative, meant.negative)
        np.testing.assert_array_equal(region.reliability.count, expected.count)
        np.testing.assert_allclose(region.reliability.probability, expected.probability, rtol=1e-12)
        assert region.reliability.nll == pytest.approx(expected.nll, rel=1e-12)
        assert region.reliability.brier == pytest.approx(expected.brier, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 8), st.integers(1, 9), st.integers(1, 9)), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_band_is_what_has_the_other_phase_within_two_voxels(shape, seed, share):
    rng = np.random.default_rng(seed)
    reference = (rng.random(shape) < share**4).astype(np.uint8)  # rare voxels leave an interior
    if seed % 2:
        reference = 1 - reference
    flat = np.full(shape, 0.25, np.float32)
    expected = near(reference)
    found = tally(Maps(flat, flat, flat, expected.astype(np.float32), flat), reference)
    assert found.band.reliability.voxels == expected.sum()
    assert found.band.sums[2] == expected.sum()
    assert found.interior.sums[2] == 0


def test_a_volume_of_one_slice_has_no_neighbours_along_z():
    """What a slice repeated along Z has in each slice."""
    maps, reference = made(5, (1, 30, 40))
    deep = Maps(*(np.repeat(values, 6, axis=0) for values in by_name(maps).values()))
    one, six = tally(maps, reference), tally(deep, np.repeat(reference, 6, axis=0))
    assert one.band.reliability.voxels > 0
    np.testing.assert_array_equal(6 * one.band.reliability.count, six.band.reliability.count)
    np.testing.assert_array_equal(6 * one.patches[0].count, six.patches[0].count)


@pytest.mark.parametrize("shape", [*SHAPES, (3, 9, 12), (2, 10, 11), (2, 3, 3)])
def test_patches_by_brute_force(shape):
    maps, reference = made(7, shape)
    wrong = (maps.probability > 0.5) != reference
    found = tally(maps, reference)
    for patches, name in zip(found.patches, MEASURES, strict=True):
        measure, expected = by_name(maps)[name].astype(np.float64), np.zeros((2, 2), int)
        for z in range(shape[0]):
            for y in range(0, shape[1], EDGE):
                for x in range(0, shape[2], EDGE):
                    at = np.s_[z, y : y + EDGE, x : x + EDGE]
                    accurate = (~wrong[at]).mean() >= ACCURATE
                    expected[int(accurate), int(measure[at].mean() >= measure[z].mean())] += 1
        np.testing.assert_array_equal(patches.count, expected)
        (inaccurate_certain, inaccurate_uncertain), (accurate_certain, _) = expected
        assert patches.pavpu == (accurate_certain + inaccurate_uncertain) / expected.sum()
        of_certain = share(accurate_certain, accurate_certain + inaccurate_certain)
        of_inaccurate = share(inaccurate_uncertain, inaccurate_uncertain + inaccurate_certain)
        assert patches.accurate_if_certain == pytest.approx(of_certain, nan_ok=True)
        assert patches.uncertain_if_inaccurate == pytest.approx(of_inaccurate, nan_ok=True)


def share(part, whole):
    return part / whole if whole else np.nan


@pytest.mark.parametrize(("wrong", "accurate"), [(0, True), (1, True), (2, False), (9, False)])
def test_eight_of_nine_voxels_make_a_patch_accurate(wrong, accurate):
    reference = np.zeros((1, 3, 3), np.uint8)
    p = np.full(reference.shape, 0.1, np.float32)
    p.flat[:wrong] = 0.9
    flat = np.full_like(p, 0.1)
    found = tally(Maps(p, flat, flat, flat, flat), reference)
    assert found.patches[0].count[int(accurate)].sum() == 1


def test_where_nothing_varies_every_patch_is_uncertain():
    """As the definition has it: each patch's mean is the slice's. So nothing can be said of certain ones."""
    flat = np.full((2, 100, 101), 0.3, np.float32)
    found = tally(Maps(flat, flat, flat, flat, flat), np.zeros(flat.shape, np.uint8))
    assert found.patches[0].count.tolist() == [[0, 0], [0, 2 * 34 * 34]]
    assert found.patches[0].pavpu == 0
    assert np.isnan(found.patches[0].accurate_if_certain)
    assert np.isnan(found.patches[0].uncertain_if_inaccurate)


@pytest.mark.parametrize("threads", [1, 3])
def test_slabs_and_parts_add_up_to_the_whole(threads, monkeypatch):
    maps, reference = made(2, (11, 12, 13))
    whole = tally(maps, reference)
    parts = [tally(maps, reference, part=slice(a, b)) for a, b in ((0, 3), (3, 4), (4, 11))]
    same(sum(parts, Tally()), whole)
    same(sum(parts[::-1], Tally()), whole)
    monkeypatch.setattr(slabs, "SLAB", 2 * 12 * 13)
    cut = tally(maps, reference, threads=threads)
    same(cut, whole)
    assert cut.whole.reliability.nll == tally(maps, reference).whole.reliability.nll, "whatever the threads"
    monkeypatch.setattr(slabs, "SLAB", 1)
    same(tally(maps, reference), whole)


def test_a_part_that_is_left_out_leaves_the_others_as_they_are():
    maps, reference = made(4)
    whole = tally(maps, reference)
    for name, bit in PARTS.items():
        rest = tally(maps, reference, parts=ALL - bit)
        touched = [
            not np.array_equal(rest.whole.reliability.count, whole.whole.reliability.count),
            rest.whole.reliability.nll != pytest.approx(whole.whole.reliability.nll),
            not np.array_equal(rest.whole.ranking.positive, whole.whole.ranking.positive),
            *(r.positive.sum() != w.positive.sum() for r, w in zip(rest.whole.errors, whole.whole.errors, strict=True)),
            not np.allclose(rest.whole.sums, whole.whole.sums),
            not np.array_equal(rest.patches[0].count, whole.patches[0].count),
            rest.band.reliability.voxels == 0 and bit != PARTS["calibration"],
        ]
        assert sum(touched) == 1, name


class Recorded:
    """A lazy array that notes what is asked of it."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.asked = data, data.shape, data.dtype, []

    def __getitem__(self, key):
        self.asked.append(self.data[key].size)
        return self.data[key]


def test_only_a_slab_is_read_at_a_time(monkeypatch):
    maps, reference = made(6, (20, 6, 7))
    lazy = Maps(*(Recorded(values) for values in by_name(maps).values()))
    labels = Recorded(reference)
    monkeypatch.setattr(slabs, "SLAB", 2 * 6 * 7)
    same(tally(lazy, labels), tally(maps, reference))
    assert max(lazy.entropy.asked) == 2 * 6 * 7
    assert max(labels.asked) == (2 + 4) * 6 * 7


def test_float64_bool_and_strides_are_taken_as_they_are():
    maps, reference = made(8)
    wide = Maps(*(values.astype(np.float64) for values in by_name(maps).values()))
    same(tally(wide, reference == 1), tally(maps, reference))
    turned = Maps(*(np.asfortranarray(values) for values in by_name(maps).values()))
    same(tally(turned, np.asfortranarray(reference).astype(np.int64)), tally(maps, reference))


@pytest.mark.parametrize("name", ["probability", *MEASURES])
@pytest.mark.parametrize("wrong", [np.nan, -1e-6, 1.001, np.inf])
def test_what_is_no_probability_is_refused_by_name(name, wrong):
    maps, reference = made(0)
    bad = by_name(maps)[name].copy()
    bad[3, 4, 5] = wrong
    with pytest.raises(InputError, match=name):
        tally(replace(maps, **{name: bad}), reference)


@pytest.mark.parametrize("bad", [np.full(SHAPES[0], 2), np.full(SHAPES[0], -1), np.full(SHAPES[0], 0.5)])
def test_what_is_no_phase_is_refused(bad):
    with pytest.raises(InputError, match="reference"):
        tally(made(0)[0], bad)


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_may_be_as_high_as_it_can_be_and_no_higher(name):
    maps, reference = made(0)
    top = np.full(reference.shape, HIGHEST[name], np.float32)
    assert tally(replace(maps, **{name: top}), reference).whole.errors[MEASURES.index(name)].positive[-1] > 0
    with pytest.raises(InputError, match=name):
        tally(replace(maps, **{name: top * np.float32(1.001)}), reference)


def test_shapes_must_match_and_be_volumes():
    maps, reference = made(0)
    with pytest.raises(InputError, match="spread"):
        tally(replace(maps, spread=maps.spread[:-1]), reference)
    flat = Maps(*(values[0] for values in by_name(maps).values()))
    with pytest.raises(InputError, match="Z, Y, X"):
        tally(flat, reference[0])


@pytest.mark.parametrize("sure", [0, 1])
def test_a_sure_error_is_not_infinite(sure):
    """Seventy of them: the logarithm is taken of products, which must not run out of float64."""
    p = np.full((1, 1, 70), sure, np.float32)
    zeros = np.zeros_like(p)
    found = tally(Maps(p, zeros, zeros, zeros, zeros), (1 - p).astype(np.uint8)).whole.reliability
    assert found.mean_nll == pytest.approx(-np.log(1e-7), rel=1e-9)
    assert found.mean_brier == 1


def test_what_is_empty_is_undefined():
    nothing = Tally()
    assert np.isnan([nothing.whole.reliability.ece, nothing.band.ranking.auc(), nothing.patches[0].pavpu]).all()
    assert np.isnan(nothing.band.means).all()
    zeros = np.zeros((3, 4, 5), np.float32)
    one_phase = tally(Maps(zeros, zeros, zeros, zeros, zeros), zeros.astype(np.uint8))
    assert one_phase.band.reliability.voxels == 0
    assert np.isnan(
        [one_phase.whole.ranking.auc(), one_phase.whole.errors[0].auc(), ause(one_phase.whole.errors[0])]
    ).all()
    assert (one_phase.whole.reliability.ece, aurc(one_phase.whole.errors[0])) == (0, 0)
    assert one_phase.whole.reliability.mean_nll == pytest.approx(1e-7, rel=1e-6), "clipped, not infinite"


def test_ten_billion_voxels_are_counted():
    maps, reference = made(9)
    once = tally(maps, reference)
    many = once
    for _ in range(22):
        many = many + many
    voxels = reference.size << 22
    assert many.whole.reliability.voxels == voxels > 10**10
    assert many.whole.errors[0].auc() == once.whole.errors[0].auc()
    assert many.whole.reliability.ece == pytest.approx(once.whole.reliability.ece, rel=1e-12)
    assert many.whole.reliability.mean_nll == pytest.approx(once.whole.reliability.mean_nll, rel=1e-12)


def counted_in_float32(confidence, right):
    """Calibration error of one bin as torchmetrics counts it: ones added to a float32, which ends at 2^24."""
    count, sure, hits = (
        np.cumsum(values, dtype=np.float32)[-1] for values in (np.ones_like(confidence), confidence, right)
    )
    return float(abs(hits / count - sure / count)), float(count)


def test_calibration_error_where_counting_in_float32_goes_wrong():
    """Sure to .95 and right in half: the error is .45. (torchmetrics 1.x says .4040 at 20 million, 0 at 40 million.)"""
    voxels = 20_000_000
    p = np.broadcast_to(np.float32(0.95), (20, 1000, 1000))
    reference = np.zeros(p.shape, np.uint8)
    reference[:, :, ::2] = 1
    wrong, counted = counted_in_float32(p.ravel(), reference.ravel())
    assert counted == 2**24
    assert wrong == pytest.approx(0.4040, abs=1e-4)
    low = np.broadcast_to(np.float32(0.1), p.shape)
    found = tally(Maps(p, low, low, low, low), reference).whole.reliability
    assert found.voxels == voxels
    assert found.ece == pytest.approx(0.45, abs=1e-7)  # .95 as float32 is 2e-8 off
