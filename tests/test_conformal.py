"""Conformal intervals and masks: what is promised of exchangeable blocks is counted, and MAPIE finds the same."""

import dataclasses
import importlib.util
import json
import math
import shutil
import tomllib

import numpy as np
import pytest
import tomli_w
from conftest import blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from segbench import resources
from segbench.data import battery16, workers
from segbench.data.case import Case
from segbench.engines import start
from segbench.errors import InputError
from segbench.evaluate import conformal as fitting
from segbench.evaluate.bounds import of_bounds
from segbench.evaluate.cases import Labelled
from segbench.evaluate.definitions import RunDefinition, command, request, rows_file
from segbench.evaluate.harness import read
from segbench.export import checks
from segbench.metrics import conformal
from segbench.metrics.conformal import (
    GRID,
    controlled,
    fewest,
    interval,
    losses,
    missed,
    of_samples,
    quantile,
    rank,
    score,
    surely_controlled,
    unit,
)
from segbench.predict import Prediction, predict
from segbench.predict.bounds import assumption, possible, share_interval, sure
from segbench.predict.scan import Request as Scan
from segbench.predict.scan import predict_scan
from segbench.recipe import read_toml, validate
from segbench.rows import Row, read_rows, write_rows
from segbench.train.recipe import Recipe
from segbench.volume import Volume
from segbench.zoo import Model, find
from segbench.zoo.card import Card
from segbench.zoo.findings import ConformalCard
from segbench.zoo.page import page

FLOOR = 0.005


def fitted(**changes):
    """A fit of four samples, as a card holds it."""
    stated = {
        "on": "20 simulated blocks of 8^3 voxels", "blocks": 20, "edge": 8, "samples": 4, "level": 0.9, "floor": FLOOR,
        "widen": 1.5, "risk": 0.05, "possible": 0.3, "sure": 0.8,
    }  # fmt: skip
    return ConformalCard(**stated | changes)


# --- the interval ---


@pytest.mark.parametrize(
    ("n", "level", "place"), [(19, 0.95, 19), (9, 0.9, 9), (39, 0.9, 36), (200, 0.9, 181), (8, 0.9, 9), (99, 0.55, 55)]
)
def test_the_rank_of_the_quantile_is_exact(n, level, place):
    assert rank(n, level) == place
    scores = np.random.default_rng(n).permutation(n).astype(float)
    assert quantile(scores.tolist(), level) == (math.inf if place > n else place - 1)


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 99))
def test_one_more_score_is_covered_as_often_as_promised(n, percent):
    """Exchangeable scores without ties: each of n + 1 is the one left out equally often, so the frequency is exact."""
    level, scores = percent / 100, list(range(n + 1))
    cut = quantile(scores[:-1], level)  # the same for the last one left out as for any that lies at or above it
    covered = sum(s <= quantile([*range(s), *range(s + 1, n + 1)], level) for s in scores) if n < 40 else None
    place = rank(n, level)
    assert level - 1e-12 <= place / (n + 1) < level + 1 / (n + 1) + 1e-12
    assert covered in (None, place)
    assert cut == (math.inf if place > n else place - 1)


def synthetic(count, seed, samples=8):
    """Shares of blocks whose model is biased and too sure of itself, and the true shares."""
    random = np.random.default_rng(seed)
    truth = random.uniform(0.3, 0.7, count)
    wrong = 0.02 + random.normal(0, 0.03, count)
    spread = random.uniform(0.001, 0.01, count)
    shares = (truth + wrong)[:, None] + spread[:, None] * random.standard_normal((count, samples))
    return shares, truth


