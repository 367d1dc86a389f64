"""The study of tomo2seg: its record, definitions, naive methods, sheets and figures of synthetic rows, the overlay."""

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from conftest import blobs
from sklearn.metrics import f1_score, jaccard_score
from test_tables import row

from segbench.errors import EngineError, InputError
from segbench.evaluate import charts, harness
from segbench.evaluate import measured as kept
from segbench.evaluate.baselines import LabelledSlice, forest
from segbench.evaluate.cases import DataSet, Labelled, version_of
from segbench.evaluate.definitions import TableDefinition, definition, table_names
from segbench.evaluate.estimates import Estimate
from segbench.evaluate.measured import Collection, Key, Measured, Speed, Trained
from segbench.evaluate.methods import Study, study
from segbench.evaluate.naive import NAIVE, naive_rows, of_case
from segbench.evaluate.priors import bayes, darkest_first, expected_uniform, majority, uniform
from segbench.evaluate.recorded import tomo2seg
from segbench.evaluate.sheets.tomo2seg import tomo2seg as sheets_of
from segbench.evaluate.sheets.tomo2seg_record import record
from segbench.metrics import overlap
from segbench.metrics.counts import confusion
from segbench.study import measure as measuring
from segbench.study import pictures
from segbench.study import plan as planning
from segbench.study import run as running
from segbench.study.overlay import BLUE, RED, YELLOW, Overlay, coloured
from segbench.study.overlay import draw as draw_overlay
from segbench.study.plan import plan
from segbench.study.run import Asked, run
from segbench.study.task import Task
from segbench.study.work import measure, train
from segbench.volume import Volume

STUDY = study("tomo2seg")
TABLES = [name for name in table_names() if name.startswith("tomo2seg-") and name != "tomo2seg-record"]
CLASSES = ("matrix", "fibre", "porosity")
DOMAINS = ("aligned", "noisy")


def column(sheet, heading: str) -> list:
    return [line[[c.text for c in sheet.columns].index(heading)] for line in sheet.lines]


# --- the record


def test_the_record_is_computed_again_to_the_last_digit():
    sheets = record(tomo2seg())
    composite = sheets[0]
    assert len(composite.lines) == 18
    assert column(composite, "macro") == column(composite, "macro, recorded")
    assert column(composite, "accuracy") == column(composite, "accuracy, recorded")
    best = composite.lines[int(np.argmax(column(composite, "macro")))]
    assert best[0].startswith("unet2d.vanilla03-f16.")
    assert [round(value, 3) for value in best[2:5]] == [0.988, 0.955, 0.687]
    assert round(max(column(composite, "macro")), 4) == 0.8767
    assert round(max(column(composite, "accuracy")), 4) == 0.9903
    assert round(column(composite, "majority")[0], 4) == 0.8244
    assert sum(len(sheet.lines) for sheet in sheets if sheet.title.startswith("Jaccard")) == 19
    assert all("recorded" in c.text for sheet in sheets for c in sheet.columns if c.printed and c.text != "parameters")


def test_volume_fractions_of_the_record_are_support_and_predicted_share():
    (sheet,) = (sheet for sheet in record(tomo2seg()) if sheet.title == "Volume fractions, the composite")
    assert column(sheet, "true fiber")[0] == 69112619 / 405600000
    assert column(sheet, "found porosity")[0] == 1845586 / 405600000


def test_recorded_jaccard_by_model_or_run():
    found = tomo2seg()
    assert found.jaccard(None) == (None,) * 4
    assert found.jaccard("1607-522-048")[2:] == (0.6867471471164016, 0.8767394351523058)
    assert found.jaccard("paper-unet-2d.full-f32.fold000.1612-356-814") == (0.988192, 0.95479, 0.663305, 0.868763)
    for name in (
        "nobody",
        "unet3d.crop96-f08.fold000.1607-109-265",
        "1607-784-625",
    ):  # none, two that differ, 5 classes
        with pytest.raises(InputError, match="mend the definition"):
            found.jaccard(name)


