"""`segbench tables`: pure functions of stored rows, judged both ways, and a command that says what is missing."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_evaluate import manifest

from segbench.data.domains import DOMAINS
from segbench.evaluate import definitions
from segbench.evaluate.carry_over import best, carried, carry_over, pooled_f1, scores, spread
from segbench.evaluate.cases import Labelled
from segbench.evaluate.claims import auroc, claims
from segbench.evaluate.curves import robustness
from segbench.evaluate.definitions import RunDefinition, Stored, TableDefinition, request, wanted
from segbench.evaluate.precisions import precisions
from segbench.evaluate.printed import sandia
from segbench.evaluate.robustness import KINDS
from segbench.evaluate.scores import THRESHOLDS, of_thresholds
from segbench.evaluate.sheet import Heading, Sheet, comma_separated, page
from segbench.predict import Prediction
from segbench.recipe import read_toml
from segbench.rows import Row, read_rows, write_rows
from segbench.volume import Volume
from segbench.zoo import find

ROOT = Path(__file__).parent.parent


def row(domain="d", case="c", model="m", **changes) -> Row:
    fields = {
        "kind": "case", "model": model, "model_hash": "0" * 64, "data": "set", "domain": domain, "case": case,
        "data_hash": "1" * 64, "engine": "fake", "device": "none", "precision": "f32", "threads": 1, "samples": 16,
        "seed": 0, "metrics": {}, "confusion_truth": None, "confusion_human": ((50, 0), (0, 50)), "voxels": 100,
        "wall_s": 1.0, "timed": "nothing", "versions": {}, "git": None, "segbench": "0", "made": "now",
    }  # fmt: skip
    return Row.model_validate(fields | changes)


def stored(rows, trained_on=(), **run) -> Stored:
    fields = {"name": "r", "zoo": "m", "data": "battery16"} | run
    return Stored(RunDefinition(**fields), tuple(rows), trained_on)


def column(sheet: Sheet, heading: str) -> list:
    return [line[[c.text for c in sheet.columns].index(heading)] for line in sheet.lines]


# --- spread over seeds


def test_spread_is_the_sample_deviation_and_the_ends():
    over = spread([0.9, 0.92, 0.97])
    assert (over.n, over.least, over.most) == (3, 0.9, 0.97)
    assert over.deviation == pytest.approx(np.std([0.9, 0.92, 0.97], ddof=1))
    one = spread([0.9, math.nan])
    assert (one.n, one.least, one.most) == (1, 0.9, 0.9)
    assert math.isnan(one.deviation), "one training says nothing about the spread"
    assert spread([]).n == 0


def test_scores_are_means_over_volumes_then_over_domains():
    rows = [
        row("a", "1", confusion_human=((60, 10), (20, 10))),
        row("a", "2", confusion_human=((50, 0), (0, 50))),
        row("b", "1", confusion_human=((0, 50), (0, 50))),
    ]
    got = scores(rows)
    assert got["accuracy"] == pytest.approx(((0.7 + 1.0) / 2 + 0.5) / 2)
    assert got["f1"] == pytest.approx(((0.4 + 1.0) / 2 + 2 / 3) / 2)
    assert got["recall"] == pytest.approx(((1 / 3 + 1) / 2 + 1) / 2)
    assert math.isnan(got["auc"])


def accurate(domain, accuracy, **changes):
    """Row with a truth at that accuracy; the human label says something else."""
    right = round(accuracy * 100)
    return row(domain, domain, confusion_truth=((right // 2, 100 - right), (0, right - right // 2)),
               confusion_human=((50, 0), (50, 0)), **changes)  # fmt: skip


def test_carry_over_puts_the_seeds_beside_the_released_model():
    runs = [
        stored([accurate("Tesla", 0.9), accurate("Litarion", 0.98),
                accurate("Tesla", 0.8, kind="baseline", model="otsu"),
                accurate("Litarion", 0.7, kind="baseline", model="otsu")], ("Litarion",)),
        stored([accurate("Tesla", 0.94), accurate("Litarion", 0.96)], name="s2", of_seed=True),
        stored([accurate("Tesla", 0.10)], name="s3", of_seed=True, data="nmc-nanoct"),
        stored([], name="s4", of_seed=True),
    ]  # fmt: skip
    (sheet,) = carry_over(runs)
    assert column(sheet, "data") == ["battery16, 1 training domains", "battery16, 1 others", "battery16, all 2"]
    assert column(sheet, "accuracy") == pytest.approx([0.98, 0.9, 0.94])
    assert column(sheet, "Otsu") == pytest.approx([0.7, 0.8, 0.75])
    assert all(math.isnan(value) for value in column(sheet, "forest"))
    assert column(sheet, "seeds n") == [2, 2, 2]
    assert column(sheet, "sd") == pytest.approx([np.std(v, ddof=1) for v in ([0.98, 0.96], [0.9, 0.94], [0.94, 0.95])])
    assert column(sheet, "max") == pytest.approx([0.98, 0.94, 0.95])


# --- a threshold chosen on one folder and reported on the other


def counted(domain, case, probability, truth):
    """A row as an evaluation would store it, of explicit probabilities."""
    shape = (1, 1, len(probability))
    reference = np.array(truth, np.uint8).reshape(shape)
    p = np.array(probability, np.float32).reshape(shape)
    labels = (p > 0.5).astype(np.uint8)
    prediction = Prediction(labels, p, p, p, p, p, 0, 16)
    labelled = Labelled("set", domain, case, Volume(p), None, reference, "")
    counts = [[int(((reference == i) & (labels == j)).sum()) for j in (0, 1)] for i in (0, 1)]
    return row(domain, case, metrics=of_thresholds(labelled, prediction), confusion_human=counts)


def f1(probability, truth, at):
    labels = np.array(probability, np.float32) > np.float32(at)
    hits = (labels & (np.array(truth) == 1)).sum()
    return 2 * hits / (labels.sum() + sum(truth))


def test_counts_at_thresholds_give_the_f1_of_the_labels_at_each():
    rng = np.random.default_rng(0)
    parts = [(rng.random(400).astype(np.float32), (rng.random(400) < 0.4).astype(int)) for _ in range(2)]
    parts[0][0][:19] = THRESHOLDS  # a probability at a threshold is not above it
    rows = [counted("a", str(n), *part) for n, part in enumerate(parts)]
    pooled = pooled_f1(rows)
    together = [np.concatenate(side) for side in zip(*parts, strict=True)]
    assert list(pooled) == list(THRESHOLDS)
    for at in THRESHOLDS:
        assert pooled[at] == pytest.approx(f1(*together, at), abs=1e-12)


def test_a_threshold_is_chosen_on_one_folder_and_reported_on_the_other():
    a = ([0.1, 0.2, 0.32, 0.35], [0, 0, 1, 1])  # best from .2 to below .3
    c = ([0.1, 0.28, 0.28, 0.9], [0, 0, 0, 1])  # best at .3 and more
    rows = [counted("a", "1", *a), counted("c", "1", *c)]
    assert best(pooled_f1(rows[:1])) == 0.3, "of equals the one nearest to 0.5"
    assert carried(rows, "a", "c") == f1(*c, 0.3) == 1.0
    assert best(pooled_f1(rows[1:])) == 0.5
    assert carried(rows, "c", "a") == f1(*a, 0.5) == 0.0
    sibling = [counted("a", "1", *c), counted("c", "1", *a)]
    runs = [stored(rows, data="nmc-nanoct"), stored(sibling, name="s", data="nmc-nanoct", of_seed=True)]
    _, sheet = carry_over(runs)
    assert [line[0] for line in sheet.lines] == ["a", "c"]
    assert column(sheet, "F1") == [1.0, 0.0]
    assert column(sheet, "best F1") == [1.0, 1.0], "an oracle, in a column of its own"
    assert column(sheet, "max") == [1.0, 1.0]
    assert column(sheet, "min") == [0.0, 0.0]


def test_rows_without_counts_have_no_such_table():
    assert pooled_f1([row()]) == {}
    assert math.isnan(carried([row("a"), row("c")], "a", "c"))
    assert len(carry_over([stored([row("a"), row("c")], data="nmc-nanoct")])) == 1


# --- the study's claims


GOOD = {"accuracy_human": 0.95, "viability": 1.5, "viability_of_human": 1.5, "accuracy_truth": 0.97,
        "human_accuracy_truth": 0.96, "entropy": 0.1, "spread": 0.01, "mutual_information": 0.01}  # fmt: skip


def domain_values(n, out):
    """A study in which everything holds: the harder a domain, the larger gap and uncertainty."""
    fall = 0.02 * n if out else 0.0
    rise = 1.0 + 0.2 * n if out else 1.0
    return GOOD | {
        "accuracy_human": 0.95 - fall, "viability": 1.51 + fall, "human_accuracy_truth": 0.96 - fall,
        "entropy": 0.1 * rise, "spread": 0.01 * rise, "mutual_information": 0.01 * rise,
    }  # fmt: skip


def study(**wrong):
    """Rows of a model and of its twin over all sixteen, with some metrics of the domains out of training replaced."""
    trained = ("Litarion", "Electrode_IV_1")
    sampled, twin = [], []
    for n, name in enumerate(DOMAINS, start=1):
        out = name not in trained
        values = domain_values(n, out) | (wrong if out else {})
        sampled.append(row(name, name, metrics=values))
        twin.append(row(name, name, samples=0, metrics=values | {"entropy": wrong.get("softmax", 0.1) if out else 0.1}))
    runs = [stored(sampled, trained), stored(twin, trained, name="twin", samples=0)]
    (sheet,) = claims(runs, sandia())
    return {line[0].split(")")[0][1:] + line[0].split(")")[1][1:4]: line for line in sheet.lines}, sheet


def verdicts(**wrong):
    lines, _ = study(**wrong)
    return {key: line[-1] for key, line in lines.items()}


ALL = {"aacc", "bthe", "cent", "cP70", "cmut", "dsof", "ethe", "fthe"}


def test_claims_hold_where_everything_is_as_the_study_says():
    assert verdicts() == dict.fromkeys(ALL, "holds")


@pytest.mark.parametrize(
    ("wrong", "fails"),
    [
        ({"accuracy_human": 0.95}, {"aacc", "fthe"}),
        ({"viability": 1.2}, {"aacc", "ethe", "fthe"}),
        ({"accuracy_truth": 0.5}, {"bthe"}),
        ({"entropy": 0.1}, {"cent"}),
        ({"spread": 0.005}, {"cP70"}),
        ({"mutual_information": 0.0105}, {"cmut"}),
        ({"softmax": 0.2}, {"dsof"}),
        ({"entropy": 0.1, "spread": 0.01, "mutual_information": 0.01}, {"cent", "cP70", "cmut", "dsof"}),
    ],
)
def test_claims_do_not_hold_where_rows_say_otherwise(wrong, fails):
    said = verdicts(**wrong)
    assert {key for key, verdict in said.items() if verdict != "holds"} == fails
    undefined = {key for key, verdict in said.items() if verdict == "undefined"}
    assert undefined == ({"fthe"} if "accuracy_human" in wrong else set()), "no correlation with a constant"


def test_what_cannot_be_judged_is_undefined_and_not_a_verdict():
    trained = ("Litarion", "Electrode_IV_1")
    rows = [row(name, name, metrics=domain_values(n, name not in trained)) for n, name in enumerate(DOMAINS)]
    (sheet,) = claims([stored(rows, ())], sandia())
    said = dict(zip(column(sheet, "claim"), column(sheet, "holds"), strict=True))
    assert [text[:3] for text, verdict in said.items() if verdict == "undefined"] == ["(a)", "(c)", "(c)", "(c)", "(d)"]
    assert claims([stored([])], sandia()) == []


def test_the_study_s_figures_stand_in_their_own_column():
    lines, sheet = study()
    assert [c.text for c in sheet.columns if c.printed] == ["the study"]
    assert lines["ethe"][2] == "14 of 16"
    assert lines["fthe"][2] == "-0.971"
    assert "accuracy 0.942 in, 0.861 out" in lines["aacc"][2]
    assert "*14 of 16*" in page("x", [sheet], [])


def test_auroc_counts_pairs():
    assert auroc([1, 2], [3, 4]) == 1
    assert auroc([3], [1, 3]) == 0.25
    assert math.isnan(auroc([], [1]))
    assert math.isnan(auroc([math.nan], [1]))


# --- robustness


def test_robustness_has_a_line_per_kind_and_level():
    rows = []
    for kind, about in KINDS.items():
        for level in about.levels:
            for n, name in enumerate(("E35", "GCA2000")):
                for model, own in (("m", "case"), ("otsu", "baseline"), ("forest", "baseline")):
                    metrics = {"accuracy_truth": 0.9 - 0.1 * n - 0.05 * (model != "m")}
                    rows.append(row(kind, f"{level:g}/{name}", model, kind=own, metrics=metrics))
    (sheet,) = robustness([stored(rows, data="robustness")])
    assert len(sheet.lines) == sum(len(about.levels) for about in KINDS.values())
    assert sum("unchanged" in cell for cell in column(sheet, "degraded by")) == len(KINDS)
    assert column(sheet, "m") == pytest.approx([0.85] * len(sheet.lines))
    assert column(sheet, "Otsu") == pytest.approx([0.80] * len(sheet.lines))
    assert column(sheet, "m, worst domain") == pytest.approx([0.8] * len(sheet.lines))


# --- sheets


def test_precisions_have_a_line_each_with_means_over_domains():
    runs = [
        stored([row("a", metrics={"nll_truth": 0.1}), row("b", metrics={"nll_truth": 0.3})]),
        stored([row("a", precision="int8", wall_s=4.0, metrics={"nll_truth": 0.5})], name="i", precision="int8"),
    ]
    (sheet,) = precisions(runs)
    assert column(sheet, "precision") == ["f32", "int8"]
    assert column(sheet, "NLL") == pytest.approx([0.2, 0.5])
    assert column(sheet, "seconds") == [2.0, 4.0]
    assert math.isnan(column(sheet, "ECE")[0])
    assert precisions([]) == []


def test_a_sheet_rounds_on_the_page_and_nowhere_else():
    columns = (Heading("what", words=True), Heading("x", 2), Heading("y", printed=True))
    sheet = Sheet("t", columns, (("a", 1 / 3, 0.5), ("b", math.nan, None)), ("note",))
    assert sheet.text() == [["what", "x", "y"], ["a", "0.33", "0.500"], ["b", "nan", ""]]
    assert "| a | 0.33 | *0.500* |\n| b | nan |  |" in page("h", [sheet], ["rows"])
    assert repr(1 / 3) in comma_separated([sheet])


# --- definitions


def test_the_committed_definitions_can_be_made():
    tables = wanted(["all"])
    assert list(tables) == [
        "calibration", "carry-over", "claims", "matphase-1", "matphase-2", "matphase-3", "matphase-5",
        "matphase-claims", "precisions", "robustness", "sandia-accuracy", "sandia-viability", "shift",
        "tomo2seg-ablation", "tomo2seg-depth", "tomo2seg-dimensions", "tomo2seg-filters", "tomo2seg-imbalance",
        "tomo2seg-learning", "tomo2seg-naive", "tomo2seg-record", "uncertainty",
    ]  # fmt: skip
    manifests = {path.stem for path in (ROOT / "evaluate" / "manifests").glob("*.toml")}
    for table in tables.values():
        for run in table.run:
            assert not run.measured or run.data in manifests
            assert run.zoo.startswith("runs/") == run.of_seed
            assert request(run, None).out == definitions.home() / "results" / run.name
    assert {run.data for run in tables["carry-over"].run} == {"battery16", *manifests}


def test_a_misspelt_key_and_two_runs_of_one_name_are_refused(tmp_path):
    path = tmp_path / "t.toml"
    run = '[[run]]\nname = "r"\nzoo = "m"\ndata = "battery16"\n'
    path.write_text(f'title = "t"\nshows = "claims"\n{run}sample = 3\n')
    with pytest.raises(ValueError, match="sample: unknown key"):
        read_toml(path, TableDefinition)
    path.write_text(f'title = "t"\nshows = "claims"\n{run}{run}')
    with pytest.raises(ValueError, match="a name of its own"):
        read_toml(path, TableDefinition)


# --- the command


@pytest.fixture
def checkout(tiny, tmp_path, monkeypatch):
    """A checkout with three small tables of the tests' model; no rows are stored yet."""
    home = tmp_path / "checkout" / "evaluate"
    (home / "tables").mkdir(parents=True)
    (home / "manifests").mkdir()
    (home.parent / "pyproject.toml").write_text("")
    images = tmp_path / "images"
    images.mkdir()
    manifest(images, 3)
    shutil.move(images / "mine.toml", home / "manifests" / "mine.toml")

    def run(name, zoo, data, more=""):
        return f'[[run]]\nname = "{name}"\nzoo = "{zoo}"\ndata = "{data}"\nsamples = 2\nsize = 40\n{more}\n'

    some = 'domain = "Litarion,Tesla"\n'
    first = run("first", tiny.path, "battery16", some)
    carry = first + run("second", "runs/second", "battery16", some + "of_seed = true\n")
    carry += run("slices", tiny.path, "mine")
    tables = {
        "carry-over": ("carry-over", carry),
        "claims": ("claims", first + run("twin", tiny.path, "battery16", some).replace("samples = 2", "samples = 0")),
        "wedge": ("robustness", run("wedge", tiny.path, "robustness", 'domain = "wedge"\n')),
    }
    for name, (shows, runs) in tables.items():
        (home / "tables" / f"{name}.toml").write_text(f'title = "About {name}"\nshows = "{shows}"\n{runs}')
    monkeypatch.setattr(definitions, "folder", lambda _: home)
    return home


