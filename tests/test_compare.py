"""`segbench compare`: what passes, what fails and by what name, and how often it fails for no reason."""

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from test_tables import row

from segbench.errors import InputError, UnknownNameError
from segbench.evaluate.compare import compare
from segbench.evaluate.compare_lines import MEAN
from segbench.evaluate.compare_match import Run
from segbench.evaluate.compare_noise import Noise, of_blocks, of_repeats, quantile, score
from segbench.evaluate.compare_page import junit, markdown, plain, shown, summary
from segbench.evaluate.compare_scores import BETTER, compared, family, tolerances
from segbench.export.profile import read_profile
from segbench.metrics import overlap
from segbench.metrics.intervals import of_pooled

DOMAINS = ("Tesla", "E35", "25R6")
SCORES = {
    "accuracy_truth": 0.95, "accuracy_human": 0.9, "miou_truth": 0.88, "f1_void_truth": 0.9, "f1_active_truth": 0.96,
    "auc_truth": 0.99, "nll_truth": 0.13, "brier_truth": 0.04, "ece_truth": 0.01, "viability": 1.5, "entropy": 0.15,
    "mutual_information": 0.006, "spread": 0.017, "error_auroc_entropy_truth": 0.93, "ause_spread_truth": 0.2,
}  # fmt: skip
COSTS = tolerances()


def run(name="run", domains=DOMAINS, changed=None, **fields) -> Run:
    """Rows of three domains; `changed` is {(domain, score): value}."""
    rows = []
    for domain in domains:
        metrics = SCORES | {key: value for (d, key), value in (changed or {}).items() if d == domain}
        rows.append(row(domain, domain, metrics=metrics, **fields))
    return Run(name, (*rows, row(domains[0], domains[0], "otsu", kind="baseline", metrics={"accuracy_truth": 0.1})))


def failed(found) -> list[tuple[str, str]]:
    return [(line.metric, line.domain) for line in found.regressions]


def verdicts(found) -> dict[tuple[str, str], str]:
    return {(line.metric, line.domain): line.verdict for line in found.lines}


# --- the same network with the same masks


def test_equal_runs_pass_and_nothing_has_moved():
    found = compare(run("a"), run("b"), COSTS)
    assert found.passed
    assert {line.verdict for line in found.lines} == {"same"}
    assert {line.domain for line in found.lines} == {*DOMAINS, MEAN}
    assert "accuracy_human" not in {line.metric for line in found.lines}, "there is a truth"
    assert found.comparisons == 10 * 4, "scores with a better side, in three domains and on the mean"


def test_what_an_engine_rounds_passes_and_a_drop_is_named():
    rounded = run("b", changed={("E35", "accuracy_truth"): 0.95 - 2e-5}, engine="other")
    assert compare(run("a"), rounded, COSTS).passed
    worse = compare(run("a"), run("b", changed={("E35", "accuracy_truth"): 0.945}), COSTS)
    assert failed(worse) == [("accuracy_truth", "E35"), ("accuracy_truth", MEAN)]
    assert "accuracy_truth in E35" in summary(worse)
    assert "0.95000 to 0.94500" in summary(worse)


@pytest.mark.parametrize("name", [name for name in SCORES if BETTER[family(name)] and name != "accuracy_human"])
def test_each_score_has_its_worse_side(name):
    step = 0.05 * BETTER[family(name)]
    worse = compare(run("a"), run("b", changed={("E35", name): SCORES[name] - step}), COSTS)
    assert (name, "E35") in failed(worse)
    better = compare(run("a"), run("b", changed={("E35", name): SCORES[name] + step}), COSTS)
    assert better.passed
    assert verdicts(better)[name, "E35"] == "improved"


def test_a_precision_may_cost_what_is_stated_and_no_more():
    stated = COSTS.precision["int8"]["accuracy"]
    within = run("b", changed={("E35", "accuracy_truth"): 0.95 - 0.9 * stated}, precision="int8")
    assert compare(run("a"), within, COSTS).passed
    assert not compare(
        run("a"), Run("b", tuple(r.model_copy(update={"precision": "f32"}) for r in within.rows)), COSTS
    ).passed
    beyond = run("b", changed={("E35", "accuracy_truth"): 0.95 - 1.5 * stated}, precision="int8")
    assert failed(compare(run("a"), beyond, COSTS))[0] == ("accuracy_truth", "E35")
    with pytest.raises(InputError, match=r"fp4.*tolerances\.toml: f32"):
        compare(run("a"), run("b", precision="fp4"), COSTS)


