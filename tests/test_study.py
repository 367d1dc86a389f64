"""Tables of trained methods: definitions, the plan, the pool, workers, sheets of synthetic rows, claims, figures."""

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from scipy import stats
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score
from test_tables import row

from segbench.errors import EngineError, InputError, UnknownNameError
from segbench.evaluate import harness
from segbench.evaluate import measured as kept
from segbench.evaluate.definitions import TableDefinition, definition, wanted
from segbench.evaluate.estimates import Estimate, explained, of_slices, of_trainings
from segbench.evaluate.findings import SHARES, entropy, findings
from segbench.evaluate.images import averaged, ends, f1_of
from segbench.evaluate.measured import Collection, Key, Measured, Trained, keys, read_stored
from segbench.evaluate.methods import Method, Scale, Study, study
from segbench.evaluate.printed import matphase as printed
from segbench.evaluate.sheet import comma_separated
from segbench.evaluate.sheets.matphase import matphase
from segbench.evaluate.sheets.matphase_claims import BASELINES, FAILS, HOLDS, MISSING, OPEN, claims
from segbench.metrics import overlap
from segbench.rows import read_rows
from segbench.study import plan as planning
from segbench.study import run as running
from segbench.study import work as working
from segbench.study.figures import draw
from segbench.study.plan import changed, plan
from segbench.study.pool import work
from segbench.study.process import Workers
from segbench.study.restate import restate
from segbench.study.run import Asked, Telling, run
from segbench.study.scene import Scene, models_of
from segbench.study.task import MEASURED, Task
from segbench.zoo import CARD, find

TABLES = ("matphase-1", "matphase-2", "matphase-3", "matphase-5")
STUDY = study("matphase")


# --- definitions


def test_the_four_tables_have_21_lines_each_with_a_printed_one():
    tables = wanted(TABLES)
    lines = [(table.printed, line) for table in tables.values() for line in table.line]
    assert len(lines) == 21
    assert [len(table.line) for table in tables.values()] == [3, 4, 11, 3]
    for number, line in lines:
        assert STUDY.named(line.method).name == line.method
        assert printed().of(number, line.printed) is not None
    everything = {line.printed for number, line in lines if number == "3"}
    assert everything == {line.method for line in printed().tables["3"]}, "no line of the paper is left out"


def test_three_seeds_where_the_issue_wants_them_and_first_networks_are_shared():
    assert {name: len(STUDY.named(name).seeds) for name in ("ugsm", "unet", "matphase")} == {
        "ugsm": 3, "unet": 3, "matphase": 3,
    }  # fmt: skip
    sharing = {method.name for method in STUDY.method if method.first == "ugsm"}
    assert sharing >= {"matphase", "matphase-no-usi", "only-image", "matphase-h17", "local-unet", "resnet-18"}
    needed = [method.name for method in STUDY.with_needs(["adapted-lcgar"])]
    assert needed == ["ugsm", "matphase", "adapted-lcgar"]


