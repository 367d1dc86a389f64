"""Second networks whose answers are known, and LCGAR's layers, as ONNX graphs; models around them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segbench.io import file_sha256
from segbench.normalisation import Normalisation
from segbench.zoo import Model
from segbench.zoo.card import Card, CascadeCard, FileCard, FilesCard, InputCard, NetworkCard
from segbench.zoo.findings import TrainingCard

CLASSES = 3
Weights = Mapping[str, np.ndarray]


def written(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, list],
    outputs: Mapping[str, list],
    weights: Weights,
) -> Path:
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in each.items()]
        for each in (inputs, outputs)
    ]
    constants = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "second", *ends, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, path)
    return path


def linear_doubt(path: Path, weight: Sequence[float], bias: float = 0.0) -> Path:
    """A pixel is doubted by a weighted sum of F and its entropy."""
    weights = {
        "w": np.array(weight, np.float32)[:, None],
        "b": np.array([bias], np.float32),
    }
    node = helper.make_node("Gemm", ["features", "w", "b"], ["logits"])
    return written(path, [node], {"features": ["n", len(weight)]}, {"logits": ["n", 1]}, weights)


def lcgar(path: Path, edge: int = 11, seed: int = 0) -> Path:
    """The layers of the paper, random weights, batch norm folded; leaky rectifiers behind all but the last."""
    generator = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    nodes: list[onnx.NodeProto] = []
    last = "patches"

    def add(kind: str, name: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def weighted(name: str, *shape: int) -> list[str]:
        fan = int(np.prod(shape[1:]))
        weights[f"{name}/w"] = (generator.standard_normal(shape) * (2 / fan) ** 0.5).astype(np.float32)
        weights[f"{name}/b"] = (generator.standard_normal(shape[0]) * 0.1).astype(np.float32)
        return [f"{name}/w", f"{name}/b"]

    width, side = 1 + CLASSES, edge
    for number, (kernel, channels) in enumerate([(3, 32), (3, 32), (2, 0), (3, 16), (3, 16), (2, 0), (1, 8), (1, 8)]):
        if not channels:
            last, side = add("MaxPool", f"pool{number}", last, kernel_shape=[2, 2], strides=[2, 2]), side // 2
            continue
        name = f"conv{number}"
        pads, shape = [kernel // 2] * 4, [kernel, kernel]
        last = add("Conv", name, last, *weighted(name, channels, width, *shape), kernel_shape=shape, pads=pads)
        last, width = add("LeakyRelu", f"{name}/leaky", last, alpha=0.01), channels
    last = add("Flatten", "flat", last)
    last = add("Concat", "joined", last, "context", axis=1)
    last = add("Gemm", "first", last, *weighted("first", 128, side * side * width + CLASSES), transB=1)
    last = add("LeakyRelu", "first/leaky", last, alpha=0.01)
    add("Gemm", "logits", last, *weighted("last", CLASSES, 128), transB=1)
    inputs = {"patches": ["n", 1 + CLASSES, edge, edge], "context": ["n", CLASSES]}
    return written(path, nodes, inputs, {"logits": ["n", CLASSES]}, weights)


def middle(path: Path, edge: int, factor: float = 10.0) -> Path:
    """A patch network that sees all of its patch: known logits.

    0: factor x mean of the image; 1: factor x share of class 1 in the patch; 2: F of class 2.
    """
    kernel = np.zeros((CLASSES, 1 + CLASSES, edge, edge), np.float32)
    kernel[0, 0] = kernel[1, 2] = factor / edge**2
    weights = {"k": kernel, "pick": np.diag([0.0, 0.0, 1.0]).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["patches", "k"], ["sums"], kernel_shape=[edge, edge]),
        helper.make_node("Flatten", ["sums"], ["flat"]),
        helper.make_node("MatMul", ["context", "pick"], ["own"]),
        helper.make_node("Add", ["flat", "own"], ["logits"]),
    ]
    inputs = {"patches": ["n", 1 + CLASSES, edge, edge], "context": ["n", CLASSES]}
    return written(path, nodes, inputs, {"logits": ["n", CLASSES]}, weights)


def dense(path: Path) -> Path:
    """A network of slices: a 3 x 3 mean of each of the channels 1 to K, zeros around."""
    kernel = np.zeros((CLASSES, 1 + CLASSES, 3, 3), np.float32)
    for k in range(CLASSES):
        kernel[k, 1 + k] = 1 + k
    node = helper.make_node("Conv", ["image", "k"], ["logits"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    inputs = {"image": ["z", 1 + CLASSES, "y", "x"]}
    return written(path, [node], inputs, {"logits": ["z", CLASSES, "y", "x"]}, {"k": kernel})


def model(folder: Path, **cascade: object) -> Model:
    """A model around `folder/doubt.onnx` and `folder/local.onnx`; its first network is not there."""
    for name in ("weights.safetensors", "model.onnx"):
        if not (folder / name).exists():
            (folder / name).write_bytes(b"")
    names = {"weights": "weights.safetensors", "graph": "model.onnx", "doubt": "doubt.onnx", "local": "local.onnx"}
    files = {what: FileCard(path=name, sha256=file_sha256(folder / name)) for what, name in names.items()}
    card = Card(
        name="toy",
        version="1",
        title="Toy",
        licence="MIT",
        classes=("pore", "carbon", "nickel"),
        activation="softmax",
        mean="logits",
        network=NetworkCard(kind="none", parameters=0),
        input=InputCard(
            normalisation=Normalisation(), core=(1, 16, 16), halo=(0, 12, 12), multiple=(1, 2, 2), border="zero"
        ),
        cascade=CascadeCard.model_validate({"edge": 5, "threshold": 0.5, "parameters": 0, **cascade}),
        dropout=(),
        files=FilesCard.model_validate(files),
        training=TrainingCard(
            recipe="",
            recipe_sha256="",
            data="",
            labels="",
            seed=0,
            steps=0,
            hours=0,
            device="",
            torch="",
            finished="",
            loss=0,
            validation_accuracy=0,
            validation_miou=0,
        ),
    )
    return Model(card=card, path=folder)
