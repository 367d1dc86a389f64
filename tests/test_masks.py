"""Masks: reference vectors, exact counts, the same in int32 and float32, and independence with stated power."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from segbench import masks as m
from segbench.errors import InputError
from segbench.masks import Site

REFERENCE = json.loads((Path(__file__).parent / "data" / "masks.json").read_text())
SITES = [Site(name="a", channels=16, kept=8), Site(name="b", channels=6, kind="bernoulli", keep_probability=0.5)]


@pytest.mark.parametrize("vector", REFERENCE["keys"])
def test_keys_equal_the_reference(vector):
    assert m.sample_keys(vector["seed"], [vector["sample"]])[0].tolist() == vector["keys"]


@pytest.mark.parametrize("vector", REFERENCE["values"])
def test_values_equal_the_reference(vector):
    got = m.values(vector["seed"], [vector["sample"]], vector["site"], len(vector["values"]))
    assert got[0].tolist() == vector["values"]


@pytest.mark.parametrize("vector", REFERENCE["kept"])
def test_kept_channels_equal_the_reference(vector):
    site = Site.model_validate(vector["site"])
    got = m.kept(site, vector["number"], vector["seed"], [vector["sample"]])
    assert np.flatnonzero(got[0]).tolist() == vector["channels"]


def test_the_reference_by_hand():
    """The definition again, in plain integers: a second implementation for the committed vectors."""

    def permute(left, right, keys):
        for i in range(8):
            mixed = (right + keys[i % len(keys)] + 389 * i) % 2039
            left, right = right, (left + pow(mixed, 3, 2039)) % 2039
        return left, right

    for vector in REFERENCE["values"]:
        seed, t = vector["seed"], vector["sample"]
        digits = [seed % 2039, seed // 2039 % 2039, seed // 2039**2]
        keys = [k for c in (577, 1201) for k in permute(t % 2039, t // 2039, [*digits, c])]
        for channel, value in enumerate(vector["values"]):
            left, right = permute(vector["site"], channel, keys)
            assert left * 2039 + right == value


def test_no_intermediate_value_reaches_two_to_the_23():
    top = m.P - 1
    assert top * top < 2**23
    assert (top * top % m.P) * top <= top * top < 2**23
    assert top * m.P + top < 2**23


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_other_arithmetic_draws_the_same(kind):
    """What a graph would compute in int32, or emulate in float32, bit for bit."""
    keys = m.sample_keys(5, range(50)).astype(kind)
    left, right = m.permute(
        np.full((1, 40), 3, dtype=kind), np.arange(40, dtype=kind)[None], [keys[:, i, None] for i in range(4)]
    )
    assert left.dtype == kind
    np.testing.assert_array_equal(left * kind(m.P) + right, m.values(5, range(50), 3, 40))


def test_a_permutation_never_repeats():
    drawn = m.values(0, [0], 0, m.P - 1)[0]
    assert len(set(drawn.tolist())) == m.P - 1
    everything = m.permute(np.arange(m.P)[:, None], np.arange(m.P)[None, :], [np.asarray(k) for k in (1, 2, 3, 4)])
    assert len(np.unique(everything[0] * m.P + everything[1])) == m.P**2


@pytest.mark.parametrize(("channels", "kept"), [(16, 8), (128, 64), (7, 3), (5, 5), (9, 1)])
def test_keep_counts_are_exact_and_masks_are_scaled(channels, kept):
    site = Site(name="s", channels=channels, kept=kept)
    drawn = m.masks([site], 11, range(100))
    assert drawn.dtype == np.float32
    assert ((drawn > 0).sum(axis=1) == kept).all()
    np.testing.assert_array_equal(
        np.unique(drawn[drawn > 0]), np.float32([np.float32(1) / np.float32(kept / channels)])
    )
    np.testing.assert_allclose(drawn.mean(axis=1), 1, rtol=1e-6)


def test_masks_do_not_depend_on_which_samples_are_asked_for_together():
    together = m.masks(SITES, 9, range(20))
    np.testing.assert_array_equal(together[[3, 17]], m.masks(SITES, 9, [3, 17]))
    assert not np.array_equal(together, m.masks(SITES, 10, range(20)))


def _largest_correlation(table: np.ndarray) -> tuple[float, int]:
    """Largest |correlation| between rows of a table, times the square root of its length; and the number of pairs."""
    upper = np.corrcoef(table)[np.triu_indices(len(table), 1)]
    return float(np.abs(upper).max() * math.sqrt(table.shape[1])), len(upper)


def _threshold(pairs: int, alpha: float = 1e-4) -> float:
    return float(stats.norm.isf(alpha / (2 * pairs)))


def _tables() -> dict[str, np.ndarray]:
    scale = m.P**2
    return {
        "channels": m.values(0, range(4000), 0, 64).T / scale,
        "samples": m.values(1, range(64), 2, 2000) / scale,
        "sites": np.stack([m.values(2, range(200), site, 20).ravel() for site in range(64)]) / scale,
        "seeds": np.stack([m.values(seed, range(200), 1, 20).ravel() for seed in range(64)]) / scale,
    }


@pytest.mark.parametrize("across", ["channels", "samples", "sites", "seeds"])
def test_nothing_correlates_beyond_chance(across):
    """Every pair of 64 rows; false alarm 1e-4 for a table.

    Power: with n values a row, a true correlation r between one pair is found with probability
    Phi(r sqrt(n) - threshold): 99 % for r >= .13 at n = 2000 and .12 at n = 4000 (threshold about 5.6).
    """
    table = _tables()[across]
    largest, pairs = _largest_correlation(table)
    assert largest < _threshold(pairs)


def test_the_correlation_test_has_the_power_that_it_states():
    table = _tables()["channels"].copy()
    rng = np.random.default_rng(0)
    r = 0.12
    table[1] = r * (table[0] - 0.5) * math.sqrt(12) + math.sqrt(1 - r * r) * rng.standard_normal(table.shape[1])
    largest, pairs = _largest_correlation(table)
    assert largest > _threshold(pairs)


def test_values_are_uniform():
    drawn = m.values(0, range(2000), 0, 100).ravel() / m.P**2
    assert stats.kstest(drawn, "uniform").pvalue > 1e-4


def test_all_subsets_are_equally_likely():
    """Chi-square over all C(8, 4) = 70 sets of kept channels."""
    site = Site(name="s", channels=8, kept=4)
    packed = np.packbits(m.kept(site, 0, 0, range(50_000)), axis=1).ravel()
    _, counts = np.unique(packed, return_counts=True)
    assert len(counts) == 70
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(("channels", "kept"), [(16, 8), (12, 3), (5, 5)])
def test_balanced_samples_deal_out_all_channels(channels, kept):
    """In turn each keeps its part, together all; any one of them is a fixed site's sample."""
    site, hands = Site(name="s", channels=channels, kept=kept, kind="balanced"), channels // kept
    drawn = m.kept(site, 0, 4, range(10 * hands)).reshape(10, hands, channels)
    assert (drawn.sum(axis=2) == kept).all()
    assert (drawn.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(drawn[:, 0], m.kept(Site(name="s", channels=channels, kept=kept), 0, 4, range(10)))
    np.testing.assert_array_equal(m.kept(site, 0, 4, [2 * hands - 1]), drawn[1, -1:])


def test_bernoulli_keeps_its_share():
    site = Site(name="s", channels=50, kind="bernoulli", keep_probability=0.3)
    share = m.kept(site, 1, 3, range(4000)).mean()
    assert abs(share - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 200_000)


@pytest.mark.parametrize(("seed", "samples"), [(-1, [0]), (2**31, [0]), (0, []), (0, [-1]), (0, [m.SAMPLES])])
def test_what_is_out_of_range_is_refused(seed, samples):
    with pytest.raises(InputError):
        m.sample_keys(seed, samples)


@pytest.mark.parametrize(
    "site",
    [
        {"name": "s", "channels": 4},
        {"name": "s", "channels": 4, "kept": 5},
        {"name": "s", "channels": 4, "kept": 2, "keep_probability": 0.5},
        {"name": "s", "channels": 4, "kind": "bernoulli", "kept": 2},
        {"name": "s", "channels": 4, "kept": 3, "kind": "balanced"},
        {"name": "s", "channels": 4, "kept": 2, "colour": 1},
    ],
)
def test_inconsistent_sites_are_refused(site):
    with pytest.raises(ValueError, match=r"site|kept|colour"):
        Site.model_validate(site)
