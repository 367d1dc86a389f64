"""`segbench compare` as a command: exit codes, files, the store of releases, benchmarks and the workflow to copy."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from test_bench import row as bench_row
from test_cli import refused
from test_compare import DOMAINS, run
from test_help import parse

from segbench.bench.row import write_rows as write_bench
from segbench.engines import WHOLE, start
from segbench.errors import InputError, OutputError
from segbench.evaluate.cases import open_data
from segbench.evaluate.eval import evaluate
from segbench.evaluate.releases import make_release, read_run, release_names, store
from segbench.rows import write_rows
from segbench.zoo import find

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / "evaluate" / "ci" / "github-actions.yml"
PICKED, SIZE, SAMPLES = "Tesla,Litarion", 32, 4


class Wrapped:
    """An engine whose logits or masks something has happened to."""

    def __init__(self, engine, logits=lambda found: found, masks=lambda given: given, precision="f32"):
        self.inner, self.logits, self.masks, self.precision = engine, logits, masks, precision

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def bind(self, masks):
        bound = self.inner.bind(self.masks(masks))
        return lambda image, inner=WHOLE: self.logits(bound(image, inner))


@pytest.fixture(scope="module")
def measured(tiny, tmp_path_factory):
    """Writes the run of an engine that is like the fake one, and gives its folder."""
    folder = tmp_path_factory.mktemp("runs")

    def made(name, seed=0, **changes):
        engine = Wrapped(start(tiny, "fake"), **changes)
        rows = evaluate(tiny, engine, open_data("battery16", PICKED, size=SIZE), SAMPLES, seed)
        write_rows(folder / name / "rows.json", tuple(rows))
        return folder / name

    return made


@pytest.fixture(scope="module")
def base(measured):
    return measured("base")


def written(folder, name, found) -> Path:
    write_rows(folder / name / "rows.json", found.rows)
    return folder / name


def test_two_runs_of_one_model_pass(segbench, base, measured):
    code, out, err = segbench("compare", base, measured("again"))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("pass: nothing is worse than its limit")


def test_damaged_weights_fail_and_metric_and_domain_are_named(segbench, base, measured):
    code, out, _ = segbench("compare", base, measured("damaged", logits=lambda found: found * 0.3 - 1))
    assert code == 1
    assert re.search(r"^regression: .*accuracy_truth in (Tesla|Litarion)", out.splitlines()[-1])


def test_a_file_nested_too_deep_is_unusable_and_no_regression(segbench, base, tmp_path):
    (tmp_path / "rows.json").write_text("[" * 100_000)
    for runs in ((base, tmp_path), (tmp_path, base)):
        refused(segbench("compare", *runs), "nested too deep")


def test_what_is_compared_is_not_written_over(segbench, base, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(base, run)
    before = (run / "rows.json").read_bytes()
    for asked in (
        ("--junit", run / "rows.json"),
        ("--markdown", run / "rows.json"),
        ("--junit", run / "." / "rows.json"),
    ):
        refused(segbench("compare", base, run, *asked), "is read by this very command")
    refused(segbench("compare", base, run / "rows.json", "--junit", run / "rows.json"), "is read by this very command")
    assert (run / "rows.json").read_bytes() == before
    assert segbench("compare", base, run, "--junit", run / "compare.xml")[0] == 0


@pytest.mark.parametrize("frozen", [np.ones_like, lambda given: np.repeat(given[:1], len(given), axis=0)])
def test_frozen_dropout_fails(segbench, base, measured, frozen):
    code, out, _ = segbench("compare", base, measured("frozen", masks=frozen))
    assert code == 1
    assert "mutual_information in Tesla" in out.splitlines()[-1]
    assert "dropout is dead: all samples are the same" in out.splitlines()[-1]


def test_a_precision_beyond_its_stated_cost_fails(segbench, base, measured):
    rng = np.random.default_rng(0)

    def rounding(noise):
        return lambda found: found + np.float32(noise) * rng.standard_normal(found.shape, np.float32)

    for name, noise, code in (("int8", 1e-4, 0), ("int8-coarse", 1.0, 1)):
        rounded = measured(name, precision="int8", logits=rounding(noise))
        found, out, _ = segbench("compare", base, rounded)
        assert found == code, out
    assert re.search(r"accuracy_truth (in|on)", out.splitlines()[-1])


def test_what_cannot_be_compared_is_one_line_and_exit_code_2(segbench, base, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(base, broken)
    (broken / "rows.json").write_bytes((broken / "rows.json").read_bytes()[:1000])
    for name, content in (("binary", b"\xff\xfe\x00"), ("list", b"[]"), ("empty", b""), ("other", b'{"format": "x"}')):
        (tmp_path / name).write_bytes(content)
    changed = json.loads((base / "rows.json").read_text())
    changed["rows"][0]["wall_s"] = "soon"
    (tmp_path / "changed").write_text(json.dumps(changed))
    (tmp_path / "nothing").mkdir()
    given = ("broken", "binary", "list", "empty", "other", "changed", "nothing", "missing", "no-such@1.0")
    for name in given:
        code, out, err = segbench(
            "compare", base, tmp_path / name if "@" not in name else name, "--junit", tmp_path / "x.xml"
        )
        assert (code, out, len(err.splitlines())) == (2, "", 1), name
        assert name in err
    assert not (tmp_path / "x.xml").exists()


def test_files_and_json_say_the_same(segbench, tmp_path):
    old = written(tmp_path, "old", run("old"))
    new = written(tmp_path, "new", run("new", changed={("E35", "auc_truth"): 0.9}))
    page, xml = tmp_path / "to" / "compare.md", tmp_path / "to" / "compare.xml"
    code, out, _ = segbench("compare", old, new, "--json", "--junit", xml, "--markdown", page)
    said = json.loads(out)
    assert (code, said["verdict"], said["regressions"][0]) == (
        1,
        "regression",
        {"metric": "auc_truth", "domain": "E35"},
    )
    failures = ElementTree.parse(xml).getroot().findall("testsuite/testcase/failure/..")
    assert {(f.get("classname"), f.get("name")) for f in failures} == {
        (f"segbench.compare.{one['metric']}", one["domain"]) for one in said["regressions"]
    }
    code, out, _ = segbench("compare", old, new, "--markdown", "-")
    assert (code, out) == (1, page.read_text())
    assert segbench("compare", old, new, "--markdown", "-", "--json")[0] == 2
    assert segbench("compare", old, new, "--allow", "auc=0.2")[0] == 0


def test_names_are_shown_as_they_are(segbench, tmp_path):
    strange = ("[red]Tesla[/red]", ":smile: E35")
    lower = {(domain, "auc_truth"): 0.9 for domain in strange}
    old, new = (written(tmp_path, n, run(n, strange, changed)) for n, changed in (("a", {}), ("b", lower)))
    code, out, _ = segbench("compare", old, new)
    assert code == 1
    assert all(name in out for name in strange)
    assert ":smile:" in segbench("compare", old, new, "--markdown", "-")[1]


# --- the store


def released(tiny, **fields):
    return run(model_hash=tiny.hash, **fields)


def test_a_release_is_stored_once_and_compared_by_its_name(segbench, tiny, tmp_path):
    base = written(tmp_path, "base", released(tiny))
    rng = np.random.default_rng(0)
    repeats = [
        written(tmp_path, f"r{n}", released(tiny, seed=n, changed={
            (domain, "accuracy_truth"): 0.95 + 1e-3 * rng.standard_normal() for domain in DOMAINS
        }))
        for n in (1, 2, 3)
    ]  # fmt: skip
    store_ = tmp_path / "store"
    line = ["zoo", "store", tiny.path, "--rows", base, *(x for r in repeats for x in ("--repeat", r)), "--to", store_]
    code, out, err = segbench(*line)
    assert (code, err) == (0, "")
    name = f"{tiny.card.name}@{tiny.card.version}"
    assert name in out
    assert release_names(store_) == [name]
    kept = read_run(name, store_)
    assert len(kept.repeats) == 3
    assert [r.metrics for r in kept.own.values()] == [r.metrics for r in run().own.values()]
    (path,) = store_.iterdir()
    before = path.read_bytes()
    code, _, err = segbench(*line)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "never overwritten" in err
    assert path.read_bytes() == before
    assert list(store_.iterdir()) == [path]
    assert segbench("compare", name, base, "--releases", store_)[0] == 0
    assert segbench("compare", path, base)[0] == 0, "its file does as well"
    other = written(tmp_path, "other", run(model_hash="2", changed={("E35", "accuracy_truth"): 0.90}))
    code, out, _ = segbench("compare", name, other, "--releases", store_)
    assert code == 1
    assert "accuracy_truth in E35" in out.splitlines()[-1]
    assert "limits from 4 runs of BASE" in out
    code, _, err = segbench("compare", f"{tiny.card.name}@9", base, "--releases", store_)
    assert code == 2
    assert f"Known: {name}" in err
    shutil.copy(path, store_ / f"{tiny.card.name}-9.json")
    assert "the file was renamed" in segbench("compare", f"{tiny.card.name}@9", base, "--releases", store_)[2]


def test_a_release_keeps_what_compare_needs_and_no_more(tiny, tmp_path):
    found = released(tiny, blocks=(((5, 0), (0, 5)),) * 3, curves={"reliability_count_truth": (1.0, 2.0)})
    more = found.rows[0].model_copy(update={"metrics": found.rows[0].metrics | {"tp_at_0.50_truth": 5.0}})
    release = make_release(tiny, [type(found)("a", (more, *found.rows[1:]))], [])
    assert {r.kind for r in release.rows} == {"case"}
    assert not any(r.curves for r in release.rows)
    assert all(len(r.blocks) == 3 for r in release.rows)
    assert not any("tp_at" in name for r in release.rows for name in r.metrics)
    path = store(release, tmp_path / "store")
    assert read_run(str(path)).rows == release.rows
    lines = path.read_text().splitlines()
    assert sum('"domain"' in line for line in lines) == len(release.rows) == 3, "a line for each row"


def test_only_runs_of_the_released_model_are_stored(tiny, tmp_path):
    with pytest.raises(InputError, match="not an evaluation of"):
        make_release(tiny, [run("a")], [])
    good = released(tiny)
    with pytest.raises(InputError, match="seed 0 is that of --rows"):
        make_release(tiny, [good], [good])
    bare = type(good)("bare", tuple(row.model_copy(update={"calibrated": False}) for row in good.rows))
    for runs, repeats in (([bare], []), ([good], [bare, bare])):
        with pytest.raises(InputError, match="bare: made with --uncalibrated"):
            make_release(tiny, runs, repeats)
    with pytest.raises(InputError, match="one --repeat"):
        make_release(tiny, [good], [released(tiny, seed=1)])
    with pytest.raises(InputError, match="T = 16"):
        make_release(tiny, [good], [released(tiny, seed=1, samples=4)])
    with pytest.raises(OutputError):
        store(make_release(tiny, [good], []), Path("/proc/store"))


# --- benchmarks


def bench(folder, name, seconds, **fields):
    rows = [bench_row("segbench", seconds, **fields), bench_row("peak", (1.0, 1.0, 1.0), **fields)]
    write_bench(folder / name / "bench.json", rows)
    return folder / name


def test_benchmarks_are_compared_as_ratios_on_one_machine(segbench, tmp_path):
    base = bench(tmp_path, "base", (1.0, 1.01, 1.02, 0.99, 1.0))
    assert segbench("compare", base, bench(tmp_path, "same", (1.01, 1.0, 1.02, 1.0, 0.99)))[0] == 0
    slow = bench(tmp_path, "slow", (1.5, 1.52, 1.49, 1.5, 1.51))
    code, out, _ = segbench("compare", base, slow)
    assert code == 1
    assert "median_s in segbench openvino f32: 1 s to 1.5 s (+50.0 %" in out.splitlines()[-1]
    assert "plain convolutions took 1.000 times" in out
    assert segbench("compare", slow, base)[0] == 0
    assert segbench("compare", base, slow, "--allow", "median_s=0.6")[0] == 0
    uneven = [bench(tmp_path, f"r{n}", (s, s, s)) for n, s in enumerate((0.8, 1.2, 1.4, 0.7))]
    assert segbench("compare", base, slow, *(x for r in uneven for x in ("--repeat", r)))[0] == 0, (
        "sessions differ so much"
    )
    for other, said in (
        (bench(tmp_path, "card", (1.0, 1.0), device="a card"), "different machines"),
        (bench(tmp_path, "small", (1.0, 1.0), size=96), "not the same work"),
        (written(tmp_path, "rows", run()), "no benchmark"),
    ):
        code, _, err = segbench("compare", base, other)
        assert (code, len(err.splitlines())) == (2, 1)
        assert said in err


# --- the workflow that users copy


def test_the_workflow_is_yaml_and_its_commands_parse():
    yaml = pytest.importorskip("yaml")
    flow = yaml.safe_load(WORKFLOW.read_text())
    assert set(flow[True]) == {"pull_request", "workflow_dispatch"}  # YAML 1.1 reads "on" as true
    (job,) = flow["jobs"].values()
    steps = job["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    lines = [line.strip() for step in steps for line in step.get("run", "").splitlines()]
    commands = [line for line in lines if line.startswith("segbench ")]
    assert [line.split()[1] for line in commands] == ["eval", "compare"]
    assert all(isinstance(value, str) for value in flow["env"].values()), "GitHub hands on words"
    for line in commands:
        filled = re.sub(r'"\$(\w+)"', lambda name: flow["env"][name[1]], line)
        assert "$" not in filled
        context = parse(filled)
        if context.params.get("zoo"):
            model = find(context.params["zoo"])
            assert flow["env"]["BASE"] == f"{model.card.name}@{model.card.version}"
    written = parse(commands[1]).params
    shown = next(step for step in steps if step.get("name") == "Show what moved")
    kept = next(step for step in steps if step.get("uses", "").startswith("actions/upload-artifact"))
    assert shown["if"] == kept["if"] == "always()", "a failed gate is when they are wanted"
    assert str(written["markdown"]) in shown["run"]
    assert {str(written["junit"]), str(written["markdown"])} <= set(kept["with"]["path"].split())


def test_the_page_shows_the_workflow_that_there_is():
    page = (ROOT / "docs" / "compare.md").read_text()
    assert "evaluate/ci/github-actions.yml" in page
    shown = [line.strip() for line in page.splitlines() if line.strip().startswith("segbench ")]
    assert shown
    for line in shown:
        parse(line.removesuffix("\\"))
