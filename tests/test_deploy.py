"""The folder for a workstation: whole, proved by its hashes, and every command that it names is one."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from test_help import parse

import segbench as package
from segbench.errors import InputError, OutputError, UnknownNameError
from segbench.export import deploy as module
from segbench.export.deploy import README, SETTINGS, SITE, SUMS, TARGETS, TEMPLATES, Wheels, deploy, readme, settings
from segbench.zoo import find
from segbench.zoo.artifact import REFERENCE, read_artifact

ROOT = Path(__file__).parent.parent
UNIT, DOCKERFILE = (ROOT / "serve" / "workstation" / name for name in TEMPLATES)
WHEEL = f"segbench-{package.__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def site(tiny, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("deploy") / "site"

    def refuse(*_, **__):
        raise OSError("a test asked for the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        deploy(tiny, out)
    return out


def sums(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sha256sum", "--check", "--quiet", "--strict", SUMS], cwd=folder, capture_output=True, text=True, check=False
    )


def test_it_holds_artifacts_settings_unit_and_dockerfile_and_nothing_else(site, tiny):
    assert {path.name for path in site.iterdir()} == {*TARGETS, README, SETTINGS, SUMS, *TEMPLATES}
    for target in TARGETS:
        assert read_artifact(site / target).model_hash == tiny.hash
        assert (site / target / REFERENCE).is_file()
        assert find(str(site / target)).hash == tiny.hash
    for template, source in zip(TEMPLATES, (UNIT, DOCKERFILE), strict=True):
        assert (site / template).read_bytes() == source.read_bytes()


def test_every_file_is_summed_and_a_changed_or_missing_one_is_found(site, tmp_path):
    listed = {line[66:] for line in (site / SUMS).read_text().splitlines()}
    assert listed == {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()} - {SUMS}
    assert sums(site).returncode == 0
    copy = tmp_path / "copy"
    shutil.copytree(site, copy)
    graph = copy / "onnx" / "masked.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    (copy / SETTINGS).unlink()
    told = sums(copy)
    assert told.returncode != 0
    assert "masked.onnx: FAILED" in told.stdout
    assert SETTINGS in told.stdout


@pytest.mark.parametrize("wheels", [Wheels(), Wheels(Path(WHEEL)), Wheels(Path(WHEEL), all=True)])
def test_the_page_is_ten_lines_of_commands_that_there_are(tiny, wheels):
    text = readme(tiny, ["openvino", "onnx"], wheels)
    assert len(text.splitlines()) <= 12
    commands = re.findall(r"venv/bin/(segbench [^`]+)`", text)
    assert [command.split()[1] for command in commands] == ["doctor", "verify", "predict"]
    for command in commands:
        parse(command)
    assert ("--no-index" in text) is wheels.all
    assert ("--find-links wheels" in text) is (wheels.file is not None)
    assert ("needs a network" in text) is not wheels.all


def test_the_unit_reads_what_the_settings_say_and_calls_a_command_that_there_is():
    text = UNIT.read_text()
    told = dict(line.split("=", 1) for line in settings("onnx").splitlines() if "=" in line)
    start = re.search(r"^ExecStart=(.*)", text, re.M)[1]
    assert set(re.findall(r"\${(\w+)}", start)) == set(told)
    for name, value in {**told, "%I": "scan.tif"}.items():
        start = start.replace(name if name == "%I" else f"${{{name}}}", value)
    program, *arguments = shlex.split(start)
    assert program == f"{SITE}/venv/bin/segbench"
    parameters = parse(shlex.join(["segbench", *arguments])).params
    assert (parameters["zoo"], parameters["engine"]) == (f"{SITE}/onnx", "onnxruntime")
    assert str(parameters["out"]) == "/data/results/scan.tif.zarr"
    assert f"EnvironmentFile={SITE}/{SETTINGS}" in text
    assert settings("openvino").count("openvino") == 2


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("SKIPPED LOUDLY: no systemd-analyze to check serve/workstation's unit with")
    program = tmp_path / "segbench"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = UNIT.read_text().replace(f"{SITE}/venv/bin/segbench", str(program))
    (tmp_path / UNIT.name).write_text(text)
    instance = tmp_path / UNIT.name.replace("@.", "@scan.tif.")
    done = subprocess.run([tool, "verify", str(instance)], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if "segbench" in line], "of other units it may say anything"


def test_the_unit_verifies_once(tmp_path):
    line = re.search(r"^ExecStartPre=/bin/sh -c '(.*)'", UNIT.read_text(), re.M)[1].replace("$$", "$")
    program = tmp_path / "segbench"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    program.chmod(0o755)
    command = line.replace(f"{SITE}/venv/bin/segbench", str(program))
    zoo = tmp_path / "a model"
    zoo.mkdir()
    for _ in range(2):
        subprocess.run(["/bin/sh", "-c", command], env={"ZOO": str(zoo)}, check=True)
        (zoo / "verify.json").write_text("{}")
    assert (tmp_path / "called").read_text() == f"verify {zoo}\n"


def test_the_dockerfile_shows_commands_that_there_are():
    text = DOCKERFILE.read_text().replace("\\\n#", "")
    shown = re.findall(r"segbench-site\s+((?:verify|predict) .*)", text)
    assert [command.split()[0] for command in shown] == ["verify", "predict"]
    for command in shown:
        parse(f"segbench {command}")


def test_it_is_whole_or_not_there(tiny, tmp_path, monkeypatch):
    out = tmp_path / "site"
    with pytest.raises(UnknownNameError, match="export target"):
        deploy(tiny, out, ["onnx", "no-such"])
    monkeypatch.setattr(module, "TEMPLATES", ("no such file",))
    with pytest.raises(OutputError, match="cannot be written"):
        deploy(tiny, out, ["onnx"])
    assert not list(tmp_path.iterdir())
    out.mkdir()
    with pytest.raises(OutputError, match="is there already"):
        deploy(tiny, out)


@pytest.mark.parametrize("targets", [[], ["onnx", "onnx"], ["onnx", "elsewhere/onnx.toml"]])
def test_a_target_is_named_once(tiny, tmp_path, targets):
    with pytest.raises(InputError, match="once"):
        deploy(tiny, tmp_path / "site", targets)


def test_only_a_wheel_of_this_version_goes_along(tiny, tmp_path):
    for name in ("segbench-0.0.1-py3-none-any.whl", "numpy-2.0-py3-none-any.whl"):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match="not a wheel of segbench"):
            deploy(tiny, tmp_path / "site", wheels=Wheels(tmp_path / name))
    with pytest.raises(InputError, match="no such file"):
        deploy(tiny, tmp_path / "site", wheels=Wheels(tmp_path / WHEEL))
    (tmp_path / WHEEL).write_bytes(b"a wheel")
    made = deploy(tiny, tmp_path / "site", ["onnx"], Wheels(tmp_path / WHEEL))
    assert f"wheels/{WHEEL}" in made
    assert (tmp_path / "site" / "wheels" / WHEEL).read_bytes() == b"a wheel"


def test_a_wheelhouse_that_cannot_be_fetched_is_one_line(tiny, tmp_path, monkeypatch):
    asked = []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "WARNING: a\nERROR: No matching distribution\n")

    monkeypatch.setattr(module.subprocess, "run", run)
    with pytest.raises(OutputError, match=r"pip could not fetch .*: No matching distribution"):
        deploy(tiny, tmp_path / "site", ["onnx"], Wheels(all=True))
    assert asked[0][-1] == f"segbench[cpu]=={package.__version__}"
    assert not list(tmp_path.iterdir())


def test_the_command_says_where_it_lies(tiny, tmp_path, segbench):
    code, out, _ = segbench("deploy", tiny.path, "--out", tmp_path / "site", "--to", "onnx")
    assert code == 0
    assert str(tmp_path / "site" / README) in out
    code, _, err = segbench("deploy", tiny.path, "--out", tmp_path / "site")
    assert (code, len(err.splitlines())) == (2, 1)


@pytest.mark.long
def test_far_from_the_repository_it_verifies_and_predicts(tmp_path):
    """An empty virtual environment, segbench[cpu] from a wheel, no torch, no repository, no environment."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    far = tmp_path / "far"
    deploy(find("vnet-battery"), tmp_path / "site", wheels=Wheels(tmp_path / WHEEL))
    shutil.copytree(tmp_path / "site", far)
    subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=far, check=True)
    install = ["venv/bin/pip", "install", "--quiet", "--find-links", "wheels", "--constraint", ROOT / "constraints.txt"]
    done = subprocess.run([*install, "segbench[cpu]"], cwd=far, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"SKIPPED LOUDLY: pip cannot install segbench[cpu] here: {done.stderr.strip().splitlines()[-1]}")
    tifffile.imwrite(far / "scan.tif", np.random.default_rng(0).integers(0, 9999, (24, 40, 32)).astype(np.uint16))
    bare = {"PATH": os.defpath, "HOME": str(tmp_path / "home")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["venv/bin/segbench", *arguments], cwd=far, env=bare, capture_output=True, text=True, check=False
        )

    assert sums(far).returncode == 0
    assert run("predict", "scan.tif", "--zoo", "openvino", "--out", "early.zarr").returncode == 2, "not proved yet"
    for target in TARGETS:
        proved = run("verify", target)
        assert proved.returncode == 0, proved.stdout + proved.stderr
    done = run("predict", "scan.tif", "--zoo", "openvino", "--out", "result.zarr", "--samples", "2")
    assert done.returncode == 0, done.stderr
    assert (far / "result.zarr" / "zarr.json").is_file()
    assert run("doctor").returncode == 0