def test_printed_values_are_the_papers():
    tables = printed().tables
    assert {number: len(lines) for number, lines in tables.items()} == {"1": 3, "2": 4, "3": 11, "5": 3}
    ugsm, without, whole = tables["1"]
    assert (ugsm.miou, without.miou, whole.miou) == (0.77, 0.803, 0.802)
    assert (ugsm.f1, whole.lowest, whole.lowest_deviation) == (
        {"pore": 0.86, "carbon": 0.82, "nickel": 0.94},
        91.9,
        1.3,
    )
    fcn = printed().of("3", "FCN")
    assert fcn is not None
    assert (fcn.f1["carbon"], fcn.miou, fcn.fiou, fcn.best) == (0.17, 0.45, 0.64, 80)
    with pytest.raises(InputError, match="no line 'UNet'"):
        printed().of("3", "UNet")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([{"name": "a", "title": "a"}], "either a recipe"),
        ([{"name": "a", "title": "a", "recipe": "r", "card": {"mean": "logits"}}], "name it with of"),
        ([{"name": "a", "title": "a", "recipe": "r", "first": "b"}], "stand before it"),
        ([{"name": "a", "title": "a", "recipe": "r"}, {"name": "a", "title": "a", "recipe": "r"}], "twice"),
        (
            [{"name": "a", "title": "a", "recipe": "r"}, {"name": "b", "title": "b", "of": "a", "seeds": [1, 2]}],
            "seeds on the clean split",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Study(title="t", data="d", paper="p", scale={}, method=wrong)


def test_a_table_is_of_runs_or_of_methods():
    with pytest.raises(ValueError, match="at least one"):
        TableDefinition(title="t", shows="matphase", study="matphase")
    with pytest.raises(ValueError, match="name it"):
        TableDefinition.model_validate(definition("shift").model_dump() | {"printed": "1"})


# --- the plan


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """Recipes of nothing, one for each name of the study."""
    place = tmp_path / "train"
    place.mkdir()
    for name in {method.recipe for method in STUDY.method if method.recipe}:
        (place / f"{name}.toml").write_text(tomli_w.dumps({"name": name, "data": {"source": "battery-fib"}}))
    first = {"name": "ugsm", "steps": 100, "data": {"source": "battery-fib"}}
    (place / "matphase.toml").write_text(
        tomli_w.dumps({"name": "matphase", "first": first, "local": {"edge": 11, "order": "usi"}})
    )
    monkeypatch.setattr(planning, "folder", lambda name: tmp_path / name)
    return place


def planned(scale="cpu", names=("matphase",), root=Path("runs/x")):
    jobs = plan(STUDY, STUDY.scale_named(scale), STUDY.with_needs(names), root)
    return {job.key: job for job in jobs}


def test_options_seed_and_split_are_set_over_the_recipe(recipes):
    jobs = planned("smoke", ["only-image", "unet", "resnet-18"])
    local = tomllib.loads(jobs[Key("only-image", 1)].recipe)
    assert local["local"] == {"edge": 11, "order": "usi", "sees": ["image"]}
    assert local["first"] == {
        "name": "ugsm", "steps": 100, "seed": 1, "batch": 2,
        "data": {"source": "battery-fib", "split": "clean", "images": 2},
    }  # fmt: skip
    assert (local["name"], local["seed"]) == ("only-image", 1)
    first = tomllib.loads(jobs[Key("ugsm", 1)].recipe)
    assert first == local["first"], "UGSM by itself is the first table as a recipe of its own"
    assert tomllib.loads(jobs[Key("resnet-18", 3)].recipe)["local"]["all_pixels"] is True
    assert tomllib.loads(jobs[Key("unet", 1)].recipe)["data"]["images"] == 2
    jobs = planned("cpu", ["unet"])
    assert list(jobs) == [Key("unet", 1), Key("unet", 2), Key("unet", 3), Key("unet", 1, "paper")]
    assert tomllib.loads(jobs[Key("unet", 1, "paper")].recipe)["data"]["split"] == "paper"
    assert "images" not in tomllib.loads(jobs[Key("unet", 2)].recipe)["data"]


def test_what_a_model_is_made_of_names_its_folder(recipes):
    before = planned("cpu", ["matphase", "adapted-lcgar", "unet", "ugsm-longer"])
    assert before[Key("matphase", 2)].needs == Key("ugsm", 2)
    assert before[Key("matphase", 3)].budget_s == before[Key("adapted-lcgar", 3)].budget_s == 480
    assert before[Key("ugsm-longer", 3)].budget_s == 1920 + 480
    assert planned() == {key: job for key, job in before.items() if key.method in ("ugsm", "matphase")}
    raw = tomllib.loads((recipes / "matphase.toml").read_text())
    (recipes / "matphase.toml").write_text(tomli_w.dumps(changed(raw, {"local.edge": 13}, "")))
    after = planned("cpu", ["matphase", "adapted-lcgar", "unet", "ugsm-longer"])
    moved = {key.method for key in before if before[key].place != after[key].place}
    assert moved == {"matphase", "adapted-lcgar"}, "UGSM's own recipe is what it was"
    (recipes / "matphase.toml").write_text(tomli_w.dumps(changed(raw, {"first.precision": "f32"}, "")))
    again = planned("cpu", ["matphase", "adapted-lcgar", "unet", "ugsm-longer"])
    moved = {key.method for key in before if before[key].place != again[key].place}
    assert moved == {"ugsm", "ugsm-longer", "matphase", "adapted-lcgar"}


def test_a_recipe_that_is_missing_or_that_an_option_does_not_fit_is_a_fault_of_its_jobs(recipes):
    (recipes / "matphase-fcn.toml").unlink()
    (recipes / "matphase.toml").write_text('name = "x"\nlocal = 3\nfirst = {}\n')
    jobs = planned("smoke", ["fcn", "only-image", "segnet"])
    assert "no such recipe, and method fcn" in jobs[Key("fcn", 3)].fault
    assert "'local', which is no table" in jobs[Key("only-image", 1)].fault
    assert jobs[Key("segnet", 3)].fault is None


# --- the pool


def jobs_of(recipes, *names):
    return list(planned("smoke", names).values())


def test_jobs_follow_what_they_need_and_no_more_run_than_may(recipes):
    jobs = jobs_of(recipes, "matphase", "only-image", "adapted-lcgar", "unet", "fcn")
    lock, now, most, order = threading.Lock(), 0, 0, []

    def do(job):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
            order.append(job.key.method)

    assert work(jobs, do, 2, lambda job, how: None, lambda: None) == {}
    assert most == 2
    assert sorted(order) == sorted(job.key.method for job in jobs)
    assert order.index("ugsm") < order.index("matphase") < order.index("adapted-lcgar")
    assert order.index("ugsm") < order.index("only-image")
    assert order[0] in ("ugsm", "unet"), "what others wait for is begun first"


def test_every_method_is_trained_once_before_any_is_trained_again(recipes):
    order = []
    jobs = list(planned("cpu", ["ugsm", "unet", "fcn"]).values())
    assert work(jobs, lambda job: order.append(job.key), 1, lambda job, how: None, lambda: None) == {}
    clean = [key for key in order if key.split == "clean"]
    assert {key.method for key in order[:3]} == {"ugsm", "unet", "fcn"}
    assert [key.seed for key in clean if key.method == "unet"] == [1, 2, 3]


def test_what_others_need_has_their_seeds_too(recipes):
    assert list(planned("smoke", ["matphase", "adapted-lcgar"])) == [
        Key("ugsm", 1), Key("ugsm", 3), Key("matphase", 1), Key("matphase", 3), Key("adapted-lcgar", 3),
    ]  # fmt: skip


def test_a_failure_takes_along_what_needs_it_and_nothing_else(recipes):
    jobs = jobs_of(recipes, "matphase", "adapted-lcgar", "unet")
    told = {}

    def do(job):
        if job.key.method == "ugsm":
            raise EngineError("out of\nmemory")

    failed = work(jobs, do, 3, lambda job, how: told.update({job.key.method: how}), lambda: None)
    assert failed[Key("ugsm", 1)] == "out of memory"
    assert {key.method for key in failed} == {"ugsm", "matphase", "adapted-lcgar"}
    assert failed[Key("adapted-lcgar", 3)] == "it needs matphase-3, which failed"
    assert told["unet"] == "done"


def test_a_bug_and_an_interruption_stop_everything(recipes):
    for error in (KeyboardInterrupt, ZeroDivisionError):
        stopped = threading.Event()

        def do(job, error=error, stopped=stopped):
            if job.key.method == "unet":
                raise error
            assert stopped.wait(5), "the others are stopped, not waited for"

        with pytest.raises(error):
            work(jobs_of(recipes, "unet", "fcn"), do, 2, lambda job, how: None, stopped.set)


# --- worker processes


def task_in(place: Path, **changes) -> Task:
    fields = {
        "method": "ugsm", "seed": 1, "split": "clean", "title": "UGSM", "place": place, "recipe": None, "first": None,
        "of": None, "card": {}, "budget_s": 5.0, "data": "battery-fib", "samples": 4, "findings": False,
    }  # fmt: skip
    return Task.model_validate(fields | changes)


def worker(text: str) -> Workers:
    return Workers((sys.executable, "-c", f"import sys, os, time, json\n{text}"))


def test_a_worker_says_its_share_has_one_thread_and_reads_its_task(tmp_path):
    shares = []
    text = """
print("a library talks")
print("segbench-share 0.25")
assert os.environ["OMP_NUM_THREADS"] == "1"
assert json.load(open(sys.argv[1]))["method"] == "ugsm"
print("segbench-share 0.5")
"""
    worker(text).run(task_in(tmp_path / "a"), shares.append)
    assert shares == [0.25, 0.5]


def test_a_worker_that_fails_is_one_line(tmp_path):
    with pytest.raises(EngineError, match=r"^no such network \(.*log\.txt\)$"):
        worker('sys.exit("Traceback\\n  File x\\nno such network")').run(task_in(tmp_path / "a"), print)
    with pytest.raises(EngineError, match=r"^edge: too wide"):
        worker('sys.exit("edge: too wide\\n    For further information visit https://x")').run(
            task_in(tmp_path / "c"), print
        )
    with pytest.raises(EngineError, match="ended with -9; no memory left"):
        worker("os.kill(os.getpid(), 9)").run(task_in(tmp_path / "b"), print)


def test_stopped_workers_are_gone_and_no_more_are_started(tmp_path):
    workers = worker("print('segbench-share 0', flush=True); time.sleep(60)")
    begun, ended = threading.Event(), []

    def one():
        try:
            workers.run(task_in(tmp_path / "a"), lambda _: begun.set())
        except EngineError as error:
            ended.append(str(error))

    thread = threading.Thread(target=one)
    thread.start()
    assert begun.wait(20)
    workers.stop()
    thread.join(20)
    assert "ended with -9" in ended[0]
    with pytest.raises(EngineError, match="interrupted"):
        workers.run(task_in(tmp_path / "b"), print)


def test_a_worker_ends_when_the_process_that_started_it_is_killed(tmp_path):
    """Else it would hold the folder's lock, and the command that goes on could not train there."""
    place, pid = tmp_path / "task.json", tmp_path / "pid"
    child = (
        "import threading, time, os, pathlib; from segbench.study import work; "
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); "
        "threading.Thread(target=work._end_with_parent, daemon=True).start(); time.sleep(60)"
    )
    parent = (
        "from segbench.study.process import Workers; from segbench.study.task import Task; import json, sys; "
        f"Workers((sys.executable, '-c', {child!r})).run(Task.model_validate_json(open({str(place)!r}).read()), print)"
    )
    place.write_text(task_in(tmp_path / "model").model_dump_json())
    started = subprocess.Popen([sys.executable, "-c", parent])
    for _ in range(400):
        if pid.exists() and pid.read_text():
            break
        time.sleep(0.05)
    os.kill(started.pid, signal.SIGKILL)
    started.wait(10)
    for _ in range(200):
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{pid.read_text()}/stat")
        if state.exists() and state.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


