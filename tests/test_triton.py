"""The model repository for Triton: read by Triton's own types, true to its graphs, and its client works."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tifffile
from conftest import blobs
from onnx import helper

from segbench.engines import start
from segbench.errors import EngineError, InputError
from segbench.export.artifact import make
from segbench.export.batch import open_batch
from segbench.export.profile import read_profile
from segbench.export.verify import verify
from segbench.masks import masks, ones
from segbench.predict.said import sigmoid

proto = pytest.importorskip(
    "tritonclient.grpc.model_config_pb2", reason="SKIPPED LOUDLY: no tritonclient: pip install 'segbench[triton]'"
)
triton = pytest.importorskip("tritonclient.grpc")
PAGE = Path(__file__).parent.parent / "serve" / "triton" / "README.md"
KINDS = ["masked", "deterministic", "seeded", "aggregated"]
TYPES = {onnx.TensorProto.FLOAT: proto.TYPE_FP32, onnx.TensorProto.INT32: proto.TYPE_INT32}
NUMPY = {"FP32": np.float32, "INT32": np.int32}


@pytest.fixture(scope="module")
def artifact(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton") / "tiny"
    return folder, make(tiny, "triton", folder)


def config(folder, kind):
    from google.protobuf import text_format

    text = (folder / "repository" / f"tiny-{kind}" / "config.pbtxt").read_text()
    return text_format.Parse(text, proto.ModelConfig())


def test_the_repository_lies_as_triton_wants_it(tiny, artifact):
    folder, made = artifact
    assert [part.path for part in made.parts] == [f"repository/tiny-{kind}/1/model.onnx" for kind in KINDS]
    assert {part.runtime for part in made.parts} == {"onnxruntime"}
    assert [part.kind for part in made.parts] == KINDS
    assert {path.name for path in (folder / "repository").iterdir()} == {f"tiny-{kind}" for kind in KINDS}
    for home in (folder / "repository").iterdir():
        assert {path.name for path in home.iterdir()} == {"1", "config.pbtxt", "labels.txt"}
        assert (home / "labels.txt").read_text().splitlines() == list(tiny.card.classes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_fits_its_graph(artifact, kind):
    folder, _ = artifact
    read, graph = config(folder, kind), onnx.load(folder / "repository" / f"tiny-{kind}" / "1" / "model.onnx").graph
    assert (read.name, read.backend, read.default_model_filename) == (f"tiny-{kind}", "onnxruntime", "model.onnx")
    batched = read.max_batch_size > 0
    assert batched == (kind == "deterministic")
    assert read.HasField("dynamic_batching") == batched
    for said, there in ((read.input, graph.input), (read.output, graph.output)):
        assert [value.name for value in said] == [value.name for value in there]
        for one, value in zip(said, there, strict=True):
            assert one.data_type == TYPES[value.type.tensor_type.elem_type]
            shape = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim]
            assert list(one.dims) == (shape[1:] if batched else shape)
            assert not batched or shape[0] == -1  # Triton refuses a batch in any other place
            assert batched or shape[0] != -1 or value.name in {"masks", "samples", "logits"}
    assert {value.name for value in read.output if value.label_filename} <= {"logits", "mean"}
    assert not read.response_cache.enable
    assert read.version_policy.latest.num_versions == 1
    (card,) = read.optimization.execution_accelerators.gpu_execution_accelerator
    assert (card.name, dict(card.parameters)) == ("cuda", {"use_tf32": "0"})


def test_its_graphs_pass_the_parity_gate(artifact):
    folder, _ = artifact
    record = verify(folder, scored=False)
    assert record.passed
    assert {check.part for check in record.checks if check.name == "outputs" and check.status == "passed"} == {
        f"repository/tiny-{kind}/1/model.onnx" for kind in KINDS
    }


def test_a_batch_gives_what_each_image_gives_alone(tiny, artifact):
    folder, _ = artifact
    model = str(folder / "repository" / "tiny-deterministic" / "1" / "model.onnx")
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((3, 1, 16, 16, 16)).astype(np.float32)
    (together,) = session.run(None, {"image": images})
    twin = start(tiny, "onnxruntime", threads=1, thin=False).bind(ones(tiny.card.dropout))
    for image, logits in zip(images, together, strict=True):
        np.testing.assert_allclose(logits, twin(image[None])[0], rtol=1e-5, atol=1e-5)


def one_image_only(nodes, constants):
    """A deterministic graph of these nodes."""
    shape = [1, 1, "z", "y", "x"]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("image", "logits")]
    values = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "one", ends[:1], ends[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_a_graph_that_mixes_images_or_counts_on_one_is_not_batched():
    mean = helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=1)
    minus = helper.make_node("Sub", ["image", "mean"], ["logits"])
    flat = helper.make_node("Reshape", ["image", "shape"], ["a"])
    back = helper.make_node("Reshape", ["a", "back"], ["logits"])
    assert open_batch(one_image_only([mean, minus], {"axes": np.int64([2, 3, 4])}), (4, 4, 4)) is not None
    assert open_batch(one_image_only([mean, minus], {"axes": np.int64([0, 2, 3, 4])}), (4, 4, 4)) is None
    fixed = {"shape": np.int64([1, -1]), "back": np.int64([1, 1, 8, 8, 8])}
    assert open_batch(one_image_only([flat, back], fixed), (4, 4, 4)) is None


def test_settings_of_a_profile(tiny, tmp_path):
    text = read_profile("triton")[1].read_text()
    own = tmp_path / "own.toml"
    settings = 'kinds = ["deterministic"]\nthreads = 3\n[tolerance.f32]'
    text = text.replace("max_batch = 4", "max_batch = 0").replace('device = "auto"', 'device = "gpu"')
    own.write_text(text.replace("instances = 1", "instances = 2").replace("[tolerance.f32]", settings))
    made = make(tiny, str(own), tmp_path / "own")
    assert [part.kind for part in made.parts] == ["deterministic"]
    read = config(tmp_path / "own", "deterministic")
    assert read.max_batch_size == 0
    assert list(read.input[0].dims) == [1, 1, -1, -1, -1]
    assert (read.instance_group[0].count, read.instance_group[0].kind) == (2, proto.ModelInstanceGroup.KIND_GPU)
    assert read.parameters["intra_op_thread_count"].string_value == "3"
    own.write_text(text.replace("instances", "instanses"))
    with pytest.raises(InputError, match="options: instanses: unknown key"):
        make(tiny, str(own), tmp_path / "other")


def test_a_package_that_is_missing_is_one_line(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("segbench.export.targets.triton.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=r"needs the package tritonclient: pip install 'segbench\[triton\]'"):
        make(tiny, "triton", tmp_path / "engine")


class Server:
    """What a Triton server does with a request, as far as its configuration says."""

    folder = Path()

    def __init__(self, url):
        assert url.startswith("127.0.0.1:")

    def infer(self, model_name, inputs):
        kind = model_name.removeprefix("tiny-")
        read = config(self.folder, kind)
        assert [value.name() for value in inputs] == [value.name for value in read.input]
        given = {}
        for value, said in zip(inputs, read.input, strict=True):
            assert len(value.shape()) == len(said.dims)
            assert all(want in (-1, there) for want, there in zip(said.dims, value.shape(), strict=True))
            given[value.name()] = np.frombuffer(value._get_content(), NUMPY[value.datatype()]).reshape(value.shape())
        session = ort.InferenceSession(str(self.folder / "repository" / model_name / "1" / "model.onnx"))
        names = [output.name for output in session.get_outputs()]
        made = dict(zip(names, session.run(names, given), strict=True))
        return type("Result", (), {"as_numpy": lambda _, name: made[name]})()


def test_the_client_of_the_page_works(tiny, artifact, tmp_path, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    code = code.replace('MODEL, SAMPLES, SEED = "vnet-battery"', f"MODEL, SAMPLES, SEED = {str(tiny.path)!r}")
    code = code.replace(":96", ":16")
    tifffile.imwrite(tmp_path / "scan.tif", (blobs((16, 16, 16)) * 1000 + 20000).astype(np.uint16))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Server, "folder", artifact[0])
    monkeypatch.setattr(triton, "InferenceServerClient", Server)
    found = {}
    exec(compile(code, str(PAGE), "exec"), found)
    drawn = masks(tiny.card.dropout, 0, range(8))
    expected = start(tiny, "onnxruntime", threads=1, thin=False).bind(drawn)(found["image"])
    np.testing.assert_allclose(np.concatenate(found["logits"]), expected, rtol=1e-4, atol=1e-5)
    fitted = tiny.card.calibration
    mean = sigmoid(expected * np.float32(fitted.scale) + np.float32(fitted.shift)).mean(axis=0, keepdims=True)
    np.testing.assert_allclose(found["probability"], mean, atol=1e-6)
    assert found["disagreement"].shape == (1, 1, 16, 16, 16)
