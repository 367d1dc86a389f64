"""BioImage.IO: a package that its consumers and `bioimageio test` read, the stochastic graphs attached."""

import shutil
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import onnx

from segbench.errors import EngineError, InputError
from segbench.export import specimen
from segbench.export.description import DOCUMENTATION, Options, describe
from segbench.export.documentation import documentation
from segbench.export.kinds import graphs
from segbench.export.lint import check
from segbench.export.profile import Profile, tolerance_of
from segbench.export.targets import Built
from segbench.io import write_bytes
from segbench.recipe import validate
from segbench.zoo import CARD, Model
from segbench.zoo.artifact import Kind, Part

PACKAGE, RUNTIME = "package", "onnxruntime"
KINDS: tuple[Kind, ...] = ("masked", "deterministic", "seeded", "aggregated")


def build(model: Model, profile: Profile, precision: str, folder: Path) -> Built:
    """See `Build`; the package is the folder `package`."""
    if precision != "f32":
        raise InputError("target 'bioimageio' is f32: its consumers run it with ONNX Runtime")
    if find_spec("bioimageio") is None or find_spec("bioimageio.spec") is None:
        raise EngineError("target 'bioimageio' needs the package bioimageio.spec: pip install 'segbench[bioimageio]'")
    if model.card.cascade is not None:
        raise InputError(
            f"target 'bioimageio': a package is one graph from image to classes, and model {model.card.name!r} has two "
            "networks, the second for pixels that the first doubts: export to onnx, openvino or triton"
        )
    options = validate(profile.options, Options, f"profile of target {profile.target!r}: options")
    package = folder / PACKAGE
    package.mkdir()
    parts = []
    for kind, graph in graphs(model, KINDS):
        path = package / f"{kind}.onnx"
        if kind == "masked":
            shutil.copyfile(model.graph, path)  # the very file that the card pins
        else:
            onnx.save(graph, path)
        check(path, kind, RUNTIME)
        parts.append(Part(kind=kind, runtime=RUNTIME, path=f"{PACKAGE}/{path.name}", precision=precision))
    shutil.copyfile(model.path / CARD, package / CARD)
    attached = [*(Path(part.path).name for part in parts if part.kind != "deterministic"), CARD]
    made = specimen.specimen(model)
    specimen.write(made, package)
    write_bytes(package / DOCUMENTATION, documentation(model.card, made, attached))
    describe(model, options, tolerance_of(profile, precision), package, attached)
    return Built(tuple(parts), {"onnx": onnx.__version__, "bioimageio.spec": metadata.version("bioimageio.spec")})