# --- models made of others


def test_a_restated_model_has_the_same_files_and_another_card(tiny, tmp_path):
    made = restate(tiny.path, "other", "Other", {"threshold": 0.25}, tmp_path / "out")
    model = find(str(tmp_path / "out"))
    assert (made.name, made.threshold, made.title) == ("other", 0.25, "Other")
    assert model.card.files.weights == tiny.card.files.weights
    assert model.hash != tiny.hash
    assert model.card.calibration is None, "what was fitted to the model as it was is left out"
    with pytest.raises(InputError, match="mean"):
        restate(tiny.path, "other", "Other", {"mean": "median"}, tmp_path / "wrong")
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing half-made is left"


def test_a_restated_model_goes_on_after_a_kill_and_two_workers_do_not_meet(tiny, tmp_path, monkeypatch):
    """What a killed worker left half-moved is made again; a second worker waits, and finds all done."""
    place, done = tmp_path / "model", []
    monkeypatch.setattr(working, "measure", lambda task: done.append((task.place / CARD).is_file()))
    monkeypatch.setattr(working, "_end_with_parent", lambda: None)
    asked_for = task_in(place).model_copy(update={"of": tiny.path, "card": {"threshold": 0.25}})
    file = tmp_path / "task.json"
    file.write_text(asked_for.model_dump_json())
    restate(tiny.path, "other", "Other", {}, place / "model")
    with (place / working.LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=working.main, args=([str(file)],))
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert not (place / CARD).exists()
    second.join(20)
    assert done == [True]
    assert find(str(place)).card.threshold == 0.25
    assert not (place / "model").exists()


