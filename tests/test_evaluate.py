"""Evaluation: rows with provenance, tables as pure functions, and honest baselines."""

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import blobs

from segbench.data import battery16
from segbench.data.domains import DOMAINS
from segbench.engines import start
from segbench.errors import InputError, UnknownNameError
from segbench.evaluate import tallied
from segbench.evaluate.blocks import PIECES, THINNEST, blocks
from segbench.evaluate.cases import choose, open_data
from segbench.evaluate.printed import sandia
from segbench.evaluate.run import Request, command, run
from segbench.evaluate.scores import agreement
from segbench.evaluate.table import cautions, comma_separated, markdown, tables, viability_gap
from segbench.io.message import printable
from segbench.metrics.counts import confusion
from segbench.metrics.overlap import accuracy
from segbench.metrics.uncertainty import MEASURES
from segbench.predict import predict
from segbench.rows import comparable, read_rows
from segbench.tally import Maps, Tally, tally
from segbench.volume import Volume

SIZE = 40
PICKED = "Tesla,Litarion,Electrode_III_3"


@pytest.fixture(scope="module")
def request_(tiny, tmp_path_factory):
    return Request(
        str(tiny.path),
        PICKED,
        samples=3,
        engine="onnxruntime",
        size=SIZE,
        out=tmp_path_factory.mktemp("run"),
        threads=2,
    )


@pytest.fixture(scope="module")
def result(request_):
    return run(request_)


def test_calibration_is_scored_beside_accuracy():
    """Probabilities of .8 that are right in half of the voxels: closed forms."""
    truth = np.array([[[0, 1, 0, 1]]], np.uint8)
    said = np.full(truth.shape, 0.8, np.float32)
    found, _ = agreement(truth, np.ones_like(truth), said, ("void", "active"), "truth")
    assert found["nll_truth"] == pytest.approx(-(np.log(0.8) + np.log(0.2)) / 2, rel=1e-6)
    assert found["brier_truth"] == pytest.approx((0.2**2 + 0.8**2) / 2, rel=1e-6)
    assert found["ece_truth"] == pytest.approx(0.3, rel=1e-6)


def test_every_case_has_rows_of_the_model_and_both_baselines(result, request_):
    got = [(row.domain, row.model) for row in result.rows]
    assert got == [(d, m) for d in ("Tesla", "Litarion", "Electrode_III_3") for m in ("tiny", "otsu", "forest")]
    assert read_rows(request_.out / "rows.json") is not None
    row = result.rows[0]
    assert (row.samples, row.seed, row.engine, row.precision, row.threads) == (3, 0, "onnxruntime", "f32", 2)
    assert row.voxels == SIZE**3
    assert len(row.model_hash) == len(row.data_hash) == 64
    assert row.wall_s > 0
    assert {"python", "numpy", "onnxruntime"} <= row.versions.keys()


def test_scores_follow_from_the_confusion_matrix_and_the_data(result):
    case = battery16.load(["Tesla"], SIZE)[0]
    row = result.rows[0]
    counts = np.array(row.confusion_truth)
    assert counts.sum() == SIZE**3
    assert counts[1].sum() == case.truth.sum()
    assert row.metrics["accuracy_truth"] == accuracy(counts)
    assert row.metrics["human_accuracy_truth"] == (case.truth == case.label).mean()
    otsu = result.rows[1]
    z = (case.image - case.image.mean(dtype=np.float64)) / case.image.std(dtype=np.float64)
    assert otsu.metrics["viability"] > 0
    expected = z[case.truth == 1].mean() - z[case.truth == 0].mean()
    assert row.metrics["viability_of_truth"] == pytest.approx(expected, rel=1e-5)


OF_MEASURE = (
    "error_auroc_{}", "error_ap_{}", "ause_{}", "aurc_{}", "pavpu_{}", "p_accurate_certain_{}",
    "p_uncertain_inaccurate_{}", "{}_band", "{}_interior",
)  # fmt: skip
OF_REGION = ("share_{}", "accuracy_{}", "ece_{}", "error_auroc_entropy_{}")
DIAGRAMS = {"reliability": ("count", "confidence", "right"), "classwise": ("count", "probability", "present")}