def test_the_table_of_the_record_needs_nothing_measured(segbench):
    code, out, err = segbench("tables", "tomo2seg-record", "--json")
    assert code == 0, err
    assert "unet2d.vanilla03-f16" in out
    with pytest.raises(ValueError, match="no study"):
        TableDefinition(title="t", shows="tomo2seg-record", study="tomo2seg")


# --- definitions


def test_the_ablation_is_the_eleven_of_the_record_with_one_thing_changed_each():
    lines = definition("tomo2seg-ablation").line
    assert len(lines) == 11
    reference = STUDY.named(lines[0].method).options
    changes = [{k: v for k, v in STUDY.named(line.method).options.items() if reference.get(k) != v} for line in lines]
    option = "network.options."
    assert changes == [
        {}, {option + "convolution": "separable"}, {option + "learned_down": False, option + "learned_up": False},
        {option + "depth": 2}, {option + "norm": "none"}, {option + "residual": False}, {option + "dropout": 1.0},
        {option + "noise": 0.0}, {"augmentation": {"symmetries": False}}, {option + "depth": 4},
        {option + "norm": "layer"},
    ]  # fmt: skip
    assert all(STUDY.named(line.method).seeds == (1, 2, 3) for line in lines), "intervals are over trainings"


def test_every_table_names_methods_and_recorded_lines_that_are_there():
    assert len(TABLES) == 7
    for name in TABLES:
        for line in definition(name).line:
            STUDY.named(line.method)
            assert len(tomo2seg().jaccard(line.printed)) == 4
    filters = {line.at: STUDY.named(line.method).options for line in definition("tomo2seg-filters").line}
    assert {at: options["network.options.filters"] for at, options in filters.items()} == {
        n: n for n in (8, 16, 24, 32)
    }
    learning = definition("tomo2seg-learning").line[:-1]
    assert all(STUDY.named(line.method).options["data.layers"] == line.at for line in learning)


def test_figures_and_studies_that_cannot_be_are_refused():
    raw = definition("tomo2seg-filters").model_dump()
    with pytest.raises(ValueError, match="has an axis"):
        TableDefinition.model_validate(raw | {"axis": None})
    with pytest.raises(ValueError, match="where it stands"):
        TableDefinition.model_validate(raw | {"line": [{"method": "2d-f8"}]})
    methods = [{"name": "a", "title": "a", "recipe": "r", "paper_seeds": [1]}]
    with pytest.raises(ValueError, match="paper's split"):
        Study(title="t", data="d", scale={}, method=methods)
    for wrong in ({"naive": "otsu", "recipe": "r"}, {"naive": "otsu", "speed": True}, {"naive": "dice"}):
        with pytest.raises(ValueError, match=r"naive|no network"):
            Study(title="t", data="d", scale={}, method=[{"name": "a", "title": "a"} | wrong])


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """Recipes of nothing, one for each name of the study."""
    place = tmp_path / "train"
    place.mkdir()
    for name in {method.recipe for method in STUDY.method if method.recipe}:
        text = {"name": name, "data": {"source": "fibre-composite"}, "augmentation": {"shift": 0.1}}
        (place / f"{name}.toml").write_text(tomli_w.dumps(text))
    monkeypatch.setattr(planning, "folder", lambda name: tmp_path / name)
    return place


def test_recipes_name_no_split_where_the_data_has_one(recipes):
    jobs = {job.key: job for job in plan(STUDY, STUDY.scale_named("cpu"), STUDY.method, Path("runs"))}
    recipe = tomllib.loads(jobs[Key("layers-4", 1)].recipe)
    assert recipe["data"] == {"source": "fibre-composite", "layers": 4, "validated": 96}
    assert (recipe["name"], recipe["seed"]) == ("layers-4", 1)
    assert tomllib.loads(jobs[Key("no-augmentation", 2)].recipe)["augmentation"] == {"symmetries": False}
    assert len({job.place for job in jobs.values()}) == len(jobs)
    naive = [job for job in jobs.values() if job.method.naive]
    assert [job.method.naive for job in naive] == ["majority", "uniform", "bayes", "otsu", "forest", "slice-forest"]
    assert all(job.recipe is None and job.budget_s is None and job.fault is None for job in naive)
    assert not [key for key in jobs if key.split == "paper"]