# --- running


@pytest.fixture
def fake(recipes, tiny, tmp_path, monkeypatch):
    """A trainer that copies the tests' model and measures nothing of it; it fails where it is told to."""

    class Fake:
        def __init__(self):
            self.done, self.fails = [], set()

        def run(self, task, share):
            share(0.5)
            self.done.append(str(task.key))
            if task.method in self.fails:
                raise EngineError(f"{task.method} diverged")
            for needed in (task.first, task.of):
                assert needed is None or (needed / CARD).is_file()
            assert (task.recipe is None) == (task.of is not None)
            text = json.dumps([task.recipe.read_text() if task.recipe else None, task.card])
            if not (task.place / CARD).is_file():
                restate(tiny.path, task.method, text, {}, task.place / "m")
                for path in (task.place / "m").iterdir():
                    path.replace(task.place / path.name)
            model = find(str(task.place))
            rows = [
                row("clean", "clean", task.method, model_hash=model.hash, code=running_code(), samples=task.samples)
            ]
            trained = kept.trained(task.key, model.card, task.budget_s, task.domains, task.layers)
            if task.recipe:
                import hashlib

                sha = hashlib.sha256(task.recipe.read_bytes()).hexdigest()
                trained = trained.model_copy(update={"recipe_sha256": sha})
            else:
                origin = read_trained(task.of / MEASURED)
                trained = trained.model_copy(update={"recipe_sha256": origin.recipe_sha256})
            kept.write(task.place / MEASURED, Measured(task.key, tuple(rows), trained))

        def stop(self):
            pass

    monkeypatch.setattr(running, "_prepare", lambda *_: None)
    monkeypatch.setattr(kept, "folder", lambda name: tmp_path / name)
    running_code()  # kept from now on: Python 3.11 cannot parse in two threads at once, "recursion depth mismatch"
    return Fake()


def running_code():
    from segbench.evaluate.source import code

    return code()


def read_trained(place):
    return Trained.model_validate_json((place / "trained.json").read_text())


def asked(tmp_path, scale="smoke", tables=("matphase-1",)):
    return Asked("matphase", tuple(wanted(tables).values()), scale, tmp_path / "runs", 2)


def test_what_is_missing_is_trained_and_nothing_twice(fake, tmp_path):
    begun = []
    telling = Telling(begun=begun.extend)
    found = run(asked(tmp_path), telling, fake)
    assert sorted(fake.done) == ["matphase-1", "matphase-no-usi-1", "ugsm-1"]
    assert sorted(map(str, found.found)) == sorted(fake.done)
    assert begun == [Key("ugsm", 1), Key("matphase", 1), Key("matphase-no-usi", 1)]
    assert not (tmp_path / "evaluate").exists(), "smoke rows are never stored"
    assert run(asked(tmp_path), trainer=fake).found.keys() == found.found.keys()
    assert len(fake.done) == 3, "nothing is done twice"
    run(asked(tmp_path, tables=TABLES), trainer=fake)
    assert len(set(fake.done)) == len(fake.done)
    methods = {name.rsplit("-", 1)[0] for name in fake.done}
    assert methods == {line.method for name in TABLES for line in definition(name).line}
    assert len(methods) == 18


def test_rows_of_other_code_or_of_another_model_are_measured_again(fake, tmp_path):
    run(asked(tmp_path), trainer=fake)
    (place,) = (tmp_path / "runs").glob("matphase-1-*")
    rows = read_rows(place / MEASURED / "rows.json")
    kept.write_rows(place / MEASURED / "rows.json", [rows[0].model_copy(update={"code": "old"})])
    fake.done.clear()
    run(asked(tmp_path), trainer=fake)
    assert fake.done == ["matphase-1"]
    (place / CARD).unlink()
    fake.done.clear()
    run(asked(tmp_path), trainer=fake)
    assert fake.done == ["matphase-1"], "without its card a model is unfinished, whatever was measured"


def test_a_failure_is_a_row_that_says_so_and_is_tried_again(fake, tmp_path):
    fake.fails = {"ugsm"}
    ended = {}
    found = run(
        asked(tmp_path, tables=("matphase-1", "matphase-3")), Telling(ended=lambda k, how: ended.update({k: how})), fake
    )
    assert ended[Key("ugsm", 1)] == "ugsm diverged"
    assert ended[Key("unet", 1)] == "done"
    sheets = matphase(definition("matphase-1"), found, printed())
    assert [line[0] for line in sheets[0].lines] == [
        "UGSM (failed: ugsm diverged)",
        "MatPhase without HCL-USI (failed: it needs ugsm-1, which failed)",
        "MatPhase (failed: it needs ugsm-1, which failed)",
    ]
    assert "U-Net" in [line[0] for line in matphase(definition("matphase-3"), found, printed())[0].lines]
    fake.fails = set()
    fake.done.clear()
    assert not run(asked(tmp_path, tables=("matphase-1",)), trainer=fake).failed
    assert "unet-1" not in fake.done


def test_rows_are_stored_as_they_are_measured_not_when_all_is_done(fake, tmp_path):
    class Interrupted:
        stop = fake.stop

        def run(self, task, share):
            if len(fake.done) == 2:
                raise KeyboardInterrupt
            fake.run(task, share)

    one_by_one = replace(asked(tmp_path, "cpu"), side_by_side=1)
    with pytest.raises(KeyboardInterrupt):
        run(one_by_one, trainer=Interrupted())
    stored = read_stored("matphase", STUDY).found
    assert sorted(map(str, stored)) == sorted(fake.done)
    assert len(stored) == 2