@pytest.mark.parametrize("precision", ["f32", "bf16", "int8", "f16"])
def test_stated_costs_are_those_that_artifacts_are_verified_with(precision):
    profile, _ = read_profile("tensorrt" if precision == "f16" else "openvino")
    stated = profile.tolerance[precision]
    assert (COSTS.precision[precision]["accuracy"], COSTS.precision[precision]["nll"]) == (stated.accuracy, stated.nll)


def test_a_user_allows_more_or_less():
    dropped = run("b", changed={("E35", "accuracy_truth"): 0.945})
    assert compare(run("a"), dropped, COSTS, allow=["accuracy_truth=0.01"]).passed
    assert compare(run("a"), dropped, COSTS, allow=["accuracy=0.01"]).passed, "a family of scores"
    little = run("b", changed={("E35", "accuracy_truth"): 0.95 - 2e-5})
    assert not compare(run("a"), little, COSTS, allow=["accuracy_truth=0"]).passed
    with pytest.raises(UnknownNameError, match="Did you mean 'accuracy_truth'"):
        compare(run("a"), dropped, COSTS, allow=["acuracy_truth=1"])
    for wrong in (
        "accuracy_truth",
        "accuracy_truth=-1",
        "accuracy_truth=much",
        "accuracy_truth=nan",
        "accuracy_truth=inf",
    ):
        with pytest.raises(InputError, match="METRIC=VALUE"):
            compare(run("a"), dropped, COSTS, allow=[wrong])


def test_dead_dropout_is_always_caught():
    dead = {(domain, key): 0.0 for domain in DOMAINS for key in ("mutual_information", "spread")}
    for base in (run("a"), run("a", changed=dead)):
        found = compare(base, run("b", changed=dead), COSTS)
        assert ("mutual_information", "Tesla") in failed(found)
        assert "dropout is dead" in summary(found)
    rounding = {("Tesla", "mutual_information"): 3e-8}
    assert "dropout is dead" in summary(compare(run("a"), run("b", changed=rounding), COSTS))
    # other weights, noise from repeats, and every limit waived: still
    repeats = [run(f"r{n}", changed={("Tesla", "entropy"): 0.15 + n}, seed=n) for n in (1, 2)]
    waived = [f"{name}=9" for name in BETTER]
    assert "dropout is dead" in summary(
        compare(run("a"), run("b", changed=dead, model_hash="2"), COSTS, repeats, waived)
    )


def test_uncertainty_that_moves_is_said_and_what_is_lost_of_equal_samples_fails():
    more = {("Tesla", "entropy"): 0.2, ("E35", "entropy"): 0.1, ("Tesla", "spread"): 0.03, ("E35", "viability"): 1.2}
    found = compare(run("a"), run("b", changed=more), COSTS)
    assert found.passed
    assert {verdicts(found)[key, domain] for domain, key in more} == {"changed"}
    lost = compare(run("a"), run("b", changed={("E35", "mutual_information"): 0.004}), COSTS)
    assert ("mutual_information", "E35") in failed(lost)


@pytest.mark.parametrize(("samples", "said"), [(0, "nothing is sampled"), (1, "one sample")])
def test_without_samples_there_is_no_uncertainty(samples, said):
    gone = {(domain, "mutual_information"): 0.0 for domain in DOMAINS}
    blocks = tuple(((50, n), (0, 50)) for n in range(9))
    found = compare(run("a", blocks=blocks), run("b", changed=gone, samples=samples, blocks=blocks), COSTS)
    assert said in summary(found)
    both = compare(run("a", changed=gone, samples=samples), run("b", changed=gone, samples=samples), COSTS)
    assert both.passed


def test_what_is_undefined_now_fails_and_what_always_was_does_not():
    gone = {("E35", "auc_truth"): math.nan}
    found = compare(run("a"), run("b", changed=gone), COSTS)
    assert failed(found) == [("auc_truth", "E35")]
    assert compare(run("a", changed=gone), run("b", changed=gone), COSTS).passed
    assert compare(run("a", changed=gone), run("b"), COSTS).passed