@pytest.mark.parametrize("n", [24, 39])
def test_intervals_of_blocks_cover_between_the_level_and_1_in_n_more(n):
    """Left out one by one of n + 1 blocks, exactly `rank` are covered, whatever the blocks are."""
    shares, truth = synthetic(n + 1, seed=n)
    scores = [score(s, t, FLOOR) for s, t in zip(shares, truth, strict=True)]
    covered = 0
    for out in range(n + 1):
        low, high = interval(shares[out], quantile(scores[:out] + scores[out + 1 :], 0.9), FLOOR)
        covered += low - 1e-12 <= truth[out] <= high + 1e-12
    assert covered == rank(n, 0.9)
    assert 0.9 <= covered / (n + 1) <= 0.9 + 1 / (n + 1)
    alone = np.mean([low <= t <= high for (low, high), t in zip(map(of_samples, shares), truth, strict=True)])
    assert alone < 0.5  # or the adjustment would have had nothing to do


def test_over_many_draws_the_coverage_is_its_closed_form():
    n, repeats = 24, 1200
    shares, truth = synthetic((n + 1) * repeats, seed=5)
    scores = np.array([score(s, t, FLOOR) for s, t in zip(shares, truth, strict=True)]).reshape(repeats, n + 1)
    covered = np.mean([one[-1] <= quantile(one[:-1].tolist(), 0.9) for one in scores])
    expected = rank(n, 0.9) / (n + 1)  # .92
    assert abs(covered - expected) < 4 * math.sqrt(expected * (1 - expected) / repeats)


def test_the_order_of_samples_does_not_matter():
    shares, truth = synthetic(200, seed=2, samples=64)
    for one, true in zip(shares, truth, strict=True):
        other = np.random.default_rng(0).permutation(one)
        assert unit(one, 0) == unit(other, 0)  # to the last bit
        assert score(one, true, FLOOR) == score(other, true, FLOOR)
        assert interval(one, 1.5, FLOOR) == interval(other, 1.5, FLOOR)


def test_an_interval_by_hand():
    shares = [0.4, 0.5, 0.6]  # percentiles .41 and .59; sd sqrt(2/300)
    step = math.sqrt(0.02 / 3) + 0.01
    assert interval(shares, 2.0, 0.01) == pytest.approx((0.41 - 2 * step, 0.59 + 2 * step))
    assert score(shares, 0.7, 0.01) == pytest.approx((0.7 - 0.59) / step)
    assert score(shares, 0.5, 0.01) == pytest.approx(-0.09 / step)
    assert interval(shares, 100.0, 0.01) == (0.0, 1.0)
    low, high = interval(shares, -100.0, 0.01)  # inwards at most to its middle
    assert low == pytest.approx(high) == pytest.approx(0.5)
    assert low <= high


def test_too_few_blocks_give_no_bound_and_no_samples_no_interval():
    assert quantile([0.0] * 8, 0.9) == math.inf
    assert (fewest(0.9), fewest(0.95), fewest(0.5)) == (9, 19, 1)
    assert interval([0.5, 0.6], math.inf, FLOOR) == (0.0, 1.0)
    assert all(math.isnan(end) for end in interval([], 1.0, FLOOR))
    with pytest.raises(InputError, match="NaN"):
        quantile([0.0, math.nan], 0.9)
    with pytest.raises(InputError, match="between 0 and 1"):
        rank(10, 1.0)


# --- masks ---


def segmented(blocks=60, edge=12, seed=5):
    """Probabilities (n, edge, edge) of a model that is good in some blocks and bad in others, and the truth."""
    random = np.random.default_rng(seed)
    truth = random.random((blocks, edge, edge)) < random.uniform(0.2, 0.6, (blocks, 1, 1))
    noise = random.uniform(0.3, 2.0, (blocks, 1, 1)) * random.standard_normal(truth.shape)
    return (1 / (1 + np.exp(-(3.0 * truth - 1.0 + noise)))).astype(np.float32), truth


def of_class_1(probability, truth):
    return losses(np.array([missed(p, t) for p, t in zip(probability, truth, strict=True)]), truth.sum(axis=(1, 2)))