def test_the_version_of_the_data_is_part_of_a_folders_name(recipes, monkeypatch):
    def names():
        return [job.place for job in plan(STUDY, STUDY.scale_named("smoke"), STUDY.with_needs(["2d-f8"]), Path("x"))]

    before = names()
    assert version_of("battery-fib") == 3
    monkeypatch.setattr(planning, "version_of", lambda data: (data, 99))
    assert names() != before


# --- without a network


def test_majority_and_dice():
    labels = np.array([[0, 2], [2, 1]], np.uint8)
    assert majority(labels, (1, 3, 3)).tolist() == np.full((1, 3, 3), 2).tolist()
    cast = uniform(3, (40, 50, 60), seed=4)
    assert np.array_equal(cast, uniform(3, (40, 50, 60), seed=4))
    truth = np.random.default_rng(0).choice(3, p=(0.82, 0.17, 0.01), size=cast.shape).astype(np.uint8)
    counted = confusion(truth, cast, 3)
    expected = expected_uniform(counted)
    shares = np.bincount(truth.ravel()) / truth.size
    closed = shares / 3 / (shares + 1 / 3 - shares / 3)
    assert overlap.iou(expected) == pytest.approx(closed)
    assert overlap.accuracy(expected) == pytest.approx(1 / 3)
    assert overlap.iou(counted) == pytest.approx(closed, abs=0.005)


def test_bayes_is_the_best_that_grey_levels_alone_allow():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, p=(0.6, 0.3, 0.1), size=(4, 60, 60)).astype(np.uint8)
    grey = rng.normal(np.array([100.0, 140.0, 30.0])[labels], 15).round().clip(0, 255)
    found = bayes(grey, grey, labels)
    whole = np.bincount((grey * 3 + labels).astype(int).ravel(), minlength=768).reshape(256, 3)
    assert (found == labels).mean() == pytest.approx(whole.max(axis=1).sum() / labels.size, abs=0.003)
    assert (found == labels).mean() > 0.8
    assert bayes(np.array([-1000.0, 1000.0, 85.0]), np.array([0.0, 100.0]), np.array([2, 1], np.uint8)).tolist() == [
        2,
        1,
        1,
    ]
    assert bayes(np.ones(3), np.ones(2), np.array([1, 1], np.uint8)).tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="NaN"):
        bayes(np.array([np.nan]), grey, labels)