def test_what_was_scored_of_fewer_layers_is_not_taken_for_all(fake, recipes, tmp_path):
    whole = asked(tmp_path, "cpu")
    found = run(whole, trainer=fake)
    for place in (tmp_path / "evaluate" / "results" / "matphase-cpu").iterdir():
        path = place / "trained.json"
        path.write_text(read_trained(place).model_copy(update={"layers": 8}).model_dump_json())
    fake.done.clear()
    assert run(whole, trainer=fake).found.keys() == found.found.keys()
    assert fake.done == [], "the models' folders hold what was asked for"
    for place in (tmp_path / "runs").glob("matphase-1-*"):
        path = place / MEASURED / "trained.json"
        path.write_text(read_trained(place / MEASURED).model_copy(update={"layers": 8}).model_dump_json())
        stored = tmp_path / "evaluate" / "results" / "matphase-cpu" / "matphase-1" / "trained.json"
        stored.write_text(path.read_text())
    run(whole, trainer=fake)
    assert fake.done == ["matphase-1"]


def test_rows_of_cpu_are_stored_and_stand_without_their_models(fake, recipes, tmp_path, monkeypatch):
    import shutil

    found = run(asked(tmp_path, "cpu"), trainer=fake)
    assert len(found.found) == 3 + 3 + 3 + 2
    place = tmp_path / "evaluate" / "results" / "matphase-cpu"
    assert sorted(path.name for path in place.iterdir()) == sorted(map(str, found.found))
    stored = read_stored("matphase", STUDY)
    assert (stored.scale, stored.found.keys()) == ("cpu", found.found.keys())
    shutil.rmtree(tmp_path / "runs")
    fake.done.clear()
    assert run(asked(tmp_path, "cpu"), trainer=fake).found.keys() == found.found.keys()
    assert fake.done == [], "a fresh clone has rows and no models"
    run(asked(tmp_path, "cpu", ("matphase-5",)), trainer=fake)
    assert sorted(fake.done) == ["matphase-h17-1", "matphase-h25-1", "ugsm-1"], (
        "a first network that others need comes back"
    )
    longer = {"cpu": STUDY.scale["cpu"].model_copy(update={"budget_s": 99.0})}
    monkeypatch.setattr(running, "study", lambda name: STUDY.model_copy(update={"scale": STUDY.scale | longer}))
    fake.done.clear()
    run(asked(tmp_path, "cpu"), trainer=fake)
    assert "matphase-1" in fake.done, "its own recipe and budget are what they were, its first network's is not"
    raw = tomllib.loads((recipes / "matphase.toml").read_text())
    (recipes / "matphase.toml").write_text(tomli_w.dumps(changed(raw, {"local.edge": 13}, "")))
    fake.done.clear()
    run(asked(tmp_path, "cpu"), trainer=fake)
    assert {name.rsplit("-", 1)[0] for name in fake.done} >= {"matphase", "matphase-no-usi"}, "their recipe has changed"


# --- sheets


CLASSES = 3
PLANE = (24, 20)


def stack(accuracy: float, seed: int, images: int = 12) -> tuple[list, np.ndarray, np.ndarray]:
    """Blocks of some images with about that accuracy, with labels and predictions."""
    rng = np.random.default_rng(seed)
    label = np.random.default_rng(7).choice(CLASSES, p=(0.14, 0.26, 0.6), size=(images, *PLANE))
    wrong = rng.random(label.shape) > accuracy + np.linspace(-0.05, 0.05, images)[:, None, None]
    said = np.where(wrong, (label + rng.integers(1, CLASSES, label.shape)) % CLASSES, label)
    blocks = [
        [[int(((a == i) & (b == j)).sum()) for j in range(CLASSES)] for i in range(CLASSES)]
        for a, b in zip(label, said, strict=True)
    ]
    return blocks, label, said


def measured(method, seed, accuracy, split="clean", domains=("clean", "specimen-2", "low-dose"), found=None, **trained):
    rows = []
    for number, domain in enumerate(domains if split == "clean" else ("paper",)):
        blocks, *_ = stack(accuracy - 0.03 * number, seed)
        whole = np.sum(blocks, axis=0).tolist()
        scores = {"accuracy_band_human": accuracy - 0.1, "accuracy_interior_human": accuracy + 0.02}
        scores |= {"doubted": 0.1} if method.startswith("matphase") else {}
        rows.append(row(domain, domain, method, data="battery-fib", metrics=scores, blocks=blocks, stack=True,
                        confusion_human=whole, confusion_truth=whole))  # fmt: skip
    fields = {
        "method": method, "seed": seed, "split": split, "parameters": 1000, "steps": 10, "processor_s": 5.0,
        "budget_s": 5.0, "device": "a processor", "recipe_sha256": "0",
    }  # fmt: skip
    return Measured(Key(method, seed, split), tuple(rows), Trained.model_validate(fields | trained), found)


def collected(*some: Measured, scale="cpu", failed=None) -> Collection:
    return Collection(STUDY, scale, {one.key: one for one in some}, failed or {})


def cells(sheet, name) -> dict:
    (found,) = (line for line in sheet.lines if line[0].startswith(name))
    return dict(zip([column.text for column in sheet.columns], found, strict=True))