def test_every_case_is_compared_not_only_the_domain():
    def scans(accuracy):
        rows = tuple(row("NMC", f"scan-{n}", metrics={"accuracy_human": a}) for n, a in enumerate(accuracy))
        return Run("scans", rows)

    found = compare(scans((0.9, 0.9)), scans((0.8, 1.0)), COSTS)  # the mean has not moved
    assert failed(found) == [("accuracy_human", "NMC/scan-0")]


# --- what cannot be compared


def test_other_data_is_no_comparison():
    with pytest.raises(InputError, match=r"b was measured on other data than a.*Tesla, E35, 25R6 differ \(3 of 3"):
        compare(run("a"), run("b", data_hash="2"), COSTS)
    with pytest.raises(InputError, match="no domain in common: a has Tesla of set; b has E35 of set"):
        compare(run("a", ("Tesla",)), run("b", ("E35",)), COSTS)
    with pytest.raises(InputError, match="no score in common"):
        compare(Run("a", (row(metrics={"accuracy_truth": 1.0}),)), Run("b", (row(metrics={"auc_truth": 1.0}),)), COSTS)
    with pytest.raises(InputError, match="no rows of a model"):
        compare(run("a"), Run("b", (row(kind="baseline"),)), COSTS)
    with pytest.raises(InputError, match="rows of several runs"):
        compare(run("a"), Run("b", run().rows + run(seed=2).rows), COSTS)
    with pytest.raises(InputError, match="twice"):
        compare(run("a"), Run("b", run().rows + run().rows), COSTS)


def test_what_is_only_in_one_run_is_said():
    found = compare(run("a"), run("b", ("Tesla", "E35")), COSTS)
    assert "not in b, so not compared: 25R6" in found.notes
    less = Run("b", tuple(r.model_copy(update={"metrics": {"accuracy_truth": 0.95}}) for r in run().rows))
    assert any("scores that b does not have: miou_truth" in note for note in compare(run("a"), less, COSTS).notes)


def test_what_made_the_runs_is_said():
    found = compare(run("a"), run("b", engine="openvino", versions={"openvino": "2026.1"}, device="a card"), COSTS)
    assert {"engine differs: fake, openvino 2026.1", "device differs: none, a card"} <= set(found.notes)
    assert not any("calibrated" in note for note in found.notes)
    bare = compare(run("a"), run("b", calibrated=False), COSTS)
    assert "calibrated differs: True, False" in bare.notes


def test_without_any_measure_of_noise_it_does_not_pass():
    with pytest.raises(InputError, match=r"differs from a in weights and seed \(0, 1\).*--repeat RUN at least 2 times"):
        compare(run("a"), run("b", model_hash="2", seed=1), COSTS)


# --- noise from repeats


def noisy(rng, name, seed, sigma, drop=None, **fields) -> Run:
    """A run whose masks move every score; domains move together by half."""
    moved = {}
    shared = rng.standard_normal(len(SCORES))
    for domain in sigma:
        for n, key in enumerate(SCORES):
            chance = math.sqrt(0.5) * (shared[n] + rng.standard_normal())
            moved[domain, key] = SCORES[key] + sigma[domain] * chance - (drop or {}).get((domain, key), 0.0)
    return run(name, tuple(sigma), moved, seed=seed, **fields)


def drawn(rng, repeats, drop=None):
    """BASE, NEW and repeats of one model, each with masks of its own; noise differs from domain to domain."""
    sigma = {f"domain {n}": 1e-3 * math.exp(0.5 * rng.standard_normal()) for n in range(8)}
    base, *others = (noisy(rng, f"r{n}", n, sigma) for n in range(repeats + 1))
    return base, noisy(rng, "new", 99, sigma, drop), others


@pytest.mark.parametrize("repeats", [2, 4, 8])
def test_an_unchanged_model_with_other_masks_rarely_fails(repeats):
    rng = np.random.default_rng(repeats)
    trials = 80
    false = sum(
        not compare(base, new, COSTS, more).passed for base, new, more in (drawn(rng, repeats) for _ in range(trials))
    )
    assert false <= 0.05 * trials
    # and not because nothing moves: judged one by one, some would
    found = [compare(base, new, COSTS, more) for base, new, more in (drawn(rng, repeats) for _ in range(5))]
    assert all("moved" in verdicts(one).values() for one in found)


