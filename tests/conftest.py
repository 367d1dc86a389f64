"""Shared fixtures: a tiny model that was released like any other, and the measured images beside the project."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch

from segbench import cli, nets
from segbench.data.pool import Sample
from segbench.export.reference import add
from segbench.recipe import read_toml
from segbench.train.checkpoint import State
from segbench.train.recipe import Recipe
from segbench.train.release import release
from segbench.zoo import CARD, Model, find
from segbench.zoo.findings import CalibrationCard

HERE = Path(__file__).parent
TINY = HERE / "data" / "tiny.toml"


def blobs(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """A smooth random image (Z, Y, X), float32."""
    image = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    for axis in range(3):
        if shape[axis] > 1:
            image = (image + np.roll(image, 1, axis) + np.roll(image, -1, axis)) / np.float32(3**0.5)
    return image


def untrained(seed: int = 0) -> torch.nn.Module:
    """The tiny recipe's network with weights and batch-norm statistics that are not the initial ones."""
    torch.manual_seed(seed)
    recipe = read_toml(TINY, Recipe)
    network = nets.build(recipe.network.kind, **recipe.network.options)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A released model of some thousand untrained weights. Do not change its files: copy them."""
    out = tmp_path_factory.mktemp("tiny")
    recipe = read_toml(TINY, Recipe)
    image = blobs((16, 16, 16))
    label = (image > 0).astype(np.uint8)
    state = State(step=1, seconds=1.0, history=[{"step": 1, "loss": 0.5, "learning_rate": 1e-3}])
    card = release(untrained(), recipe, TINY, state, [Sample("test", image, label)], out)
    # what an untrained network is calibrated to is as good as constant
    calibration = CalibrationCard(scale=1.25, shift=-0.3, on="nothing", nll_before=0.7, nll_after=0.7)
    card = card.model_copy(update={"calibration": calibration})
    (out / CARD).write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    add(out)
    return find(str(out))


@pytest.fixture(scope="session")
def tiny3(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same with a card of three classes, pore, carbon and nickel: for the engine `fake`, which reads no graph.

    Do not change its files: copy them.
    """
    out = tmp_path_factory.mktemp("tiny3") / "tiny3"
    shutil.copytree(tiny.path, out)
    told = tiny.card.model_dump(mode="json", exclude_none=True, exclude={"calibration"})
    told |= {"name": "tiny3", "classes": ["pore", "carbon", "nickel"], "activation": "softmax"}
    (out / CARD).write_text(tomli_w.dumps(told))
    return find(str(out))


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of measured images; a test that needs it is skipped where it is not there."""
    folder = Path(os.environ.get("SEGBENCH_REAL", HERE.parent.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"SKIPPED LOUDLY: no measured images at {folder}; set SEGBENCH_REAL")
    return folder


@pytest.fixture
def segbench(monkeypatch, capsys):
    """Runs the command in this process: (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["segbench", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run
