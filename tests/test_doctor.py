"""The doctor: whatever is broken is a line of its page, and never its end."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from segbench.doctor import engines as trials
from segbench.doctor.cards import cards
from segbench.doctor.engines import TRIALS, UNTRIED, engines
from segbench.doctor.finding import Finding, Report, isolated
from segbench.doctor.installed import DEVELOPERS, FORMATS, extras, formats, zoo
from segbench.doctor.machine import cpu_quota, disks, machine, memory, memory_limit, processor_flags, threads
from segbench.doctor.run import PROBES, examine, works
from segbench.engines import ENGINES
from segbench.io.kinds import KINDS

FAKE = """#!{python}
import json, os, signal, sys, time
import numpy as np
name, folder, *pairs = sys.argv[3:]
for number, pair in enumerate(pairs):
    what = {plan!r}[name][pair]
    print("noise of a library", flush=True)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang":
        time.sleep(60)
    if what == "die":
        sys.exit("Illegal option\\nno such library")
    told = {{"status": "ok", "version": "1", "device": "d", "seconds": 0.1}}
    if what in ("missing", "failed"):
        told = {{"status": what, "said": "why"}}
    else:
        np.save(os.path.join(folder, f"{{name}}-{{number}}.npy"), np.full((2, 1, 2, 2, 2), float(what)))
    print("segbench-trial " + json.dumps(told), flush=True)
