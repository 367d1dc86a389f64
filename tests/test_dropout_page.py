"""docs/dropout-alive.md: its program makes the files, its commands run, and what they print is what stands there."""

import logging
import re
import shlex
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "dropout-alive.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
BLOCKS = BLOCK.findall(PAGE.read_text())
ALIVE = {"dropout.onnx": 1, "bernoulli.onnx": 1, "dropout3d.onnx": 0, "model_zoo/vnet-battery/model.onnx": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the page's program was run."""
    where = tmp_path_factory.mktemp("page")
    (where / "model_zoo").symlink_to(ROOT / "model_zoo")
    (program,) = [text for language, text in BLOCKS if language == "python"]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch's own exporter
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        patch.chdir(where)
        exec(program, {})
    return where


def unversioned(text):
    """The same on another version, and with another mask frozen: the exporter draws it without a seed."""
    return re.sub(r"\d of 8 factors", "some of 8 factors", re.sub(r"ONNX Runtime \d[\d.]*", "ONNX Runtime", text))


@pytest.mark.parametrize("number", range(4))
def test_a_command_prints_what_the_page_shows(segbench, folder, monkeypatch, number):
    monkeypatch.chdir(folder)
    command, *shown = [text for language, text in BLOCKS if language == "console"][number].splitlines()
    words = shlex.split(command.removeprefix("$ segbench "))
    code, out, _ = segbench(*words)
    assert [unversioned(line) for line in shown] == [unversioned(line) for line in out.splitlines()]
    assert code == ALIVE[words[-1]]


def test_every_file_of_the_page_is_looked_at():
    commands = [text.splitlines()[0] for language, text in BLOCKS if language == "console"]
    assert [command.split()[-1] for command in commands] == list(ALIVE)