def test_missed_voxels_are_counted_at_every_threshold(monkeypatch):
    probability, truth = segmented(1)
    probability.flat[:3] = 0.0, 1.0, 0.5  # on thresholds, where < and > part
    monkeypatch.setattr("segbench.metrics.slabs.SLAB", 50)
    low, high = missed(probability, truth), missed(probability, ~truth, sure=True)
    assert low.tolist() == [np.count_nonzero(truth & (probability < at)) for at in GRID]
    assert high.tolist() == [np.count_nonzero(~truth & (probability > at)) for at in GRID]
    assert low[0] == high[-1] == 0
    with pytest.raises(InputError, match="differ in shape"):
        missed(probability, truth[0])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(4, 60), st.sampled_from([0.05, 0.1, 0.3]))
def test_the_risk_of_one_more_block_stays_within_its_bound(seed, n, alpha):
    """Exact for any blocks: the mean over each of n + 1 left out is that of a random order, which is exchangeable."""
    random = np.random.default_rng(seed)
    lost = np.sort(random.beta(0.3, 1.0, (n + 1, 30)), axis=1)
    lost[:, 0] = 0
    risks = [lost[i, controlled(np.delete(lost, i, axis=0), alpha)] for i in range(n + 1)]
    assert np.mean(risks) <= alpha + 1e-12


def test_the_bound_is_used_and_not_merely_kept():
    probability, truth = segmented(200)
    lost = of_class_1(probability, truth)
    at = controlled(lost, 0.1)
    assert 0.08 < lost[:, at].mean() <= 0.1
    assert lost[:, at + 1].mean() * 200 / 201 + 1 / 201 > 0.1


def brute(lost, alpha):
    """Conformal risk control as its definition reads."""
    n, best = len(lost), 0
    for j in range(lost.shape[1]):
        if (sum(lost[:, j]) + 1) / (n + 1) > alpha:
            break
        best = j
    return best


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_risk_control_equals_its_definition_and_a_bound_with_confidence_is_stricter(alpha):
    lost = of_class_1(*segmented())
    assert controlled(lost, alpha) == brute(lost, alpha)
    assert surely_controlled(lost, alpha, 0.1) <= controlled(lost, alpha)
    assert surely_controlled(lost, alpha, 0.01) <= surely_controlled(lost, alpha, 0.1)


# MAPIE 1.6.0, SemanticSegmentationController(risk="recall", method="crc", target_level=1 - alpha,
# predict_params=GRID[::10][:-1]) calibrated on `segmented()`; test_mapie_finds_the_same repeats the run.
MAPIE_CRC = {0.05: 0.39, 0.1: 0.57, 0.2: 0.73}


@pytest.mark.parametrize("alpha", MAPIE_CRC)
def test_thresholds_are_those_that_mapie_recorded(alpha):
    lost = of_class_1(*segmented())[:, ::10]
    assert GRID[::10][controlled(lost, alpha)] == np.float32(MAPIE_CRC[alpha])


@pytest.mark.skipif(importlib.util.find_spec("mapie") is None, reason="MAPIE is not installed; its values are recorded")
@pytest.mark.parametrize("alpha", MAPIE_CRC)
def test_mapie_finds_the_same(alpha):
    from mapie.risk_control import SemanticSegmentationController

    probability, truth = segmented()
    controller = SemanticSegmentationController(
        lambda images: np.asarray(images)[:, None], risk="recall", method="crc", target_level=1 - alpha,
        predict_params=GRID[::10][:-1],
    )  # fmt: skip
    controller.calibrate(probability, truth.reshape(len(truth), -1).astype(int))
    assert float(controller.best_predict_param[0]) == pytest.approx(MAPIE_CRC[alpha], abs=1e-6)


# MAPIE 1.6.0, compute_hoeffding_bentkus_p_value(means, 150, 0.05), mean loss: p
MAPIE_HB = {
    0.0: 0.0004555549744836641,
    0.004: 0.0038914143624219906,
    0.02: 0.14887977690850285,
    0.04: 0.8445039435953471,
}


def test_the_bound_with_confidence_is_the_one_that_mapie_recorded():
    assert [conformal._chance(mean, 150, 0.05) for mean in MAPIE_HB] == pytest.approx(list(MAPIE_HB.values()), rel=1e-9)
    assert conformal._chance(0.05, 150, 0.05) == 1