def test_scores_are_of_each_image_then_averaged():
    one = measured("ugsm", 1, 0.9)
    _, label, said = stack(0.9, 1)
    got = averaged([one.of("clean")], f1_of(0))
    pairs = list(zip(label.reshape(len(label), -1), said.reshape(len(said), -1), strict=True))
    by_hand = [f1_score(a, b, labels=[0], average="macro") for a, b in pairs]
    assert got.interval.value == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert (got.drawn, got.interval.n, got.mark) == ("slice", 12, "†")
    assert got.interval.low < got.interval.value < got.interval.high
    table = matphase(definition("matphase-1"), collected(one), printed())
    line = cells(table[0], "UGSM")
    assert line["mIoU"].interval.value == pytest.approx(
        np.mean([jaccard_score(a, b, average="macro") for a, b in pairs])
    )
    assert line["fIoU"].interval.value == pytest.approx(
        np.mean([jaccard_score(a, b, average="weighted") for a, b in pairs])
    )
    pooled = overlap.miou(np.array(one.of("clean").confusion_human))
    assert abs(line["mIoU"].interval.value - pooled) > 1e-6, "which is another number than that of pooled pixels"


def test_a_caption_says_whose_budget_is_another():
    found = collected(measured("ugsm", 1, 0.9), measured("ugsm-longer", 1, 0.9))
    said = " ".join(claims(found, printed())[0].notes)
    assert "1920 s of processor time for every network, and 480 s" in said
    assert "UGSM with MatPhase's whole budget: 1.25 times that" in said


def test_an_absent_class_is_left_out_of_the_mean():
    blocks = [[[0, 0, 0], [0, 5, 0], [0, 0, 5]], [[4, 1, 0], [0, 5, 0], [0, 0, 5]]]
    one = row("clean", "clean", blocks=blocks, stack=True)
    assert averaged([one], f1_of(0)).interval.value == pytest.approx(8 / 9)
    assert averaged([one], f1_of(0)).interval.n == 1


def test_best_and_lowest_five_with_their_deviation():
    one = measured("ugsm", 1, 0.9).of("clean")
    _, label, said = stack(0.9, 1)
    right = np.sort(100 * (label == said).mean(axis=(1, 2)))
    found = ends(one)
    assert found.best == pytest.approx(right[-5:].mean())
    assert found.lowest == pytest.approx(right[:5].mean())
    assert (found.best_deviation, found.lowest_deviation) == pytest.approx(
        (right[-5:].std(ddof=1), right[:5].std(ddof=1))
    )


