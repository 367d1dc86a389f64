"""`segbench tables --refresh`: what is up to date is not computed again, and what decides that."""

import json
from pathlib import Path

import pytest
from test_tables import checkout, row  # noqa: F401

from segbench.data.battery16 import GENERATOR_VERSION
from segbench.data.manifest import read_manifest
from segbench.data.manifest_load import case_hash
from segbench.engines import available
from segbench.evaluate import fresh, refresh, source
from segbench.evaluate.cases import BATTERY16
from segbench.rows import read_rows, versions, write_rows
from segbench.zoo import find

DOMAINS = ("Litarion", "Tesla")


def computed(request):
    """Rows as an evaluation would store them, without evaluating."""
    model = find(request.zoo)
    if request.data == BATTERY16:
        cases = {(domain, domain): "1" * 64 for domain in DOMAINS}
        name, made = BATTERY16, {"battery16": str(GENERATOR_VERSION)}
    else:
        there = read_manifest(Path(request.data))
        cases = {
            (d.name, located.case.name): case_hash(located)
            for d in there.domain
            for located in there.cases(request.root, d.name, "test")
        }
        name, made = there.name, {}
    shared = {"data": name, "versions": versions() | made, "code": source.code(), "voxels": request.size**3}
    own = {
        "model": model.card.name, "model_hash": model.hash, "card": source.card_hash(model.card),
        "engine": available()[0], "samples": request.samples, "seed": request.seed, "precision": request.precision,
        "calibrated": not request.uncalibrated,
    }  # fmt: skip
    for (domain, case), digest in cases.items():
        yield row(domain, case, data_hash=digest, **shared, **own)
        yield row(domain, case, "otsu", kind="baseline", **shared | {"model_hash": None, "data_hash": digest})


@pytest.fixture
def evaluated(monkeypatch):
    """Names of the runs that were evaluated, by an evaluation that computes nothing."""
    names = []

    def run(request, making, progress):
        names.append(request.out.name)
        write_rows(request.out / "rows.json", list(computed(request)))

    monkeypatch.setattr(refresh, "evaluate_run", run)
    return names


@pytest.fixture
def again(segbench, checkout, evaluated):  # noqa: F811
    """Refreshes: which runs were evaluated, and the lines on standard error."""

    def refreshed(*options):
        evaluated.clear()
        images = checkout.parent.parent / "images"
        code, _, err = segbench("tables", "carry-over", "claims", "--refresh", "--root", images, *options)
        assert code == 0, err
        return list(evaluated), err.splitlines()

    return refreshed


def test_what_is_up_to_date_is_kept_and_said(again, checkout):  # noqa: F811
    first, lines = again()
    assert first == ["first", "slices", "twin"], "a run that two tables share is computed once"
    assert "first computed again: no rows are stored" in lines
    stored = {path: path.read_bytes() for path in (checkout / "results").rglob("rows.json")}
    second, lines = again()
    assert second == []
    for name in first:
        assert f"{name} is up to date and kept" in lines
    assert "second keeps its stored rows: runs/second is not here" in lines
    assert {path: path.read_bytes() for path in stored} == stored
    third, lines = again("--force")
    assert third == first
    assert "twin computed again: --force" in lines


def test_force_needs_no_refresh(segbench, checkout, evaluated):  # noqa: F811
    code, _, err = segbench("tables", "claims", "--force")
    assert code == 0, err
    assert evaluated == ["first", "twin"]


def change(path: Path, changes: dict, which: str = "case") -> None:
    """Rewrites some fields of the first stored row of a kind."""
    raw = json.loads(path.read_text())
    first = next(found for found in raw["rows"] if found["kind"] == which)
    for key, value in changes.items():
        first[key] = first[key] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_hash": "2" * 64}, "another model"),
        ({"card": None}, "the model's card has changed"),
        ({"samples": 3}, "T is 2, stored 3"),
        ({"seed": 1}, "seed is 0, stored 1"),
        ({"precision": "bf16"}, "precision is f32, stored bf16"),
        ({"calibrated": False}, "calibrated is True, stored False"),
        ({"engine": "fake"}, "engine is"),
        ({"code": None}, "the code that makes rows has changed"),
        ({"versions": {"openvino": "1.0"}}, "openvino is"),
        ({"versions": {"battery16": "1"}}, "other simulated volumes"),
        ({"voxels": 8}, "other simulated volumes"),
        ({"domain": "E35", "case": "E35"}, "other domains"),
    ],
)
def test_what_decides_a_row_makes_it_computed_again(again, checkout, changes, says):  # noqa: F811
    again()
    change(checkout / "results" / "first" / "rows.json", changes)
    names, lines = again()
    assert names == ["first"]
    assert any(text.startswith(f"first computed again: {says}") for text in lines), lines
    assert again()[0] == []


