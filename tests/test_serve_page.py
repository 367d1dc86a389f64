"""docs/serve.md: its commands run, and what it says of limits, metrics and outputs is what the server has."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import blobs
from test_help import parse
from test_readme import CONSOLE, blocks, commands

from segbench.bench.serving import run as serving
from segbench.io import write_tiff
from segbench.serve.outputs import outputs
from segbench.serve.refusal import GRPC, HTTP
from segbench.serve.request import INVERT, OUTPUTS, SAMPLES, SEED
from segbench.serve.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "serve.md").read_text()
SHOWN = [command for _, language, text in blocks(PAGE) if language == "console" for command in commands(text)]
START, *FIRST = SHOWN[:3]


def test_every_command_of_the_page_parses_or_is_another_programs():
    others = {"curl", "openssl"}
    for command in SHOWN:
        program = command.split()[0]
        assert program in others | {"segbench"}, command
        if program == "segbench":
            parse(command)
        for file in re.findall(r"serve/[\w/.-]+", command):
            assert (ROOT / file).exists()
    assert not [line for line, language, _ in blocks(PAGE) if language not in {"console", "text"}]


def test_the_readme_shows_the_first_of_them():
    (shown,) = (found for found in CONSOLE.values() if any(command.startswith("segbench serve") for command in found))
    assert shown == SHOWN[: len(shown)]


def test_the_first_three_commands_run(tiny, tmp_path):
    """As they stand, but for ports that are free and a model that starts in seconds."""
    shutil.copytree(tiny.path, tmp_path / "tiny")
    write_tiff(tmp_path / "scan.tif", blobs((16, 16, 16)))
    start = START.replace("vnet-battery", "tiny") + (
        " --root . --engine onnxruntime --threads 1 --http-port 0 --grpc-port 0"
    )
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(
        shlex.split(start), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            port = re.search(r"http://(127\.0\.0\.1:\d+)", server.stdout.readline())[1]  # it says so when it is ready
            name = tiny.card.name
            for command in FIRST:
                mine = command.replace("127.0.0.1:8000", port).replace("/models/vnet-battery", f"/models/{name}")
                if "client" in mine:
                    mine += f" --url http://{port} --model {name} --samples 2"
                if shutil.which(mine.split()[0]) is None and not mine.startswith("segbench"):
                    mine = (
                        f"{sys.executable} -c 'import urllib.request; urllib.request.urlopen(\"{mine.split()[-1]}\")'"
                    )
                done = subprocess.run(
                    shlex.split(mine), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
                    timeout=100,
                )  # fmt: skip
                assert done.returncode == 0, f"{mine}\n{done.stdout}\n{done.stderr}"
            with np.load(tmp_path / "scan.npz") as found:
                assert {"labels", "probability", "entropy", "mutual_information"} <= set(found)
            with urllib.request.urlopen(f"http://{port}/metrics", timeout=10) as reply:
                text = reply.read().decode()
            assert_metrics_are_told(text)
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0


def assert_metrics_are_told(text: str) -> None:
    """The page's metrics are the server's, all of them."""
    there = set(re.findall(r"^# TYPE (segbench_\w+) ", text, re.M))
    there = {name for name in there if not name.endswith("_created")}
    table = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `segbench_") and "samples`" not in line)
    told = {name for name in re.findall(r"`(segbench_\w+)", table) if name not in {SAMPLES, SEED, OUTPUTS, INVERT}}
    assert told == there


def test_every_status_is_in_the_table():
    rows = re.findall(r"^\| (\d{3}) \| ([A-Z_]+) \|", PAGE, re.M)
    assert {(int(status), code) for status, code in rows} == {(HTTP[kind], GRPC[kind]) for kind in HTTP}


def test_parameters_and_outputs_are_those_that_there_are():
    told = set(re.findall(r"^\| `(segbench_(?:samples|seed|outputs|invert)\w*)`", PAGE, re.M))
    assert told == {SAMPLES, SEED, OUTPUTS, INVERT}
    table = PAGE[PAGE.index("| output |") : PAGE.index("The numbers are those")]
    for tensor in outputs(3):
        line = next(line for line in table.splitlines() if f"`{tensor.name}`" in line)
        assert tensor.datatype in line
        assert ("where asked for" in line) == (tensor.name in {"probabilities", "samples"})


def test_settings_that_the_page_names_exist():
    named = set(re.findall(r"`((?:max|drain|timeout|allow)_\w+|bound|rate|samples)`", PAGE))
    assert named - {"samples"} <= set(Settings.model_fields)
    assert f"({Settings().bound}) stay" in PAGE
    assert f"| `samples`, {Settings().samples} |" in PAGE


def test_what_it_costs_is_of_the_committed_rows():
    """Filled with the first table of the run, once there is one."""
    block = re.search(r"<!-- bench-serve: .*? -->\n(.*?)<!-- /bench-serve -->", PAGE, re.S)[1]
    page = ROOT / "evaluate" / "results" / "vnet-battery-serve" / serving.PAGE
    if not page.exists():
        assert block == "Not measured for this release yet.\n"
        return
    table = [line for line in page.read_text().split("\n## ")[1].splitlines() if line.startswith("|")]
    assert "\n".join(table) in block
    assert json.loads(page.with_name(serving.ROWS).read_text())["rows"]


@pytest.mark.parametrize("name", ["container/Dockerfile", "workstation/segbench-serve.service"])
def test_deployment_files_are_named_in_the_readme(name):
    assert f"({name})" in (ROOT / "serve" / "README.md").read_text()