def test_a_drop_of_two_points_in_one_domain_is_caught_and_named():
    rng = np.random.default_rng(0)
    key = ("domain 3", "accuracy_truth")
    found = [compare(base, new, COSTS, more) for base, new, more in (drawn(rng, 8, {key: 0.02}) for _ in range(40))]
    caught = [("accuracy_truth", "domain 3") in failed(one) for one in found]
    assert sum(caught) >= 0.9 * len(caught)
    named = [set(failed(one)) <= {("accuracy_truth", "domain 3"), ("accuracy_truth", MEAN)} for one in found]
    assert sum(named) >= 0.9 * len(named), "and nothing else is"


def test_one_comparison_of_a_known_noise_has_the_limit_of_iso_5725():
    assert quantile(math.inf, 1) == pytest.approx(1.96, abs=1e-3)
    alike = Noise(math.sqrt(2), math.inf)
    assert alike.limit(1) == alike.repeatability() == pytest.approx(2.77, abs=5e-3)


def test_noise_of_repeats_is_their_deviation():
    runs = np.array([[0.0, 1.0, 5.0], [2.0, 1.0, math.nan], [4.0, 1.0, 5.0]])
    (first, second, third), mean = of_repeats(runs, 2.0)
    assert (first.freedom, first.deviation) == (2, pytest.approx(math.sqrt(2) * 2))
    assert second.deviation == 0
    assert math.isnan(third.deviation), "undefined in a run"
    assert mean.deviation == pytest.approx(math.sqrt(2) * 1)
    assert math.isnan(of_repeats(runs[:2], 2.0)[1].deviation), "two runs say too little"


def test_repeats_have_to_be_some():
    new = run("b", model_hash="2")
    good = run("c", seed=1)
    for repeats, said in (
        ([good], "one --repeat says next to nothing"),
        ([good, run("d", seed=1)], "--repeat d: the same model and masks as c"),
        ([good, run("d")], "--repeat d: the same model and masks as a"),
        ([good, run("d", seed=2, samples=4)], "T = 4, a has T = 16"),
        ([good, run("d", model_hash="3")], "either other seeds or siblings"),
        ([good, run("d", ("Tesla",), seed=2)], "--repeat d: has no rows of E35"),
        ([good, run("d", seed=2, data_hash="2")], "other data"),
    ):
        with pytest.raises(InputError, match=said):
            compare(run("a"), new, COSTS, repeats)
    with pytest.raises(InputError, match="repeat BASE with other seeds"):
        compare(run("a"), run("b", seed=7), COSTS, [run("c", model_hash="3"), run("d", model_hash="4")])


def test_siblings_measure_what_training_leaves_to_chance():
    rng = np.random.default_rng(0)
    sigma = dict.fromkeys(DOMAINS, 2e-3)
    base, new, *more = (noisy(rng, f"sibling {n}", 0, sigma, model_hash=str(n)) for n in range(6))
    found = compare(base, new, COSTS, more)
    assert found.passed
    assert any("the artifact differs" in note for note in found.notes)


def test_a_repeat_with_the_seed_of_new_is_compared_exactly():
    moved = {("Tesla", "accuracy_truth"): 0.9}
    repeats = [run("c", changed=moved, seed=7), run("d", seed=8)]
    found = compare(run("a"), run("b", changed=moved, seed=7), COSTS, repeats)
    assert found.passed
    assert "the same network with the same masks" in found.how
    assert not compare(
        run("a"), run("b", seed=8), COSTS, [run("c", seed=7), run("d", changed={("E35", "auc_truth"): 1.0}, seed=8)]
    ).passed


# --- noise from blocks


def blocks_of(rng, accuracy, count=27, voxels=4000):
    """Confusion of blocks; how well each goes differs from block to block."""
    made = []
    for _ in range(count):
        share = np.clip(accuracy + 0.02 * rng.standard_normal(), 0, 1)
        right = rng.binomial(voxels, share, 2)
        made.append(((int(right[0]), int(voxels - right[0])), (int(voxels - right[1]), int(right[1]))))
    return tuple(made)


def blocks_of_share(rng, block, shift):
    """The block with its accuracies moved by `shift`, and drawn again."""
    made = []
    for true, counts in enumerate(block):
        total = sum(counts)
        right = int(rng.binomial(total, np.clip(counts[true] / total + shift, 0, 1)))
        made.append((right, total - right) if true == 0 else (total - right, right))
    return tuple(made)


