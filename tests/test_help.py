"""The command line: quick to answer, and every example in its help is a command that parses."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from segbench.cli.app import app
from segbench.data import fib
from segbench.data.domains import DOMAINS

ROOT = Path(__file__).parent.parent
HEAVY = {
    "numpy", "scipy", "skimage", "sklearn", "numba", "joblib", "matplotlib", "tifffile", "PIL", "torch",
    "onnx", "onnxruntime", "openvino", "safetensors", "platformdirs",
}  # fmt: skip


def commands(group, path=("segbench",)):
    """Every command below `group`, as (path, command)."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))
EXAMPLES = [
    (path, line.strip())
    for path, command in COMMANDS.items()
    for line in (command.help or "").splitlines()
    if line.strip().startswith("segbench ")
]


def parse(line: str):
    """The context of a command line, parsed and checked as for a call, and not called."""
    command = typer.main.get_command(app)
    name, *arguments = shlex.split(line)
    context = command.make_context(name, list(arguments))
    while hasattr(command, "commands"):
        name, command, arguments = command.resolve_command(context, arguments)
        context = command.make_context(name, list(arguments), parent=context)
    return context


def imported_by(code: str) -> set[str]:
    """Top-level modules that `code` imports in a fresh interpreter, those of its start left out."""
    script = (
        f"import sys, json\nbefore = set(sys.modules)\n{code}\n"
        "print('\\n' + json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_there_are_the_commands_of_the_design():
    assert {" ".join(path[1:]) for path in COMMANDS} >= {
        "eval", "train", "zoo list", "zoo show", "zoo verify", "data list", "data show", "data make", "data check",
    }  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_of_itself(path):
    shown = [line for owner, line in EXAMPLES if owner == path]
    assert any(shlex.split(line)[: len(path)] == list(path) for line in shown), f"{' '.join(path)} shows no example"


@pytest.mark.parametrize(("path", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_parses(path, line):
    context = parse(line)
    for recipe in re.findall(r"train/[\w.-]+\.toml", line):
        assert (ROOT / recipe).is_file(), f"{line}: there is no {recipe}"
    for domain in [context.params.get("domain") or "all"]:
        for name in domain.split(","):
            known = name in ("all", *DOMAINS, *fib.DOMAINS) or "*" in name
            assert known, f"{line}: there is no domain {name}"


@pytest.mark.parametrize(
    "line", ["segbench evil", "segbench eval --samlpes 3", "segbench eval --samples many", "segbench predict"]
)
def test_the_check_of_examples_would_notice(line):
    with pytest.raises(Exception, match=r"(?i)no such|valid integer|missing"):
        parse(line)


def test_every_option_says_what_it_is():
    silent = [
        f"{' '.join(path)} {parameter.name}"
        for path, command in COMMANDS.items()
        for parameter in command.params
        if not getattr(parameter, "help", None) and parameter.name != "help"
    ]
    assert not silent


def test_importing_the_package_imports_nothing():
    assert imported_by("import segbench") - sys.stdlib_module_names == {"segbench"}


@pytest.mark.parametrize("path", [("segbench",), *COMMANDS], ids=" ".join)
def test_help_is_quick_because_it_imports_nothing_heavy(path):
    loaded = imported_by(
        f"sys.argv = {[*path, '--help']!r}\nfrom segbench.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_what_needs_no_pytorch_does_not_import_it():
    loaded = imported_by("import segbench.cli.evaluation, segbench.cli.datasets, segbench.cli.models")
    assert not loaded & {"torch", "onnx", "safetensors", "onnxruntime", "openvino"}


@pytest.mark.parametrize("line", ["train train/vnet-battery.toml", "zoo reference vnet-battery"])
def test_what_needs_pytorch_says_so_in_one_line(line, tmp_path):
    """As in an installation of `segbench[cpu]`."""
    script = (
        "import sys\nfor name in ('torch', 'safetensors', 'onnx'):\n    sys.modules[name] = None\n"
        f"sys.argv = ['segbench', *{shlex.split(line)!r}]\nfrom segbench.cli import main\nmain()"
    )
    recipes = tmp_path / "train"
    recipes.symlink_to(ROOT / "train")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "segbench[train]" in done.stderr


def test_a_model_is_proved_without_pytorch_and_what_was_left_out_is_said(tmp_path):
    """As in an installation of `segbench[cpu]`."""
    script = (
        "import sys\nfor name in ('torch', 'safetensors'):\n    sys.modules[name] = None\n"
        "sys.argv = ['segbench', 'zoo', 'verify', 'vnet-battery']\nfrom segbench.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "not run: PyTorch is not installed" in done.stdout
    assert "dropout is alive" in done.stdout