def test_three_trainings_have_students_interval_and_fewer_that_of_images():
    values = [0.80, 0.82, 0.85]
    found = of_trainings(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert (found.drawn, found.interval.n, found.mark) == ("training", 3, "")
    assert explained([found])[0].endswith("Student's t over trainings (n = 3) of other seeds")
    assert math.isnan(of_trainings([0.8]).interval.low)
    three = [measured("ugsm", seed, 0.9) for seed in (1, 2, 3)]
    one = [measured("matphase", 1, 0.9)]
    sheet = matphase(definition("matphase-1"), collected(*three, *one), printed())[0]
    assert cells(sheet, "UGSM")["mIoU"].drawn == "training"
    own = [np.mean([overlap.miou(np.array(b)) for b in part.of("clean").blocks]) for part in three]
    assert cells(sheet, "UGSM")["mIoU"].interval.value == pytest.approx(np.mean(own))
    (line,) = (line for line in sheet.lines if line[0] == "MatPhase")
    assert isinstance(line[2], Estimate)
    assert line[2].drawn == "slice"


def test_two_trainings_are_averaged_image_by_image():
    rows = [measured("ugsm", seed, 0.9).of("clean") for seed in (1, 2)]
    each = [[overlap.accuracy(np.array(block)) for block in one.blocks] for one in rows]
    found = averaged(rows, overlap.accuracy)
    assert found == of_slices(np.mean(each, axis=0))
    assert found.interval.value == pytest.approx(np.mean(each))


def test_printed_values_stand_beside_ours_and_never_among_them():
    sheets = matphase(definition("matphase-3"), collected(measured("unet", 1, 0.9)), printed())
    columns = sheets[0].columns
    for line, beside in zip(sheets[0].lines, definition("matphase-3").line, strict=True):
        paper = printed().of("3", beside.printed)
        shown = [cell for cell, column in zip(line, columns, strict=True) if column.printed]
        assert shown == [*(paper.f1[name] for name in ("pore", "carbon", "nickel")), paper.miou, paper.fiou]
    assert [column.printed for column in columns] == [False, False, *([False, True] * 5)]
    texts = [column.text for column in sheets[1].columns]
    assert len(set(texts)) == len(texts), "headings are told apart in CSV"
    assert "0.77" in comma_separated(sheets)


def test_captions_state_scale_budget_device_seeds_and_split():
    some = [measured("ugsm", seed, 0.9) for seed in (1, 2, 3)]
    some += [measured("ugsm", 1, 0.97, "paper"), measured("matphase", 1, 0.9)]
    sheets = matphase(definition("matphase-1"), collected(*some), printed())
    titles = [sheet.title for sheet in sheets]
    assert [title for title in titles if "the paper's split" in title] == titles[-2:]
    assert titles[0] == "F1 and IoU, clean split"
    said = " ".join(sheets[0].notes)
    for text in ("scale cpu", "1920 s of processor time", "a processor", "T = 16", "UGSM: 1, 2, 3; MatPhase: 1"):
        assert text in said
    assert "clean split: test slices lie deeper" in said
    assert "the paper's split: 40 of 50" in " ".join(sheets[-1].notes)
    assert [line[0] for line in sheets[-1].lines] == ["UGSM"], "only what was trained on it"
    clean, paper = (cells(sheet, "UGSM")["mIoU"].interval.value for sheet in (sheets[0], sheets[-2]))
    assert paper > clean + 0.05, "the two splits are not mixed"
    smoke = matphase(definition("matphase-1"), collected(*some, scale="smoke"), printed())
    assert "its numbers mean nothing" in smoke[0].notes[0]
    nothing = matphase(definition("matphase-1"), collected(), printed())
    assert nothing[0].notes[0] == "not measured yet"
    assert math.isnan(nothing[0].lines[0][2])


def test_other_domains_and_what_only_some_methods_have():
    some = [measured("ugsm", 1, 0.9), measured("matphase", 1, 0.9)]
    sheets = matphase(definition("matphase-1"), collected(*some), printed())
    others = cells(sheets[2], "UGSM")
    value = {name: others[f"mIoU {name}"].interval.value for name in ("clean", "specimen-2", "low-dose")}
    assert value["clean"] > value["specimen-2"] > value["low-dose"]
    assert cells(sheets[1], "UGSM")["doubted"] is None, "nobody decides its pixels but itself"
    (line,) = (line for line in sheets[1].lines if line[0] == "MatPhase")
    assert line[-2:] == (0.1, 1000.0)


# --- findings


def test_findings_against_an_independent_library_and_closed_forms():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3, 4, 10, 12)).astype(np.float32)
    label = rng.integers(0, 3, (4, 10, 12)).astype(np.uint8)
    found = findings(logits, label)
    wrong = (logits.argmax(0) != label).ravel()
    u = stats.entropy(np.exp(logits.astype(np.float64)), axis=0)
    np.testing.assert_allclose(entropy(logits), u, rtol=1e-9)
    assert found.smaller == pytest.approx(roc_auc_score(wrong, -logits.max(0).ravel()))
    assert found.below_mean == pytest.approx((u.ravel()[wrong] < u.mean()).mean())
    order = np.argsort(u.ravel())
    half = wrong[order][: wrong.size // 2].sum() / wrong.sum()
    assert found.certain_errors(0.5) == pytest.approx(half, abs=1e-12)
    assert (found.found[0], found.found[-1], len(found.found)) == (0.0, 1.0, SHARES + 1)
    assert found.wrong.mean == pytest.approx(logits.max(0).ravel()[wrong].mean(), rel=1e-6)
    assert sum(found.wrong.counts) == found.wrong.pixels == found.errors == wrong.sum()


def test_findings_of_planted_errors():
    """Errors where the uncertainty is highest: none is certain; all logits alike: every order is chance."""
    label = np.zeros((1, 1, 10), np.uint8)
    logits = np.zeros((3, 1, 1, 10), np.float32)
    logits[0] = 5
    logits[:, 0, 0, :3] = [[0.0], [0.1], [0.0]]
    found = findings(logits, label)
    assert (found.errors, found.certain_errors(0.5), found.smaller, found.below_mean) == (3, 0.0, 1.0, 0.0)
    alike = findings(np.zeros((3, 1, 1, 10), np.float32), np.array([0, 1] * 5, np.uint8).reshape(1, 1, 10))
    assert (alike.certain_errors(0.5), alike.smaller) == (pytest.approx(0.5), 0.5)
    right = findings(logits, logits.argmax(0).astype(np.uint8))
    assert math.isnan(right.certain_errors())
    assert (right.smaller, right.wrong.mean) == (None, None)


# --- claims


def everything(better=0.02) -> Collection:
    logits = np.random.default_rng(0).normal(0, 2, (3, 2, 10, 12)).astype(np.float32)
    found = findings(logits, np.zeros((2, 10, 12), np.uint8))
    some = [measured("ugsm", s, 0.88, found=found) for s in (1, 2, 3)]
    some += [measured("matphase", s, 0.88 + better, parameters=1200) for s in (1, 2, 3)]
    names = {
        *BASELINES,
        "matphase-no-usi",
        "matphase-reversed",
        "ugsm-longer",
        "only-image",
        "image-classes",
        "image-logits",
    }
    return collected(*some, *(measured(name, 1, 0.88) for name in sorted(names)))


def verdicts(found) -> dict[str, tuple[str, str]]:
    (sheet,) = claims(found, printed())
    return {line[0]: (line[3], line[4]) for line in sheet.lines}


def test_claims_are_judged_by_their_criterion_both_ways():
    for better, expected in ((0.03, HOLDS), (-0.03, FAILS)):
        judged = verdicts(everything(better))
        for claim, (text, verdict) in judged.items():
            if claim.startswith(("hierarchical", "above the ten", "better", "smoother")):
                assert verdict == expected, (claim, text)
    same = verdicts(everything(0.0))
    assert next(v for c, (_, v) in same.items() if "less UGSM with" in c) in (OPEN, FAILS, HOLDS)
    text = next(text for claim, (text, _) in verdicts(everything(0.03)).items() if claim.startswith("hierarchical"))
    assert text.endswith("3 trainings")
    paper = {line[0]: line[2] for line in claims(everything(), printed())[0].lines}
    assert next(v for c, v in paper.items() if c.startswith("hierarchical")) == "+0.032"
    assert next(v for c, v in paper.items() if "HCL-USI matters" in c) == "-0.001"


def test_a_difference_is_paired_by_seed_and_image():
    found = everything(0.03)
    new, old = ([one.of("clean") for one in found.of(name)] for name in ("matphase", "ugsm"))
    each = [
        np.mean([overlap.miou(np.array(b)) for b in a.blocks]) - np.mean([overlap.miou(np.array(b)) for b in c.blocks])
        for a, c in zip(new, old, strict=True)
    ]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(each), scale=stats.sem(each))
    text = next(text for claim, (text, _) in verdicts(found).items() if claim.startswith("hierarchical"))
    assert text == f"{np.mean(each):+.4f} [{low:+.4f}, {high:+.4f}], 3 trainings"