def tree(folder: Path) -> dict:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_tables_are_listed_in_a_line_each(segbench, checkout):
    code, out, err = segbench("tables", "--list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["carry-over", "claims", "wedge"]
    assert segbench("tables")[1] == out
    assert [table["table"] for table in json.loads(segbench("tables", "--list", "--json")[1])] == [
        "carry-over", "claims", "wedge",
    ]  # fmt: skip


def test_missing_rows_say_what_makes_them_and_the_rest_is_printed(segbench, checkout, tiny):
    metrics = {"accuracy_truth": 0.9}
    done = [row("Litarion", "Litarion", model_hash=tiny.hash, samples=2, metrics=metrics,
                confusion_truth=((40, 5), (5, 50)))]  # fmt: skip
    (checkout / "results" / "first").mkdir(parents=True)
    write_rows(checkout / "results" / "first" / "rows.json", done)
    before = tree(checkout)
    code, out, err = segbench("tables", "carry-over")
    assert code == 0
    assert "battery16, all 1" in out
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("no rows of second: train runs/second first, then segbench eval --zoo runs/second")
    assert "--data evaluate/manifests/mine.toml --root ../shared/real --samples 2" in lines[1]
    assert tree(checkout) == before, "nothing is written without --refresh"
    code, out, _ = segbench("tables", "all", "--json")
    assert [table["name"] for table in json.loads(out)] == ["carry-over", "claims", "wedge"]


def test_rows_of_another_model_are_said(segbench, checkout):
    (checkout / "results" / "first").mkdir(parents=True)
    write_rows(checkout / "results" / "first" / "rows.json", [row("Litarion", "Litarion", samples=2)])
    _, _, err = segbench("tables", "claims")
    assert "first was made with another" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("carryover",), "unknown table 'carryover'. Did you mean 'carry-over'?"),
        (("carry-over", "--root", "images"), "--root"),
        (("carry-over", "--refresh", "--root", "nowhere"), "nowhere: no such folder"),
        (("--list", "claims"), "--list"),
    ],
)
def test_what_cannot_be_is_one_line(segbench, checkout, arguments, says):
    code, _, err = segbench("tables", *arguments)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert says in err