def test_a_row_has_every_score_and_curve_of_calibration_and_uncertainty(result):
    row = result.rows[0]
    for against in ("truth", "human"):
        names = {name.format(measure) for measure in MEASURES for name in OF_MEASURE}
        names |= {name.format(region) for region in ("band", "interior") for name in OF_REGION}
        names |= {"ece_classwise", "auc", "nll", "brier", "ece"}
        assert {f"{name}_{against}" for name in names} <= row.metrics.keys()
        curves = {f"{kind}_{name}_{against}": 15 for kind, names in DIAGRAMS.items() for name in names}
        curves |= {f"sparsification_{name}_{against}": 50 for name in (*MEASURES, "oracle")}
        assert {name: len(row.curves[name]) for name in curves} == curves
        assert sum(row.curves[f"reliability_count_{against}"]) == SIZE**3
    assert len(row.curves) == 2 * 11
    assert {"entropy", "mutual_information", "spread", "deviation"} <= row.metrics.keys()
    assert row.metrics["share_band_truth"] + row.metrics["share_interior_truth"] == pytest.approx(1, rel=1e-12)
    shares = (row.metrics[f"share_{r}_truth"] * row.metrics[f"accuracy_{r}_truth"] for r in ("band", "interior"))
    assert sum(shares) == pytest.approx(row.metrics["accuracy_truth"], rel=1e-12)
    assert row.curves["sparsification_entropy_truth"][0] == pytest.approx(1 - row.metrics["accuracy_truth"])
    assert "ause_entropy_truth" not in result.rows[2].metrics, "a baseline has no samples"
    assert result.rows[2].curves == {}
    assert result.rows[2].metrics["ece_truth"] >= 0


def test_the_curves_are_the_diagram_that_the_error_is_of(result):
    curves, metrics = result.rows[0].curves, result.rows[0].metrics
    for kind, error in (("reliability", "ece"), ("classwise", "ece_classwise")):
        count, said, seen = (np.array(curves[f"{kind}_{name}_human"]) for name in DIAGRAMS[kind])
        there = count > 0
        assert np.isnan(said[~there]).all()
        gap = (count * np.abs(said - seen))[there].sum() / count.sum()
        assert gap == pytest.approx(metrics[f"{error}_human"], rel=1e-9)


def test_blocks_add_up_to_the_volume_of_their_reference(result):
    row = result.rows[0]
    assert len(row.blocks) == 2**3, "40 voxels are two blocks of 16 and more"
    np.testing.assert_array_equal(np.sum(row.blocks, axis=0), row.confusion_truth)
    assert result.rows[1].blocks == ()