def blocked(name, found, **fields) -> Run:
    rows = []
    for domain, blocks in found.items():
        total = np.array(blocks).sum(axis=0)
        values = {"accuracy_truth": overlap.accuracy(total), "miou_truth": overlap.miou(total), "nll_truth": 0.1}
        values |= {f"f1_{c}_truth": float(f) for c, f in zip(("void", "active"), overlap.f1(total), strict=True)}
        rows.append(row(domain, domain, metrics=values, blocks=blocks, **fields))
    return Run(name, tuple(rows))


def test_scores_of_many_matrices_are_those_of_one():
    counts = np.random.default_rng(0).integers(0, 50, (30, 2, 2))
    counts[0] = [[5, 0], [0, 0]]  # a class that occurs nowhere
    for name, one in (
        ("accuracy_truth", overlap.accuracy),
        ("miou_human", overlap.miou),
        ("f1_b_truth", lambda m: float(overlap.f1(m)[1])),
    ):
        np.testing.assert_allclose(score(counts, name, ("a", "b")), [one(m) for m in counts], rtol=1e-12)
    assert score(counts, "auc_truth", ("a", "b")) is None


def test_noise_of_blocks_is_that_of_the_bootstrap_and_of_the_closed_form():
    rng = np.random.default_rng(0)
    one, other = blocks_of(rng, 0.9), blocks_of(rng, 0.9)
    found = of_blocks([row(blocks=one)], [row(blocks=other)], "accuracy_truth", ("void", "active"))
    shares = [np.trace(np.array(b), axis1=1, axis2=2) / 8000 for b in (one, other)]  # of blocks of one size
    assert found.deviation == pytest.approx(math.hypot(*(s.std() / math.sqrt(27) for s in shares)), rel=0.1)
    assert found.freedom == 26
    ends = [of_pooled(np.array(b), overlap.miou) for b in (one, other)]
    both = of_blocks([row(blocks=one)], [row(blocks=other)], "miou_truth", ("void", "active"))
    assert math.hypot(*(e.high - e.low for e in ends)) == pytest.approx(2 * 1.96 * both.deviation, rel=0.1)
    assert math.isnan(of_blocks([row(blocks=one)], [row()], "accuracy_truth", ()).deviation)
    assert math.isnan(of_blocks([row(blocks=one)], [row(blocks=one)], "auc_truth", ()).deviation)


def test_without_repeats_masks_are_no_alarm_and_gross_losses_are_found():
    """Masks move whole volumes together: the same blocks drawn in both runs would call that a change."""
    rng = np.random.default_rng(1)
    trials, false, caught = 40, 0, 0
    for _ in range(trials):
        old = {d: blocks_of(rng, 0.9) for d in DOMAINS}
        shift = rng.normal(0, 0.002)
        moved = {d: tuple(blocks_of_share(rng, b, shift) for b in blocks) for d, blocks in old.items()}
        false += not compare(blocked("a", old), blocked("b", moved, seed=1), COSTS).passed
        worse = moved | {"E35": tuple(blocks_of_share(rng, b, -0.1) for b in old["E35"])}
        found = compare(blocked("a", old), blocked("b", worse, model_hash="2"), COSTS)
        caught += ("accuracy_truth", "E35") in failed(found)
    assert false <= 0.05 * trials
    assert caught >= 0.9 * trials
    assert verdicts(found)["nll_truth", "Tesla"] == "unmeasured"
    assert any("not judged, since nothing measures their noise: nll_truth" in note for note in found.notes)
    assert any("what other masks or trainings would change is no part" in note for note in found.notes)
    same_model = compare(blocked("a", old), blocked("b", moved, seed=1), COSTS)
    assert any("with --seed 0 NEW would be compared exactly" in note for note in same_model.notes)
    assert any("only gross losses are found" in note for note in same_model.notes)