def test_a_refresh_stores_rows_and_tables(segbench, checkout, tiny):
    code, out, err = segbench(
        "tables", "carry-over", "claims", "--refresh", "--root", checkout.parent.parent / "images"
    )
    assert code == 0, err
    assert "second keeps its stored rows: runs/second is not here" in err
    assert "battery16, all 2" in out
    assert "slices" in out
    results = checkout / "results"
    assert sorted(path.name for path in results.iterdir()) == ["first", "slices", "twin"]
    twin, sampled = (read_rows(results / name / "rows.json")[0] for name in ("twin", "first"))
    assert (twin.samples, sampled.samples) == (0, 2)
    assert twin.metrics["mutual_information"] == twin.metrics["spread"] == 0, "one pass does not disagree with itself"
    assert sampled.metrics["mutual_information"] > 0
    assert twin.model_hash == tiny.hash
    for name in ("carry-over", "claims"):
        text = (checkout / "tables" / f"{name}.md").read_text()
        assert f"# About {name}" in text
        assert "T = 2, seed 0" in text
        assert str(checkout.parent.parent) not in text, "no folder of this machine"
        assert (checkout / "tables" / f"{name}.csv").is_file()
    assert "T = 0 (no dropout, one pass)" in (checkout / "tables" / "claims.md").read_text()
    before = tree(checkout)
    assert segbench("tables", "carry-over", "claims")[1] == out, "a table is a function of its rows"
    assert tree(checkout) == before