@pytest.mark.parametrize("shape", [(96, 96, 96), (1, 100, 47), (15, 16, 33), (5, 48, 49), (200, 1, 31)])
def test_blocks_are_thirds_unless_they_would_be_thin(shape):
    rng = np.random.default_rng(0)
    reference, labels = rng.integers(0, 2, (2, *shape), dtype=np.uint8)
    found = blocks(reference, labels, 2)
    np.testing.assert_array_equal(np.sum(found, axis=0), confusion(reference, labels, 2))
    pieces = [max(1, min(PIECES, length // THINNEST)) for length in shape]
    assert len(found) == np.prod(pieces)
    smallest = np.prod([length // n for length, n in zip(shape, pieces, strict=True)])
    assert min(np.sum(block) for block in found) == smallest
    assert all(length // n >= min(THINNEST, length) for length, n in zip(shape, pieces, strict=True))


def test_band_and_interior_have_their_names():
    reference = np.zeros((1, 6, 20), np.uint8)
    reference[:, :, 10:] = 1
    p = np.where(reference, 0.9, 0.1).astype(np.float32)
    p[:, :, 9] = 0.6  # wrong, beside the boundary
    doubt = np.where(p == np.float32(0.6), 0.4, 0.1).astype(np.float32)
    found = tallied.scores(tally(Maps(p, doubt, doubt, doubt, doubt), reference), "truth")
    assert (found["share_band_truth"], found["share_interior_truth"]) == (4 / 20, 16 / 20)
    assert (found["accuracy_band_truth"], found["accuracy_interior_truth"]) == (3 / 4, 1)
    assert found["spread_band_truth"] == pytest.approx((0.4 + 3 * 0.1) / 4)
    assert found["spread_interior_truth"] == pytest.approx(0.1)
    assert found["error_auroc_entropy_band_truth"] == 1
    assert math.isnan(found["error_auroc_entropy_interior_truth"])
    assert found["ece_interior_truth"] == pytest.approx(0.1, abs=1e-6)


def test_what_nothing_was_summed_for_is_nan_and_has_its_name():
    found = tallied.scores(Tally(), "truth")
    assert len(found) == 4 + 1 + 4 * 9 + 2 * 4
    assert np.isnan(list(found.values())).all()
    for name, curve in tallied.curves(Tally(), "truth").items():
        assert "count" in name or np.isnan(curve).all()


def test_softmax_alone_has_no_disagreement_to_rank_by(tiny):
    result = run(Request(str(tiny.path), "Tesla", samples=0, engine="onnxruntime", size=SIZE))
    metrics = result.rows[0].metrics
    assert metrics["deviation"] == metrics["spread"] == metrics["mutual_information"] == 0
    for name in ("mutual_information", "spread", "deviation"):
        assert metrics[f"error_auroc_{name}_truth"] == 0.5
        assert math.isnan(metrics[f"p_accurate_certain_{name}_truth"])
    assert metrics["entropy_band_truth"] > 0


def test_a_row_stays_small(request_, result):
    size = (request_.out / "rows.json").stat().st_size
    assert size < len(result.rows) / 3 * 40_000


def test_the_run_folder_holds_what_the_tables_say(result, request_):
    page = (request_.out / "table.md").read_text()
    assert "Litarion" in page
    assert "*0.984*" not in page, "E35 was not asked for"
    assert "T = 3, seed 0, onnxruntime" in page
    assert "*0.668*" in page, "printed values stand in italics in their own column"
    lines = list(csv.DictReader(io.StringIO((request_.out / "table.csv").read_text())))
    assert [line["domain"] for line in lines] == ["Tesla", "Litarion", "Electrode_III_3", "mean"]
    assert float(lines[0]["accuracy_truth"]) == result.rows[0].metrics["accuracy_truth"]
    mean = np.mean([float(line["accuracy_truth"]) for line in lines[:3]])
    assert float(lines[3]["accuracy_truth"]) == pytest.approx(mean, rel=1e-12)
    assert (request_.out / "panels" / "Tesla.png").stat().st_size > 10_000


def test_one_seed_gives_one_result_and_another_other_uncertainty(result, request_, tmp_path):
    from dataclasses import replace

    again = run(replace(request_, domain="Tesla", out=tmp_path))
    assert [comparable(r) for r in again.rows] == [comparable(r) for r in result.rows[:3]]
    other = run(replace(request_, domain="Tesla", out=None, seed=1))
    assert other.rows[0].metrics["mutual_information"] != again.rows[0].metrics["mutual_information"]
    assert other.rows[1].metrics == again.rows[1].metrics


def test_tables_are_pure_functions_of_stored_rows(result, request_):
    stored = read_rows(request_.out / "rows.json")
    classes = ("void", "active")
    a, b = (tables(rows, classes, sandia(), ()) for rows in (result.rows, stored))
    assert comma_separated(a) == comma_separated(b)
    assert markdown(a, "x", "y") == markdown(b, "x", "y")


def test_undefined_values_stay_visible_and_out_of_the_mean(result):
    rows = list(result.rows)
    broken = rows[0].model_copy(update={"metrics": rows[0].metrics | {"f1_active_truth": math.nan}})
    (table, *_) = tables([broken, *rows[1:]], ("void", "active"), None, ())
    text = {line[0]: line for line in table.text()}
    column = table.text()[0].index("F1 active")
    assert text["Tesla"][column] == "nan"
    others = [row.metrics["f1_active_truth"] for row in rows if row.kind == "case"][1:]
    assert table.mean["f1_active_truth"] == pytest.approx(np.mean(others))
    assert any("F1 active is undefined for 1 of 3" in note for note in table.notes)


def test_calibration_errors_found_and_the_foreign_score_are_shown(result):
    rows = list(result.rows)
    made = tables(rows, ("void", "active"), None, ())
    (table,) = [table for table in made if table.title.endswith("foreign input")]
    text = {line[0]: line for line in table.text()}
    for heading, key in (
        ("NLL", "nll_truth"),
        ("ECE", "ece_truth"),
        ("error AUROC, entropy", "error_auroc_entropy_truth"),
    ):
        assert text["Tesla"][text["domain"].index(heading)] == f"{rows[0].metrics[key]:.3f}"
        column = next(line.split(",") for line in comma_separated(made).splitlines())
        assert key in column, "and unrounded in table.csv"
    scored = [r.model_copy(update={"metrics": r.metrics | {"foreign": 0.9982, "foreign_tiles": 0.5}}) for r in rows]
    (table,) = [t for t in tables(scored, ("void", "active"), None, ()) if t.title.endswith("foreign input")]
    assert table.text()[1][table.text()[0].index("foreign score")] == "0.9982", "0.99 is the threshold"


def test_what_is_undefined_for_the_same_domains_is_one_note(result):
    gone = {"share_low": math.nan, "share_high": math.nan, "share_covered": 1.0}
    rows = [r.model_copy(update={"metrics": r.metrics | gone}) for r in result.rows]
    *_, table = tables(rows, ("void", "active"), None, ())
    (note,) = [note for note in table.notes if "conf. low" in note]
    assert note.startswith("conf. low, conf. high,")
    assert note.endswith("are undefined for 3 of 3 domains, which their means leave out")


def test_warnings_and_the_command_are_complete(result, request_):
    from dataclasses import replace

    warned = [r.model_copy(update={"warnings": ("unlike\x1b[31m",)}) for r in result.rows[:1]]
    assert cautions([*warned, *result.rows[1:]]) == [f"warning: {printable('unlike' + chr(27) + '[31m')}"]
    for name in ("invert", "uncalibrated", "unverified"):
        assert f"--{name}" in command(replace(request_, **{name: True})).split()
        assert f"--{name}" not in command(request_)


def test_the_study_s_own_numbers_come_out_of_its_printed_table():
    """Wins, correlation and means of table 0.2, recomputed from its lines."""
    printed = sandia()
    assert [line.domain for line in printed.domains] == list(DOMAINS)
    assert printed.wins == 14
    assert printed.correlation == pytest.approx(-0.9708, abs=5e-5)
    for key in ("accuracy", "human_viability", "ml_viability"):
        mean = np.mean([getattr(line, key) for line in printed.domains])
        assert getattr(printed.mean, key) == pytest.approx(mean, abs=5e-4)
    lines = [
        {"viability": d.ml_viability, "viability_of_human": d.human_viability, "accuracy_human": d.accuracy}
        for d in printed.domains
    ]
    assert viability_gap(lines) == (14, 16, pytest.approx(printed.correlation))


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("all", list(DOMAINS)),
        ("Tesla", ["Tesla"]),
        ("Electrode_IV_*,E35", ["E35", "Electrode_IV_1", "Electrode_IV_3", "Electrode_IV_2"]),
        ("Tesla, Tesla", ["Tesla"]),
    ],
)
def test_domains_are_chosen_by_name_and_pattern(wanted, chosen):
    assert list(choose(wanted, list(DOMAINS))) == chosen


@pytest.mark.parametrize("wanted", ["Tessla", "Tesla,", "", "tesla"])
def test_unknown_domains_are_refused_with_the_known_ones(wanted):
    with pytest.raises(UnknownNameError, match="Electrode_III_3"):
        choose(wanted, list(DOMAINS))


MANIFEST = """
name = "mine"
source = "a test"
licence = "MIT"
use = "train and check"
classes = ["void", "solid"]
[[domain]]
name = "slices"
labels = {{ "0" = 0, "255" = 1 }}
{cases}
"""


def manifest(folder: Path, count: int, depth: int = 1, empty: bool = False) -> Path:
    cases = []
    for n in range(count):
        image = blobs((depth, 40, 44), seed=n)
        label = np.zeros(image.shape, np.uint8) if empty else ((image > 0) * 255).astype(np.uint8)
        tifffile.imwrite(folder / f"{n}.image.tif", image.squeeze(), photometric="minisblack")
        tifffile.imwrite(folder / f"{n}.label.tif", label.squeeze(), photometric="minisblack")
        cases.append(f'[[domain.case]]\nname = "{n}"\nsplit = "test"\nimage = "{n}.image.tif"\nlabel = "{n}.label.tif"')
    path = folder / "mine.toml"
    path.write_text(MANIFEST.format(cases="\n".join(cases)))
    return path


def test_your_own_slices(tiny, tmp_path):
    path = manifest(tmp_path, 2)
    result = run(Request(str(tiny.path), data=str(path), samples=2, engine="onnxruntime", out=tmp_path / "run"))
    assert [row.model for row in result.rows] == ["tiny", "otsu", "forest"] * 2
    assert result.rows[0].confusion_truth is None
    assert "accuracy_truth" not in result.rows[0].metrics
    assert result.tables[0].lines[0][1]["cases"] == 2
    assert (tmp_path / "run" / "panels" / "slices-0.png").is_file()


def test_only_test_cases_are_evaluated(tiny, tmp_path):
    path = manifest(tmp_path, 3)
    path.write_text(path.read_text().replace('"test"', '"train"', 1))
    result = run(Request(str(tiny.path), data=str(path), samples=1, engine="fake"))
    assert {row.case for row in result.rows} == {"1", "2"}


def test_a_single_slice_has_no_forest_that_did_not_see_it(tiny, tmp_path):
    path = manifest(tmp_path, 1)
    result = run(Request(str(tiny.path), data=str(path), samples=2, engine="onnxruntime"))
    assert [row.model for row in result.rows] == ["tiny", "otsu"]
    assert math.isnan(result.tables[0].mean["forest_accuracy_human"])


def test_an_absent_class_is_nan_and_shown(tiny, tmp_path):
    path = manifest(tmp_path, 1, depth=12, empty=True)
    result = run(Request(str(tiny.path), data=str(path), samples=2, engine="fake"))
    assert math.isnan(result.rows[0].metrics["auc_human"])
    assert math.isnan(result.rows[0].metrics["viability_of_human"])
    assert "nan" in markdown(result.tables, "x", "y")


def test_models_and_data_of_other_classes_do_not_mix(tiny, tmp_path):
    path = manifest(tmp_path, 1)
    text = path.read_text().replace('["void", "solid"]', '["void", "solid", "binder"]')
    path.write_text(text)
    with pytest.raises(InputError, match="classes"):
        run(Request(str(tiny.path), data=str(path), samples=2, engine="fake"))


def test_manifests_without_test_cases_are_refused(tmp_path):
    path = manifest(tmp_path, 1)
    path.write_text(path.read_text().replace('"test"', '"train"'))
    with pytest.raises(InputError, match="split"):
        open_data(str(path))
    with pytest.raises(UnknownNameError, match="battery16"):
        open_data("battery17")


@pytest.mark.real
@pytest.mark.parametrize("name", ["nmc-nanoct", "woven-composite", "glass-fibre-pa66"])
def test_real_manifests_open(real, name):
    from segbench.resources import folder

    data = open_data(str(folder("evaluate") / "manifests" / f"{name}.toml"), root=real)
    case = next(iter(data))
    assert case.truth is None
    assert case.human.shape == case.image.shape
    assert "licence" in data.note


def test_the_fake_engine_carries_an_evaluation(tiny):
    """Everything around engines without a network."""
    result = run(Request(str(tiny.path), "Tesla", samples=2, engine="fake", size=SIZE))
    assert result.rows[0].engine == "fake"
    assert start(tiny, "fake").device == "none"


def test_json_is_the_rows(tiny):
    command = [sys.executable, "-m", "segbench", "eval", "--zoo", str(tiny.path), "--domain", "Tesla", "--samples", "2"]
    command += ["--engine", "fake", "--size", str(SIZE), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    rows = json.loads(done.stdout)
    assert [row["model"] for row in rows] == ["tiny", "otsu", "forest"]


def test_a_model_goes_into_a_zoo_with_what_was_measured_of_it(tiny, request_, result, tmp_path):
    from segbench.evaluate.publish import publish
    from segbench.zoo import find
    from segbench.zoo.page import page

    out = publish(tiny, [request_.out / "rows.json"], [], tmp_path)
    added = find(str(out))
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "card.toml",
        "model.onnx",
        "ranges.json",
        "reference.npz",
        "weights.safetensors",
    ]
    assert added.hash == tiny.hash, "what was measured is no part of what was measured"
    (measured,) = added.card.results
    assert (measured.data, measured.domains, measured.samples) == ("battery16", 3, 3)
    expected = np.mean([row.metrics["accuracy_truth"] for row in result.rows if row.kind == "case"])
    assert measured.means["accuracy_truth"] == pytest.approx(expected)
    assert (out / "README.md").read_text() == page(added.card)
    assert "| accuracy truth |" in page(added.card)
    other = tiny.model_copy(update={"card": tiny.card.model_copy(update={"version": "9"})})
    with pytest.raises(InputError, match="not an evaluation of"):
        publish(other, [request_.out / "rows.json"], [], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def sibling(tiny, **training):
    training = tiny.card.training.model_copy(update=training)
    return tiny.model_copy(update={"card": tiny.card.model_copy(update={"training": training})})


def test_the_best_of_its_seeds_is_released_and_their_spread_stands_in_the_card(tiny, tmp_path):
    from segbench.evaluate.publish import publish
    from segbench.zoo import find
    from segbench.zoo.page import page

    own = tiny.card.training
    worse = sibling(tiny, seed=8, validation_miou=own.validation_miou - 0.01)
    added = find(str(publish(tiny, [], [worse], tmp_path)))
    assert added.card.seeds.seeds == (own.seed, 8)
    assert added.card.seeds.validation_miou == (own.validation_miou, own.validation_miou - 0.01)
    assert added.hash == tiny.hash
    assert "best of its seeds" in page(added.card)
    better = sibling(tiny, seed=9, validation_miou=own.validation_miou + 0.01)
    for other, message in (
        (better, "is better"),
        (sibling(tiny, seed=own.seed), "no sibling"),
        (sibling(tiny, seed=8, steps=own.steps + 1), "no sibling"),
    ):
        with pytest.raises(InputError, match=message):
            publish(tiny, [], [other], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_warning_about_an_inverted_scan_stands_in_its_row_and_inverting_it_does_not_change_the_labels(tiny):
    case = battery16.load(["Tesla"], 64)[0]
    straight = predict(Volume(case.image), tiny.card, start(tiny, "onnxruntime"), samples=2)
    negative = predict(Volume(-case.image), tiny.card, start(tiny, "onnxruntime"), samples=2)
    turned = predict(Volume(-case.image), tiny.card, start(tiny, "onnxruntime"), samples=2, invert=True)
    assert straight.warnings == turned.warnings == ()
    assert (straight.inverted, turned.inverted) == (False, True)
    assert "inverted" in negative.warnings[0]
    assert np.mean(straight.labels != turned.labels) < 1e-4