def test_a_baseline_is_decided_by_its_packages(again, checkout):  # noqa: F811
    again()
    path = checkout / "results" / "first" / "rows.json"
    change(path, {"versions": {"scikit-learn": "0.1"}}, "baseline")
    names, lines = again()
    assert names == ["first"]
    assert any("scikit-learn is" in text for text in lines)


def test_what_does_not_decide_keeps_the_rows(again, checkout):  # noqa: F811
    again()
    path = checkout / "results" / "first" / "rows.json"
    change(path, {
        "threads": 64, "device": "another", "wall_s": 9.0, "made": "then", "git": "abc", "segbench": "9.9",
        "versions": {"numpy": "9", "python": "9"},
    })  # fmt: skip
    assert again()[0] == []


def test_rows_that_cannot_be_read_are_computed_again(again, checkout):  # noqa: F811
    again()
    (checkout / "results" / "first" / "rows.json").write_text('{"format": "of another time"}')
    names, lines = again()
    assert names == ["first"]
    assert "first computed again: the stored rows cannot be read" in lines


def test_measured_data_are_told_by_their_files(again, checkout):  # noqa: F811
    again()
    change(checkout / "results" / "slices" / "rows.json", {"data_hash": "0" * 64})
    names, lines = again()
    assert names == ["slices"]
    assert "slices computed again: other data" in lines


def test_the_rows_of_a_real_evaluation_are_up_to_date(segbench, checkout):  # noqa: F811
    """No stand-in: what `segbench eval` stores is what the comparison looks for."""
    arguments = ("tables", "carry-over", "--refresh", "--root", checkout.parent.parent / "images")
    assert segbench(*arguments)[0] == 0
    files = [checkout / "results" / name / "rows.json" for name in ("first", "slices")]
    before = [path.stat().st_mtime_ns for path in files]
    code, _, err = segbench(*arguments)
    assert code == 0
    assert "first is up to date and kept" in err
    assert "slices is up to date and kept" in err
    assert [path.stat().st_mtime_ns for path in files] == before
    assert all(found.code == source.code() for found in read_rows(files[0]))


# --- what the hash of the code sees


TEXT = '''"""Module."""
X = 3  # three


def f(a: int) -> int:
    """Doc."""
    return a * X
'''


def test_comments_docstrings_and_layout_do_not_count_and_code_does():
    same = TEXT.replace('"""Doc."""', '"""Other\n\n    words."""').replace("  # three", "").replace("\n\n\n", "\n")
    assert same != TEXT
    assert source.plain(same) == source.plain(TEXT)
    for old, new in (("3", "4"), ("a * X", "a + X"), ("int) ->", "float) ->"), ("def f", "def g"), ("return", "yield")):
        assert source.plain(TEXT.replace(old, new, 1)) != source.plain(TEXT), new


def test_the_counted_modules_are_those_that_make_a_row():
    found = set(source.modules())
    assert {"evaluate.eval", "evaluate.scores", "predict.said", "masks", "tiling", "metrics.counts", "nets.network",
            "engines.openvino", "engines.thin", "evaluate.robustness"} <= found  # fmt: skip
    assert not {name for name in found if name.split(".")[0] in ("cli", "data", "io", "zoo", "rows")}
    assert not {name for name in found if name.startswith("evaluate.sheet")}, "how a table looks decides no row"


def test_a_change_of_the_code_changes_the_hash(tmp_path, monkeypatch):
    before = source.code()
    path = source.modules()["metrics.overlap"]
    changed = tmp_path / "overlap.py"
    modules = source.modules()
    for text, same in (
        (path.read_text() + "\n# a comment\n", True),
        (path.read_text().replace("2 * hits", "3 * hits"), False),
    ):
        changed.write_text(text)
        monkeypatch.setattr(source, "modules", lambda: modules | {"metrics.overlap": changed})
        source.code.cache_clear()
        assert (source.code() == before) is same
    monkeypatch.undo()
    source.code.cache_clear()
    assert source.code() == before


def test_a_card_counts_with_what_was_fitted_and_not_with_what_was_measured(tiny):
    card = tiny.card
    assert source.card_hash(card.model_copy(update={"results": (), "seams": None})) == source.card_hash(card)
    assert source.card_hash(card.model_copy(update={"threshold": 0.4})) != source.card_hash(card)


def test_simulated_cases_are_known_without_making_them():
    from segbench.evaluate.definitions import RunDefinition

    run = RunDefinition(name="r", zoo="m", data="robustness", domain="wedge")
    assert len(fresh._simulated(run)) == 15