def test_claims_that_were_not_measured_say_so():
    judged = verdicts(collected())
    assert {verdict for _, verdict in judged.values()} == {MISSING}
    some = verdicts(collected(measured("ugsm", 1, 0.9), measured("matphase", 1, 0.9)))
    assert sum(verdict != MISSING for _, verdict in some.values()) == 2
    larger = everything(-0.01)
    larger = collected(*(
        one if one.key.method in ("matphase", "ugsm") or one.key.method not in BASELINES
        else measured(one.key.method, 1, 0.99, parameters=10**6) for one in larger.found.values()
    ))  # fmt: skip
    text, verdict = next(v for c, v in verdicts(larger).items() if c.startswith("smoother"))
    assert (verdict, text.split(", ")[1]) == (FAILS, "above 0 of 0"), "baselines that are larger do not count"


# --- figures


def test_figures_are_drawn_with_and_without_findings(tmp_path):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3, 2, 30, 40)).astype(np.float32)
    label = rng.integers(0, 3, (2, 30, 40)).astype(np.uint8)
    labels = dict.fromkeys(("ugsm", "unet", "matphase"), logits.argmax(0).astype(np.uint8))
    scene = Scene((0, 1), rng.random((2, 30, 40)).astype(np.float32), label, labels, logits,
                  entropy(logits).astype(np.float32), 1)  # fmt: skip
    for found in (findings(logits, label), None):
        paths = draw(scene, found, tmp_path, "scale smoke")
        assert [path.name for path in paths] == [f"matphase-figure-{n}.png" for n in (1, 2, 3)]
        assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)


def test_figures_take_the_first_seed_that_all_three_have():
    places = {Key(name, seed): Path(f"{name}{seed}") for name in ("ugsm", "matphase") for seed in (1, 2)}
    assert models_of(places) is None
    models, seed = models_of(places | {Key("unet", 2): Path("u"), Key("unet", 1, "paper"): Path("p")})
    assert (seed, models["unet"], models["ugsm"]) == (2, Path("u"), Path("ugsm2"))


# --- the command


def test_tables_without_rows_say_how_to_make_them(segbench, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "folder", lambda name: tmp_path / name)
    code, out, err = segbench("tables", "matphase-1")
    assert code == 0
    assert "UGSM (not measured)" in out
    assert "segbench tables matphase-1 --scale cpu" in err.replace("\n", " ")


def test_listed_with_their_methods(segbench):
    code, out, _ = segbench("tables", "--list")
    assert code == 0
    assert "matphase-3" in out
    assert "(11 trained methods)" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shift", "--scale", "smoke"), "--scale is for tables of trained methods"),
        (("matphase-1", "--scale", "tiny"), "unknown scale 'tiny'. Known: smoke, cpu, full"),
        (("matphase-1", "--scale", "smoke", "--jobs", "0"), "--jobs is 0"),
        (("matphase-1", "--jobs", "2"), "add --scale"),
        (("matphase-1", "--scale", "smoke", "--refresh"), "leave one out"),
    ],
)
def test_what_cannot_be_is_one_line(segbench, arguments, said):
    code, _, err = segbench("tables", *arguments)
    assert code == 2
    assert said in " ".join(err.split())
    assert "Traceback" not in err


def test_the_command_trains_prints_and_writes(segbench, fake, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "Workers", lambda: fake)
    fake.fails = {"matphase-no-usi"}
    code, out, err = segbench(
        "tables", "matphase-1", "--scale", "smoke", "--runs", tmp_path / "runs", "--out", tmp_path / "out"
    )
    assert code == 0, err
    assert "MatPhase without HCL-USI" in out
    assert "diverged" in " ".join(out.split())
    assert "3 trainings to do" in err
    page = (tmp_path / "out" / "matphase-1.md").read_text()
    assert "its numbers mean nothing" in page
    assert "*0.770*" in page, "printed values are in italics"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"matphase-1.{e}" for e in ("md", "csv", "tex")}


def test_made_of_a_collection_names_its_trainings():
    made = harness.make_of("matphase-1", definition("matphase-1"), collected(measured("ugsm", 1, 0.9)))
    assert made.sources[0].startswith("`ugsm-1`: ")
    assert "10 steps, 5 s of processor time on a processor" in made.sources[0]
    assert made.missing == ("not measured: matphase-no-usi, matphase: segbench tables matphase-1 --scale cpu",)


def test_keys_follow_scale_and_split():
    method = Method(name="a", title="a", recipe="r", seeds=(1, 2), paper_seeds=(3,))
    whole = Study(title="t", data="d", paper="p", scale={}, method=(method,))
    assert list(map(str, keys(whole, Scale(samples=1), whole.method))) == ["a-1", "a-2", "a-3-paper"]
    assert list(map(str, keys(whole, Scale(samples=1, seeds=1, splits=("clean",)), whole.method))) == ["a-1"]
    with pytest.raises(UnknownNameError):
        whole.named("b")


def test_the_page_of_claims_is_of_the_stored_rows():
    root = Path(__file__).parent.parent
    command = [
        sys.executable,
        str(root / "docs" / "matphase.py"),
        "--page",
        str(root / "docs" / "matphase.md"),
        "--check",
    ]
    assert subprocess.run(command, check=False).returncode == 0, "python docs/matphase.py --page docs/matphase.md"