@pytest.mark.skipif(importlib.util.find_spec("mapie") is None, reason="MAPIE is not installed")
def test_mapie_has_the_same_bound_and_quantile():
    from mapie.regression import SplitConformalRegressor
    from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value
    from sklearn.dummy import DummyRegressor

    found = compute_hoeffding_bentkus_p_value(np.array(list(MAPIE_HB)), 150, 0.05)[:, 0]
    assert found.tolist() == pytest.approx(list(MAPIE_HB.values()), rel=1e-12)
    errors = np.random.default_rng(3).standard_normal(57)
    constant = DummyRegressor(strategy="constant", constant=0.0).fit(np.zeros((2, 1)), np.zeros(2))
    regressor = SplitConformalRegressor(constant, confidence_level=0.9, prefit=True)
    _, bounds = regressor.conformalize(np.zeros((57, 1)), errors).predict_interval(np.zeros((1, 1)))
    assert quantile(np.abs(errors).tolist(), 0.9) == pytest.approx(float(bounds[0, 1, 0]), rel=1e-12)


def test_the_binomial_is_scipys():
    for k, n, p in ((0, 20, 0.05), (7, 150, 0.05), (30, 60, 0.5)):
        assert conformal._binomial(k, n, p) == pytest.approx(binom.cdf(k, n, p), rel=1e-10)


def test_a_bound_with_confidence_is_broken_as_seldom_as_promised():
    """Blocks that lose wholly above a uniform threshold: the true risk of choice j is j / 100."""
    random = np.random.default_rng(9)
    broken = 0
    for _ in range(200):
        lost = (np.arange(101) / 100 > random.random((120, 1))).astype(float)
        broken += surely_controlled(lost, 0.1, 0.1) / 100 > 0.1
    assert broken / 200 <= 0.1
    assert [surely_controlled(np.zeros((n, 101)), 0.1, 0.1) for n in (5, 120)] == [0, 100]  # five prove nothing


def test_blocks_without_the_class_are_left_out_and_too_few_decide_nothing():
    lost = of_class_1(*segmented())
    absent = losses(np.zeros((1, len(GRID)), np.int64), np.zeros(1, np.int64))
    assert np.isnan(absent).all()
    assert controlled(np.vstack([lost, absent]), 0.1) == controlled(lost, 0.1)
    assert controlled(absent, 0.1) == surely_controlled(absent, 0.1, 0.1) == 0
    assert controlled(np.zeros((8, 5)), 0.1) == 0
    assert controlled(np.zeros((9, 5)), 0.1) == 4
    with pytest.raises(InputError, match="do not fall"):
        controlled(lost[:, ::-1], 0.1)


# --- applied ---


def case_of(truth, image=None):
    image = truth.astype(np.float32) if image is None else image
    return Labelled("d", "d", "d", Volume(image), truth, truth, "hash")


def prediction_of(probability, shares):
    """A prediction of which only labels, probability and shares matter."""
    labels = (probability > 0.5).astype(np.uint8)
    known = {"labels": labels, "probability": probability, "shares": shares, "seed": 0, "samples": 4}
    maps = {f.name for f in dataclasses.fields(Prediction) if f.default is dataclasses.MISSING} - known.keys()
    return Prediction(**known, **dict.fromkeys(maps, np.zeros_like(probability)))


def test_scores_say_what_the_bounds_hold():
    truth = np.array([[[1, 1, 1, 0, 0, 0, 0, 0]]], np.uint8)
    probability = np.array([[[0.9, 0.4, 0.2, 0.85, 0.1, 0.1, 0.1, 0.1]]], np.float32)
    shares = (0.3, 0.35, 0.35, 0.4)
    found = of_bounds(case_of(truth), prediction_of(probability, shares), fitted())
    assert (found["share_low"], found["share_high"]) == interval(shares, 1.5, FLOOR)
    assert found["share_covered"] == 1.0
    assert (found["share_sure"], found["share_possible"]) == (2 / 8, 3 / 8)
    assert (found["miss_rate_truth"], found["intrusion_rate_truth"]) == (1 / 3, 1 / 5)
    assert found["share_samples_low"] < found["share_samples_high"]
    assert found["share_low"] < found["share_samples_low"]
    wide = of_bounds(case_of(truth), prediction_of(probability, (0.6,) * 4), fitted())
    assert wide["share_covered"] == 0.0


