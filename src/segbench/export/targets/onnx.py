"""ONNX: for every runtime that reads it."""

import shutil
from pathlib import Path

import onnx

from segbench.export.profile import Profile
from segbench.export.targets import Built
from segbench.zoo import Model
from segbench.zoo.artifact import Part


def build(model: Model, profile: Profile, precision: str, folder: Path) -> Built:
    """See `Build`."""
    shutil.copyfile(model.graph, folder / "masked.onnx")
    parts = (Part(kind="masked", runtime="onnxruntime", path="masked.onnx", precision=precision),)
    return Built(parts, {"onnx": onnx.__version__})