"""


def fake(folder: Path, plan: dict[str, dict[str, str]]) -> str:
    """A Python whose attempts end as planned."""
    path = folder / "python"
    path.write_text(FAKE.format(python=sys.executable, plan=plan))
    path.chmod(0o755)
    return str(path)


def tried(monkeypatch, tmp_path, plan, timeout_s=20.0):
    monkeypatch.setattr(trials, "TRIALS", {name: tuple(pairs) for name, pairs in plan.items()})
    found = engines(fake(tmp_path, plan), timeout_s, card=True)
    return {finding.name: finding for finding in found if finding.status != "not tried"}


def test_a_probe_that_fails_is_a_line_and_keeps_what_it_found():
    def probe():
        yield Finding(topic="machine", name="first", said="there")
        raise ValueError("no\nluck")

    first, second = isolated("machine", "all", probe)
    assert (first.name, first.status) == ("first", "ok")
    assert (second.name, second.status, second.said) == ("all", "failed", "ValueError: no luck")


def test_an_engine_that_crashes_takes_nothing_else_down(monkeypatch, tmp_path):
    plan = {
        "onnxruntime": {"cpu:f32": "2", "cuda:f32": "missing"},
        "openvino": {"cpu:f32": "2.0001", "cpu:bf16": "crash", "cpu:int8": "2.5"},
        "torch": {"cpu:f32": "die", "cpu:bf16": "failed"},
    }
    found = tried(monkeypatch, tmp_path, plan)
    assert {name: finding.status for name, finding in found.items()} == {
        "onnxruntime cpu f32": "ok", "onnxruntime cuda f32": "missing", "openvino cpu f32": "ok",
        "openvino cpu bf16": "failed", "openvino cpu int8": "ok", "torch cpu f32": "failed", "torch cpu bf16": "failed",
    }  # fmt: skip
    assert found["openvino cpu bf16"].said == "crashed (SIGSEGV)"
    assert found["torch cpu f32"].said == "ended with code 1: no such library"
    assert found["openvino cpu int8"].numbers["largest_difference"] == pytest.approx(0.5)


def test_an_engine_that_hangs_is_given_up(monkeypatch, tmp_path):
    found = tried(monkeypatch, tmp_path, {"onnxruntime": {"cpu:f32": "1", "cuda:f32": "hang"}}, timeout_s=3.0)
    assert found["onnxruntime cpu f32"].status == "ok"
    assert found["onnxruntime cuda f32"].said == "gave no answer within 3 s"


@pytest.mark.parametrize(("precision", "value"), [("f32", "1.01"), ("bf16", "-1"), ("int8", "nan"), ("f16", "0")])
def test_an_engine_that_runs_and_is_wrong_is_no_working_engine(monkeypatch, tmp_path, precision, value):
    found = tried(monkeypatch, tmp_path, {"onnxruntime": {"cpu:f32": "1"}, "torch": {f"cuda:{precision}": value}})
    wrong = found[f"torch cuda {precision}"]
    assert wrong.status == "failed"
    assert wrong.said.endswith("wrong")
    assert wrong.fix.endswith("--engine onnxruntime")


def test_the_engines_here_run_the_default_model(monkeypatch):
    monkeypatch.setattr(trials, "TRIALS", {"onnxruntime": ("cpu:f32",), "openvino": ("cpu:f32",)})
    first, second = (finding for finding in engines(card=False) if finding.status != "not tried")
    assert (first.name, first.status) == ("onnxruntime cpu f32", "ok")
    assert (second.name, second.status) == ("openvino cpu f32", "ok")
    assert 0 < second.numbers["largest_difference"] < 1e-4


def test_every_engine_is_tried_or_says_why_not():
    assert set(ENGINES) - {"fake"} <= set(TRIALS) | set(UNTRIED)
    assert set(TRIALS) <= set(ENGINES)


def test_an_engine_that_is_not_installed_says_what_installs_it(monkeypatch):
    monkeypatch.setattr(trials, "TRIALS", {"torch": ("cpu:f32",)})
    monkeypatch.setattr(trials, "find_spec", lambda name: None)
    (finding,) = engines(card=False)
    assert (finding.status, finding.fix) == ("missing", "pip install 'segbench[train]'")


def test_the_container_limits_what_is_counted(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("3000000000\n")
    (tmp_path / "memory.current").write_text("2500000000\n")
    assert cpu_quota(tmp_path) == 1.5
    assert memory_limit(tmp_path) == (3 * 10**9, 5 * 10**8)
    (finding,) = memory(tmp_path)
    assert finding.status == "failed"
    assert finding.said.startswith("0.5 of 3.0 GB")
    (finding,) = threads(tmp_path)
    assert finding.numbers["granted"] == 1.5
    assert finding.fix in ("", "segbench predict --threads 1")


def test_no_limit_is_none(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert cpu_quota(tmp_path) is None
    assert memory_limit(tmp_path) is None


def test_the_processor_is_read_from_linux_and_unknown_elsewhere(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags : fpu avx2 avx512f\n\nflags : other\n")
    assert processor_flags(tmp_path / "cpuinfo") == {"fpu", "avx2", "avx512f"}
    assert processor_flags(tmp_path / "none") == frozenset()


def test_what_is_here_is_found():
    for probe in (machine, threads, memory, disks, formats, extras, zoo):
        assert isolated("machine", "x", probe)
        assert "x" not in {finding.name for finding in isolated("machine", "x", probe)}, probe


def test_every_kind_of_file_is_among_the_formats():
    names = " ".join(FORMATS).lower().replace("npy", "npy npz")
    assert all(kind in names for kind in KINDS)


def test_extras_follow_what_the_installation_says_of_itself(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    info = tmp_path / "toy-1.dist-info"
    info.mkdir()
    lines = ["Name: toy", "Version: 1", *(f"Provides-Extra: {e}" for e in ("a", "b", "gpu", *DEVELOPERS))]
    lines += ["Requires-Dist: numpy", "Requires-Dist: no-such>=1; extra == 'a'", "Requires-Dist: numpy; extra == 'b'"]
    lines += ["Requires-Dist: toy[a,b]; extra == 'gpu'"]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    a, b, gpu = extras("toy", card=False)
    assert (a.status, a.said, a.fix) == ("missing", "without no-such", "pip install 'segbench[a]'")
    assert b.status == "ok"
    assert (gpu.status, gpu.fix) == ("missing", "")
    assert "NVIDIA" in gpu.said


def test_a_driver_that_crashes_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr("segbench.doctor.cards.driver", lambda: True)
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -SEGV $$\n")
    script.chmod(0o755)
    (finding,) = cards(str(script))
    assert finding.status == "failed"


def test_a_card_is_read_from_what_its_driver_says(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559 MiB, 9.0, 570.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = {finding.name: finding.said for finding in cards()}
    assert found["card 0"] == "NVIDIA H100 80GB HBM3, 81559 MiB, compute capability 9.0"
    assert found["driver"].startswith("570.1, for CUDA ")
    assert {"cuDNN", "TensorRT"} <= set(found)


ENGINE = Finding(topic="engines", name="openvino cpu f32", said="runs")
MODEL = Finding(topic="segbench", name="vnet-battery", said="whole")


def test_it_works_where_the_model_is_whole_and_an_engine_runs_it_in_f32():
    assert works([ENGINE, MODEL])
    assert not works([ENGINE])
    assert not works([MODEL, ENGINE.model_copy(update={"status": "failed"})])
    assert not works([MODEL, ENGINE.model_copy(update={"name": "openvino cpu bf16"})])


def test_all_probes_failing_is_a_page_too():
    def broken():
        raise OSError("gone")

    report = examine(tuple((topic, name, broken) for topic, name, _ in PROBES))
    assert not report.works
    assert {finding.status for finding in report.findings} == {"failed"}


@pytest.mark.parametrize("good", [True, False])
def test_the_command_prints_a_page_or_json_and_its_exit_code_says_whether_predictions_run(monkeypatch, segbench, good):
    broken = Finding(topic="engines", name="torch cpu f32", status="failed", said="crashed [bold]", fix="do [this]")
    report = Report(segbench="1", works=good, seconds=0.1, findings=(MODEL, ENGINE, broken))
    monkeypatch.setattr("segbench.doctor.run.examine", lambda: report)
    monkeypatch.setattr("segbench.cli.doctor.examine", lambda: report, raising=False)
    code, out, err = segbench("doctor")
    assert (code, err) == (0 if good else 1, "")
    assert "crashed [bold]" in out
    assert "do [this]" in out
    code, out, _ = segbench("doctor", "--json")
    assert code == (0 if good else 1)
    assert json.loads(out)["works"] is good


def test_logits_that_differ_are_told_in_numbers(tmp_path, monkeypatch):
    found = tried(monkeypatch, tmp_path, {"onnxruntime": {"cpu:f32": "1"}, "torch": {"cpu:f32": "1.0002"}})
    assert np.isclose(found["torch cpu f32"].numbers["largest_difference"], 0.0002)
    assert found["torch cpu f32"].numbers["labels_changed"] == 0