def test_what_is_undefined_is_nan():
    truth = np.zeros((1, 2, 2), np.uint8)
    probability = np.full(truth.shape, 0.1, np.float32)
    found = of_bounds(case_of(truth), prediction_of(probability, (0.0,) * 4), fitted())
    assert math.isnan(found["miss_rate_truth"])
    assert found["intrusion_rate_truth"] == 0
    few = of_bounds(case_of(truth), prediction_of(probability, (0.0,) * 3), fitted())
    assert all(math.isnan(few[name]) for name in few if not name.startswith("share_samples"))
    assert few.keys() == found.keys()
    assert of_bounds(case_of(truth), prediction_of(probability, (0.0,) * 4), None).keys() == {
        "share_samples_low", "share_samples_high"
    }  # fmt: skip
    human = Labelled("d", "d", "d", Volume(probability), None, truth, "hash")
    assert math.isnan(of_bounds(human, prediction_of(probability, (0.0,) * 4), fitted())["share_covered"])


def test_the_labels_lie_between_both_masks():
    probability = np.random.default_rng(1).random((4, 5, 6)).astype(np.float32)
    inner, outer, labels = sure(fitted(), probability), possible(fitted(), probability), probability > 0.5
    assert (inner <= labels).all()
    assert (labels <= outer).all()
    assert inner.sum() < labels.sum() < outer.sum()


def test_shares_are_those_of_the_samples_alone(tiny):
    engine = start(tiny, "fake")
    volume = Volume(blobs((20, 24, 28)))
    found = predict(volume, tiny.card, engine, samples=5)
    assert len(found.shares) == 5
    assert len(set(found.shares)) > 1
    twin = predict(volume, tiny.card, engine, samples=0)
    assert twin.shares == (float((twin.labels == 1).mean()),)
    assert math.isnan(share_interval(fitted(), twin.shares)[0])


def test_a_scan_is_bounded_as_a_volume_in_memory_is(tiny, tmp_path):
    card = tiny.card.model_copy(update={"conformal": fitted()})
    model, volume = Model(card=card, path=tiny.path), Volume(blobs((30, 24, 28)), source="scan")
    engine = start(model, "fake")
    scan = Scan(volume, model, engine, tmp_path / "r.zarr", samples=4)
    summary = predict_scan(scan, lambda *_: None).summary
    whole = predict(volume, card, engine, samples=4)
    void, active = summary.fractions["void"], summary.fractions["active"]
    assert (active.conformal_low, active.conformal_high) == interval(whole.shares, 1.5, FLOOR)
    assert active.sure == sure(fitted(), whole.probability).mean()
    assert active.possible == possible(fitted(), whole.probability).mean()
    assert (void.conformal_low, void.sure) == (1 - active.conformal_high, 1 - active.possible)
    assert "no further off than a block's" in summary.conformal_assumes
    few = predict_scan(Scan(volume, model, engine, tmp_path / "few.zarr", samples=3), lambda *_: None).summary
    assert few.fractions["active"].conformal_low is few.fractions["active"].sure is None
    assert few.conformal_assumes == ""


def test_what_is_assumed_depends_on_the_size():
    assert assumption(fitted(), (8, 8, 8)) == "keeps its level if the scan is like 20 simulated blocks of 8^3 voxels"
    assert "smaller than such a block" in assumption(fitted(), (1, 16, 16))
    assert "no further off" in assumption(fitted(), (8, 8, 9))


# --- fitted ---