def test_measured_images_that_are_not_here_keep_their_rows(segbench, checkout):
    code, _, err = segbench("tables", "carry-over", "--refresh")
    assert code == 0, err
    assert "slices keeps its stored rows: name the folder of its images with --root" in err
    assert sorted(path.name for path in (checkout / "results").iterdir()) == ["first"]


def test_a_robustness_table_comes_with_its_curves(segbench, checkout, tmp_path):
    code, out, err = segbench("tables", "wedge", "--refresh", "--out", tmp_path / "out")
    assert code == 0, err
    assert "Accuracy as a scan gets worse" in out
    for folder in (checkout / "tables", tmp_path / "out"):
        assert (folder / "wedge.png").stat().st_size > 10_000
        text = (folder / "wedge.md").read_text()
        assert "![About wedge](wedge.png)" in text
        assert "| Missing wedge (degrees covered, of 180), unchanged | 180.00 |" in text
    rows = read_rows(checkout / "results" / "wedge" / "rows.json")
    assert {(r.data, r.domain) for r in rows} == {("robustness", "wedge")}
    assert {r.case.split("/")[0] for r in rows} == {"180", "150", "120", "90", "60"}


def test_an_installation_without_a_checkout_does_not_refresh(segbench, checkout):
    (checkout.parent / "pyproject.toml").unlink()
    code, _, err = segbench("tables", "claims", "--refresh")
    assert code == 2
    assert "checkout" in err


def test_the_twin_of_a_model_without_dropout_is_its_only_sample(tiny):
    from segbench.predict import sample_masks

    assert (sample_masks(tiny.card, 0, 0) == 1).all()
    assert len(sample_masks(tiny.card, 0, 0)) == 1
    plain = find(str(tiny.path)).card.model_copy(update={"dropout": ()})
    assert sample_masks(plain, 0, 0).shape == sample_masks(plain, 7, 0).shape == (1, 0)