def test_other_weights_under_the_same_masks_are_compared_block_by_block():
    """One point less in one domain is found, and blocks that fall otherwise by chance alone are not."""
    rng = np.random.default_rng(2)
    trials, false, caught = 40, 0, 0
    for _ in range(trials):
        old = {d: blocks_of(rng, 0.9) for d in DOMAINS}
        alike = {d: tuple(blocks_of_share(rng, b, rng.normal(0, 0.005)) for b in blocks) for d, blocks in old.items()}
        false += not compare(blocked("a", old), blocked("b", alike, model_hash="2"), COSTS).passed
        worse = alike | {"E35": tuple(blocks_of_share(rng, b, rng.normal(-0.01, 0.005)) for b in old["E35"])}
        found = compare(blocked("a", old), blocked("b", worse, model_hash="2"), COSTS)
        caught += ("accuracy_truth", "E35") in failed(found)
    assert false <= 0.05 * trials
    assert caught >= 0.9 * trials
    assert "how the blocks of each volume differ" in found.how


# --- speed


def timed(name, seconds, **fields):
    return Run(name, tuple(r.model_copy(update={"wall_s": seconds / 3}) for r in run(name, **fields).rows))


def test_wall_time_is_a_ratio_on_one_machine():
    repeats = [timed(f"r{n}", 10 + 0.1 * n, seed=n) for n in (1, 2, 3, 4)]
    same, slow = timed("b", 10.2), timed("b", 15.0)
    assert compare(timed("a", 10), same, COSTS, repeats, speed=True).passed
    found = compare(timed("a", 10), slow, COSTS, repeats, speed=True)
    assert failed(found) == [("wall_s", "all")]
    assert found.regressions[0].difference == pytest.approx(0.5)
    assert "+50.0 %" in summary(found)
    assert compare(timed("a", 10), slow, COSTS, repeats).passed, "speed was not asked for"
    assert compare(timed("a", 10), timed("b", 15, device="another"), COSTS, repeats, speed=True).passed
    alone = compare(timed("a", 10), slow, COSTS, speed=True)
    assert verdicts(alone)["wall_s", "all"] == "unmeasured"
    assert not compare(timed("a", 10), slow, COSTS, speed=True, allow=["wall_s=0.2"]).passed


# --- what is written


@pytest.fixture
def worse():
    return compare(run("a|b"), run("<c> & 'd' \x01", changed={("E35", "accuracy_truth"): 0.9}), COSTS)


def test_junit_is_xml_with_a_case_for_each_score_and_domain(worse):
    root = ElementTree.fromstring(junit(worse))
    suite = root.find("testsuite")
    cases = suite.findall("testcase")
    assert (root.tag, len(cases)) == ("testsuites", len(worse.lines))
    for element in (root, suite):
        assert int(element.get("tests")) == len(cases)
        assert int(element.get("failures")) == len(suite.findall("testcase/failure")) == len(worse.regressions)
        assert int(element.get("errors")) == 0
        assert int(element.get("skipped")) == len(suite.findall("testcase/skipped"))
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases)
    first = next(case for case in cases if case.find("failure") is not None)
    assert (first.get("classname"), first.get("name")) == ("segbench.compare.accuracy_truth", "E35")
    assert "0.95000 to 0.90000" in first.find("failure").get("message")
    assert suite.get("name").startswith("<c> & 'd'")


def test_markdown_and_json_say_the_same(worse):
    page = markdown(worse)
    assert "| accuracy\\_truth | E35 | 0.95000 | 0.90000 | -0.05000 |" in page
    assert "a\\|b" in page
    assert "\\<c\\>" in page
    said = plain(worse)
    assert said["verdict"] == "regression"
    assert said["regressions"][0] == {"metric": "accuracy_truth", "domain": "E35"}
    assert len(said["lines"]) == len(worse.lines)
    assert shown(worse)[0].verdict == "regression"


# --- which scores


def test_scores_are_compared_against_the_truth_where_there_is_one():
    assert set(compared(row(metrics={"accuracy_truth": 1, "accuracy_human": 1, "auc_human": 1}))) == {
        "accuracy_truth", "auc_human",
    }  # fmt: skip
    for name in ("accuracy", "accuracy_band_truth", "tp_at_0.50_truth", "share", "viability_of_truth", "foreign"):
        assert family(name) is None, name
    assert family("f1_active_human") == "f1"
    assert family("error_auroc_mutual_information_truth") == "error_auroc"
    assert family("error_auroc_entropy_band_truth") is None


def test_json_of_a_comparison_has_no_nan(worse):
    assert json.dumps(plain(compare(run("a"), run("b"), COSTS)), allow_nan=False)