def made(depth=6, seed=0, training=True) -> tuple[DataSet, Labelled]:
    """A data set of one volume of three phases in blobs, and its case."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.choice(3, p=(0.6, 0.3, 0.1), size=(1, 6, 6)), np.ones((2 * depth, 6, 6))).astype(np.uint8)
    image = rng.normal(np.array([100.0, 150.0, 40.0])[truth], 12).astype(np.float32)
    known = LabelledSlice(image[:depth], tuple(range(depth)), truth[:depth])
    shown = LabelledSlice(image[:depth], 2, truth[2])
    test, labels = image[depth:], truth[depth:]
    case = Labelled("fibre-composite", "aligned", "aligned", Volume(test, source="x"), labels, labels, "0" * 64,
                    shown=shown, training=known if training else None)  # fmt: skip
    return DataSet("fibre-composite", CLASSES, ("aligned",), "note", lambda domain: iter([case])), case


def test_naive_methods_are_rows_with_blocks_that_add_up():
    data, case = made()
    rows = {one.model: one for one in naive_rows(data, case, None, 3, False, NAIVE, divided=True)}
    assert list(rows) == list(NAIVE) == [*of_case(case), "slice-forest"]
    for one in rows.values():
        assert (one.kind, one.samples, one.model_hash) == ("baseline", 0, None)
        assert np.sum(one.blocks, axis=0).tolist() == np.array(one.confusion_truth).tolist()
    score = {name: one.metrics["miou_truth"] for name, one in rows.items()}
    assert score["forest"] > score["majority"]
    assert score["bayes"] > max(score["majority"], score["uniform"])
    assert [rows[name].seed for name in NAIVE] == [None, 3, None, 3, None, 3]
    assert score["otsu"] > 0.5, "the darkest class is the third one"
    assert score["slice-forest"] != score["forest"], "it does not look at other slices"
    inverted = {one.model: one for one in naive_rows(data, case, None, 3, True, ["bayes", "otsu"])}
    assert inverted["otsu"].metrics["miou_truth"] == pytest.approx(score["otsu"], abs=0.02)
    assert inverted["bayes"].metrics["miou_truth"] == pytest.approx(score["bayes"], abs=0.02)
    assert not inverted["bayes"].blocks


def test_classes_are_ordered_by_their_grey_values():
    labels, grey = np.array([0, 0, 1, 3, 3], np.uint8), np.array([5.0, 7.0, 9.0, 1.0, 2.0])
    assert darkest_first(grey, labels, 5).tolist() == [3, 0, 1, 2, 4]
    assert darkest_first(-grey, labels, 5).tolist() == [1, 0, 3, 2, 4]


def test_data_that_does_not_say_what_is_trained_on_has_the_two_that_all_have():
    data, case = made(training=False)
    assert of_case(case) == ("otsu", "forest")
    assert [one.model for one in naive_rows(data, case, None, 0, False, NAIVE)] == [
        "otsu",
        "forest",
        "uniform",
        "slice-forest",
    ]


def test_a_forest_that_is_shown_several_slices_learns_from_all_of_them():
    _, case = made()
    image, truth = np.asarray(case.image.data[:]), case.truth
    one = forest(image, LabelledSlice(image, 1, truth[1]), threads=1)[0]
    alone = forest(image, LabelledSlice(image, (1,), truth[1:2]), threads=1)[0]
    assert np.array_equal(one, alone)
    lacking = np.where(truth == 2, 0, truth)  # a slice without the third phase, beside one that has it
    both = np.stack([lacking[0], truth[3]])
    assert 2 not in forest(image, LabelledSlice(image, 0, lacking[0]), threads=1)[0]
    assert 2 in forest(image, LabelledSlice(image, (0, 3), both), threads=1)[0]
    for z, labels in (((1, 9), truth[:2]), ((), truth[:0]), ((1, 2), truth[:1])):
        with pytest.raises(InputError, match="no slice"):
            LabelledSlice(image, z, labels)


# --- naive methods of a study


def naive_task(place: Path, name: str, **changes) -> Task:
    fields = {
        "method": name, "seed": 1, "split": "clean", "title": name, "place": place, "recipe": None, "first": None,
        "of": None, "card": {}, "budget_s": None, "data": "fibre-composite", "samples": 2, "findings": False,
        "naive": name,
    }  # fmt: skip
    return Task.model_validate(fields | changes)


@pytest.fixture
def opened(monkeypatch):
    """A stand-in for fibre-composite."""
    data, _ = made()
    monkeypatch.setattr(measuring, "open_data", lambda *_: data)
    return data


def test_as_many_layers_are_scored_as_a_scale_allows(opened, tmp_path):
    (whole,) = measuring.scored(naive_task(tmp_path, "otsu"))
    (part,) = measuring.scored(naive_task(tmp_path, "otsu", layers=4))
    assert (whole.image.shape[0], part.image.shape[0], part.truth.shape, part.human.shape[0]) == (6, 4, (4, 36, 36), 4)
    assert np.array_equal(part.truth, whole.truth[:4])
    assert part.hash != whole.hash, "rows of them are not of the same case"
    (row,) = measuring.without_network(naive_task(tmp_path, "otsu", layers=4), "otsu").rows
    assert np.sum(row.confusion_truth) == 4 * 36 * 36


def test_every_case_of_a_domain_is_scored_and_no_baseline(tiny, monkeypatch, tmp_path):
    image = blobs((4, 20, 20))
    label = (image > 0).astype(np.uint8)
    cases = [
        Labelled("two", "a", name, Volume(image, source=name), label, label, "0" * 64) for name in ("one", "other")
    ]
    data = DataSet("two", ("void", "active"), ("a",), "note", lambda domain: iter(cases))
    monkeypatch.setattr(measuring, "open_data", lambda *_: data)
    found = measuring.measure(tiny, naive_task(tmp_path, "tiny", naive=None, layers=3, domains=1))
    assert [(one.case, one.model) for one in found.rows] == [("one", "tiny"), ("other", "tiny")]
    assert (found.trained.layers, found.trained.domains) == (3, 1)
    assert all(one.voxels == 3 * 20 * 20 for one in found.rows)


def test_a_worker_measures_what_needs_no_network_once(opened, tmp_path):
    place = tmp_path / "bayes"
    task = naive_task(place, "bayes")
    train(task)
    measure(task)
    found = kept.read(place / "measured", Key("bayes", 1))
    assert [one.model for one in found.rows] == ["bayes"]
    assert (found.trained.recipe_sha256, found.trained.parameters) == (None, 0)
    stamp = (place / "measured" / "rows.json").stat().st_mtime_ns
    measure(task)
    assert (place / "measured" / "rows.json").stat().st_mtime_ns == stamp, "it is kept"


def test_a_method_that_has_nothing_to_learn_from_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(measuring, "open_data", lambda *_: made(training=False)[0])
    with pytest.raises(InputError, match="does not say what is trained on"):
        measuring.without_network(naive_task(tmp_path, "majority"), "majority")


def test_a_run_collects_naive_rows_beside_trainings_that_failed(opened, recipes, tmp_path, monkeypatch):
    class Trainer:
        done: list[str] = []

        def run(self, task, share):
            self.done.append(str(task.key))
            if task.naive is None:
                raise EngineError("there is no such network")
            kept.write(task.place / "measured", measuring.without_network(task, task.naive))

        def stop(self):
            pass

    monkeypatch.setattr(running, "_prepare", lambda *_: None)
    asked = Asked("tomo2seg", (definition("tomo2seg-naive"),), "smoke", tmp_path / "runs", 1)
    found = run(asked, trainer=Trainer())
    assert {key.method for key in found.found} == set(NAIVE)
    run(asked, trainer=Trainer())
    assert Trainer.done.count("bayes-1") == 1, "what was measured is not measured again"
    made_table = harness.make_of("tomo2seg-naive", definition("tomo2seg-naive"), found)
    names = column(made_table.sheets[0], "method")
    assert names[0] == "2D, f0 = 16 (failed: there is no such network)"
    assert names[1:] == [
        "random forest",
        "random forest, slice by slice",
        "Bayes per grey level",
        "Otsu",
        "majority class",
        "uniform, drawn",
        "uniform, expected",
    ]
    assert column(made_table.sheets[0], "accuracy")[-1] == pytest.approx(1 / 3)
    assert "no network" in made_table.sources[0]
    harness.write(made_table, tmp_path / "out")
    assert (tmp_path / "out" / "tomo2seg-naive.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="error overlay"):
        pictures.draw(asked, found, [tmp_path / "out"], print)


# --- sheets


def measured(method: str, seed: int, wrong: float, parameters=1000, speed: Speed | None = None) -> Measured:
    rng = np.random.default_rng([seed, parameters])
    rows = []
    for number, domain in enumerate(DOMAINS):
        truth = np.random.default_rng(7).choice(3, p=(0.82, 0.17, 0.01), size=(4, 30, 30))
        said = np.where(rng.random(truth.shape) < wrong * (1 + number), rng.integers(0, 3, truth.shape), truth)
        blocks = [
            confusion(a.astype(np.uint8), b.astype(np.uint8), 3).tolist() for a, b in zip(truth, said, strict=True)
        ]
        whole = np.sum(blocks, axis=0).tolist()
        rows.append(row(domain, domain, method, data="fibre-composite", blocks=blocks, confusion_truth=whole,
                        confusion_human=whole))  # fmt: skip
    trained = Trained(
        method=method, seed=seed, split="clean", parameters=parameters, steps=10, processor_s=5.0, budget_s=5.0,
        device="a processor", recipe_sha256="0",
    )  # fmt: skip
    return Measured(Key(method, seed), tuple(rows), trained, None, speed)


def collected(*some: Measured, scale="cpu") -> Collection:
    return Collection(STUDY, scale, {one.key: one for one in some}, {})


def test_scores_are_of_pooled_voxels():
    one = measured("2d-f8", 1, 0.1)
    sheets = {sheet.title: sheet for sheet in sheets_of(definition("tomo2seg-filters"), collected(one), tomo2seg())}
    matrix = np.array(one.rows[0].confusion_truth)
    a = np.repeat(np.repeat(range(3), 3), matrix.ravel())
    b = np.repeat(np.tile(range(3), 3), matrix.ravel())
    line = sheets["Jaccard"].lines[0]
    cell = dict(zip([c.text for c in sheets["Jaccard"].columns], line, strict=True))
    assert cell["macro"].interval.value == pytest.approx(jaccard_score(a, b, average="macro"))
    assert cell["Jaccard porosity"].interval.value == pytest.approx(jaccard_score(a, b, average=None)[2])
    assert (cell["macro"].drawn, cell["n"], cell["parameters"]) == ("block", 1.0, 1000.0)
    images = [overlap.miou(np.array(block)) for block in one.rows[0].blocks]
    assert abs(cell["macro"].interval.value - np.mean(images)) > 1e-6, "which is another number than that of layers"
    f1 = column(sheets["F1, precision and recall"], "F1 macro")[0]
    assert f1.interval.value == pytest.approx(f1_score(a, b, average="macro"))
    assert column(sheets["Volume fractions"], "true porosity")[0] == pytest.approx((a == 2).mean())
    assert column(sheets["Volume fractions"], "found porosity")[0].interval.value == pytest.approx((b == 2).mean())
    assert [list(line[3:]) for line in sheets["Confusion"].lines] == matrix.tolist()
    other = sheets["On other volumes than the one trained on"]
    assert column(other, "macro, noisy")[0].interval.value < cell["macro"].interval.value
    assert "Speed" not in sheets


def test_three_trainings_have_an_interval_over_them_and_two_have_none():
    some = [measured("2d-f8", seed, 0.1) for seed in (1, 2, 3)] + [measured("2d-f16", seed, 0.1) for seed in (1, 2)]
    sheet = sheets_of(definition("tomo2seg-filters"), collected(*some), tomo2seg())[0]
    three, two, missing, last = column(sheet, "macro")
    values = [overlap.miou(np.array(one.rows[0].confusion_truth)) for one in some]
    assert (three.drawn, three.interval.n) == ("training", 3)
    assert three.interval.value == pytest.approx(np.mean(values[:3]))
    assert two == pytest.approx(np.mean(values[3:]))
    assert not isinstance(two, Estimate)
    assert math.isnan(missing)
    assert math.isnan(last)
    assert column(sheet, "macro, recorded") == [None, None, None, 0.868763]
    assert column(sheet, "method")[2] == "2D, f0 = 24 (not measured)"
    said = " ".join(sheet.notes)
    for text in ("scale cpu: at most 480 s", "a processor", "T = 16", "2D, f0 = 8: 1, 2, 3; 2D, f0 = 16: 1, 2"):
        assert text in said
    smoke = sheets_of(definition("tomo2seg-filters"), collected(*some, scale="smoke"), tomo2seg())[0]
    assert "its numbers mean nothing" in smoke.notes[0]
    nothing = sheets_of(definition("tomo2seg-filters"), collected(), tomo2seg())
    assert [sheet.notes[0] for sheet in nothing] == ["not measured yet"]


def test_speed_is_useful_voxels_by_processor_seconds(tmp_path):
    timed = Speed(voxels=4_000_000, single_s=2.0, sampled_s=8.0, samples=16, engine="fake", device="none")
    one = measured("3d-f8", 1, 0.1, speed=timed)
    kept.write(tmp_path / "m", one)
    assert kept.read(tmp_path / "m", one.key).speed == timed
    table = definition("tomo2seg-dimensions")
    (sheet,) = (sheet for sheet in sheets_of(table, collected(one), tomo2seg()) if sheet.title == "Speed")
    assert sheet.lines == (("3D, f0 = 8", 1000.0, 2.0, 0.5, 16.0, 4.0),)


# --- figures


def test_every_figure_is_drawn_of_what_is_there(tmp_path):
    timed = Speed(voxels=10**6, single_s=2.0, sampled_s=8.0, samples=16, engine="fake", device="none")
    for name in TABLES:
        table = definition(name)
        methods = [line.method for line in table.line if STUDY.named(line.method).naive is None]
        some = [
            measured(m, s, 0.05 * (n + 1), 1000 * (n + 1), timed) for n, m in enumerate(methods[:4]) for s in (1, 2, 3)
        ]
        charts.draw(table, collected(*some), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert harness.make_of(name, table, collected()).figure is None, "nothing measured, nothing drawn"


def test_a_curve_stands_at_its_axis_with_the_tables_values():
    some = [measured("2d-f8", 1, 0.3), measured("2d-f32", 1, 0.1, 5000)]
    table, found = definition("tomo2seg-filters"), collected(*some)
    shown = [line for line in charts.lines(table, found) if line.measured]
    figure = charts.curve(shown, table)
    drawn = figure.axes[3].lines[0].get_xydata()
    wanted = [[at, overlap.miou(np.array(one.rows[0].confusion_truth))] for at, one in zip((8, 32), some, strict=True)]
    assert np.allclose(drawn, wanted)
    assert [axis.get_title() for axis in figure.axes] == [f"Jaccard {n}" for n in (*CLASSES, "macro")]


def test_two_trainings_are_two_dots_and_no_interval():
    some = [measured("2d-f16", 1, 0.3), measured("2d-f16", 2, 0.1), measured("separable", 1, 0.2)]
    table, found = definition("tomo2seg-ablation"), collected(*some)
    shown = [line for line in charts.lines(table, found) if line.measured]
    axis = charts.bars(shown, table).axes[3]
    first, second = (overlap.miou(np.array(one.rows[0].confusion_truth)) for one in some[:2])
    (dots,) = (line for line in axis.lines if line.get_marker() == "." and len(line.get_xdata()))
    assert np.allclose(dots.get_xydata(), [[first, 0], [second, 0]])
    assert axis.patches[0].get_width() == pytest.approx((first + second) / 2)
    (whiskers,) = (bars.lines[2][0].get_segments() for bars in axis.containers if hasattr(bars, "lines"))
    assert [len(each) for each in whiskers] == [0, 2], "two trainings have no interval"


def test_the_overlay_has_the_lectures_colours(tmp_path):
    truth = np.array([[0, 1, 2, 2]], np.uint8)
    labels = np.array([[0, 1, 2, 1]], np.uint8)
    grey = np.array([[10.0, 20.0, 30.0, 40.0]], np.float32)
    shown = coloured(grey, labels, truth)
    assert shown[0, 0].std() == 0, "the matrix is grey"
    assert shown[0, 1].argmax() == np.argmax(BLUE)
    assert shown[0, 2].argmin() == np.argmin(YELLOW)
    assert shown[0, 3].tolist() == pytest.approx(RED)
    layers = Overlay((0, 2), np.stack([grey] * 2), np.stack([truth] * 2), np.stack([labels] * 2))
    draw_overlay(layers, tmp_path / "errors.png", "scale smoke")
    assert (tmp_path / "errors.png").read_bytes()[:4] == b"\x89PNG"
    same = replace(layers, labels=layers.truth)
    assert not (coloured(grey, same.labels[0], truth) == np.array(RED, np.float32)).all(axis=-1).any()