def quick(domain, size=96, seed=0):
    """A case without a simulator: grey values that a threshold nearly gets right."""
    image = blobs((size,) * 3, seed)
    truth = (image + 0.5 * blobs((size,) * 3, seed + 1) > 0.2).astype(np.uint8)
    return Case(domain.name, image, truth, truth)


@pytest.fixture
def simulator(monkeypatch, tmp_path):
    monkeypatch.setattr(battery16, "make_case", quick)
    monkeypatch.setattr(workers, "cores", lambda: 1)
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tiny, tmp_path):
    return shutil.copytree(tiny.path, tmp_path / "model")


def test_the_card_says_it_the_hash_stays_and_predict_shows_it(segbench, simulator, folder, tmp_path):
    before = find(str(folder)).hash
    code, out, _ = segbench("zoo", "conformal", folder, "--blocks", 24, "--size", 32, "--engine", "fake")
    assert code == 0
    assert "90% interval" in out
    model = find(str(folder))
    found = model.card.conformal
    assert model.hash == before
    assert (found.blocks, found.edge, found.samples) == (24, 32, 16)
    assert "Litarion" in found.on
    assert found.possible <= model.card.threshold <= found.sure
    plain = model.card.model_copy(update={"conformal": None})
    assert checks._flat(model.card.model_dump()) == checks._flat(plain.model_dump())  # an older export still is it
    assert (folder / "README.md").read_text() == page(model.card)
    np.save(tmp_path / "scan.npy", blobs((12, 12, 12)))
    code, out, _ = segbench(
        "predict", tmp_path / "scan.npy", "--zoo", folder, "--engine", "fake", "--out", tmp_path / "r.zarr"
    )
    assert code == 0
    assert "90% interval of the share" in out
    assert "smaller than such a block" in out
    code, out, _ = segbench("eval", "--zoo", folder, "--domain", "Litarion", "--size", 32, "--engine", "fake")
    assert code == 0
    assert "tiny: share of active and its bounds" in out
    assert "covers" in out


def test_blocks_keep_what_was_promised_and_are_not_made_twice(tiny, simulator, monkeypatch):
    engine, said = start(tiny, "fake"), []
    plan = fitting.plan_of(tiny.card, 19)
    found = list(fitting.blocks(tiny, engine, plan, 32, progress=lambda *step: said.append(step)))
    assert {step[0] for step in said} == {"making blocks", "predicting blocks"}
    assert said[-1][1:] == (19, 19)
    card = fitting.fit(tiny.card, found, 32)
    held = sum(low <= b.truth <= high for b in found for low, high in [share_interval(card, b.shares)])
    assert held == rank(19, 0.9)
    at = np.searchsorted(GRID, np.float32(card.possible))
    assert np.mean([b.below[at] / b.voxels[1] for b in found]) <= 0.05
    monkeypatch.setattr(battery16, "make_case", None)  # all of it is in the cache
    again = fitting.fit(tiny.card, list(fitting.blocks(tiny, engine, plan, 32))[::-1], 32)
    assert (again.widen, again.possible, again.sure) == (card.widen, card.possible, card.sure)


def test_no_block_is_one_that_recipes_train_on_or_that_is_reported():
    for path in resources.folder("train").glob("*.toml"):
        if "volumes_per_domain" not in tomllib.loads(path.read_text()).get("data", {}):
            continue  # of slices
        data = read_toml(path, Recipe).data
        count = data.volumes_per_domain * len(data.domains) + data.randomised
        assert 0 < data.first_seed + count < fitting.FIRST_SEED


def test_what_cannot_be_fitted_is_refused_in_a_line(segbench, folder, tiny):
    code, _, err = segbench("zoo", "conformal", folder, "--blocks", 18, "--engine", "fake")
    assert (code, err.count("\n")) == (2, 1)
    assert "at least 19" in err
    code, _, err = segbench("zoo", "conformal", folder, "--size", 8, "--engine", "fake")
    assert (code, err.count("\n")) == (2, 1)
    with pytest.raises(InputError, match="8 blocks are too few: an interval of 90% would be infinite"):
        fitting.fit(tiny.card, [None] * 8, 32)
    foreign = tiny.card.model_copy(update={"training": tiny.card.training.model_copy(update={"domains": ()})})
    with pytest.raises(InputError, match="names no domain"):
        fitting.plan_of(foreign, 20)


# --- before and after calibration ---


def test_without_its_calibration_a_model_says_something_else_under_the_same_hash(segbench, simulator, folder, tmp_path):
    arguments = (
        "eval",
        "--zoo",
        folder,
        "--domain",
        "Litarion",
        "--size",
        32,
        "--samples",
        2,
        "--engine",
        "fake",
        "--json",
    )
    after = [Row.model_validate(row) for row in json.loads(segbench(*arguments)[1])]
    code, out, _ = segbench(*arguments, "--uncalibrated")
    assert code == 0
    before = [Row.model_validate(row) for row in json.loads(out)]
    assert (after[0].calibrated, before[0].calibrated) == (True, False)
    assert after[0].model_hash == before[0].model_hash
    assert after[0].metrics["nll_truth"] != before[0].metrics["nll_truth"]
    model = find(str(folder))
    plain = model.card.model_copy(update={"calibration": None})
    case = quick(type("D", (), {"name": "Litarion"}), 32, 0)
    said = predict(Volume(case.image), plain, start(model, "fake"), samples=2)
    assert before[0].metrics["entropy"] == pytest.approx(float(said.entropy.mean(dtype=np.float64)), rel=1e-6)
    code, out, _ = segbench(*arguments[:-1], "--uncalibrated")
    assert "seed 0, uncalibrated" in out


def test_a_model_without_calibration_cannot_do_without(segbench, folder):
    card = find(str(folder)).card.model_copy(update={"calibration": None})
    (folder / "card.toml").write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    code, _, err = segbench("eval", "--zoo", folder, "--engine", "fake", "--uncalibrated")
    assert (code, err.count("\n")) == (2, 1)
    assert "has no calibration: leave out --uncalibrated" in err


def test_a_table_can_ask_for_the_run_without_calibration(monkeypatch, tmp_path):
    run = RunDefinition(name="plain", zoo="vnet-battery", data="battery16", uncalibrated=True)
    assert "--uncalibrated" in command(run)
    assert request(run, None).uncalibrated
    other = run.model_copy(update={"uncalibrated": False})
    assert "--uncalibrated" not in command(other)
    assert not request(other, None).uncalibrated
    stored = next(row for row in read_rows(rows_file(other.model_copy(update={"name": "vnet-battery-battery16"}))))
    monkeypatch.setattr("segbench.evaluate.harness.rows_file", lambda _: tmp_path / "rows.json")
    monkeypatch.setattr("segbench.evaluate.harness.model_of", lambda _: None)
    write_rows(tmp_path / "rows.json", [stored])
    assert "is calibrated and the table wants it uncalibrated" in read(run)[1]
    assert read(other)[1] is None
    write_rows(tmp_path / "rows.json", [stored.model_copy(update={"calibrated": False})])
    assert read(run)[1] is None
    assert "is uncalibrated and the table wants it calibrated" in read(other)[1]


@pytest.mark.parametrize("changes", [{"possible": 0.6}, {"sure": 0.4}, {"possible": -0.1}, {"widen": math.inf}])
def test_masks_that_do_not_have_the_labels_between_them_are_refused(tiny, changes):
    fitted = {"on": "blocks", "blocks": 9, "edge": 8, "samples": 2, "level": 0.9, "floor": 0.005, "widen": 1.0}
    fitted |= {"risk": 0.05, "possible": 0.5, "sure": 0.8}
    stated = tiny.card.model_dump(mode="json", exclude_none=True)
    assert validate(stated | {"conformal": fitted}, Card, "card").conformal is not None
    with pytest.raises(InputError, match=r"card: .*conformal"):
        validate(stated | {"conformal": fitted | changes}, Card, "card")
