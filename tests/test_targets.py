"""What `segbench export` makes for ONNX Runtime and OpenVINO: whole, the same each time, and the same network."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from segbench.engines import start
from segbench.engines.mending import mended
from segbench.errors import EngineError, InputError
from segbench.export.artifact import make
from segbench.export.kinds import SECOND
from segbench.export.lint import lint
from segbench.export.profile import profiles, read_profile
from segbench.export.targets.openvino import HINTS
from segbench.masks import masks, ones
from segbench.zoo import find, names
from segbench.zoo.artifact import read_artifact
from segbench.zoo.reference import read_reference

README = Path(__file__).parent.parent / "export" / "README.md"
MADE = [("onnx", "f32"), ("openvino", "f32"), ("openvino", "bf16"), ("openvino", "int8")]
KINDS = {"onnx": ["masked", "deterministic", "seeded", "aggregated"], "openvino": ["masked", "deterministic", "seeded"]}


def run(folder, part, inputs):
    """A part's named outputs, with open shapes."""
    path = str(folder / part.path)
    if part.runtime == "onnxruntime":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found = [value.name for value in session.get_outputs()]
        return dict(zip(found, session.run(found, inputs), strict=True))
    settings = {"INFERENCE_PRECISION_HINT": HINTS[part.precision], "INFERENCE_NUM_THREADS": 1}
    model = openvino.Core().compile_model(path, "CPU", settings)
    done = model(inputs)
    return {port.any_name: done[port].copy() for port in model.outputs}


@pytest.mark.parametrize(("target", "precision"), MADE)
def test_every_part_is_there_clean_and_open(tiny, tmp_path, target, precision):
    artifact = make(tiny, target, tmp_path / "out", precision)
    assert read_artifact(tmp_path / "out") == artifact
    assert [part.kind for part in artifact.parts] == KINDS[target]
    for part in artifact.parts:
        assert part.precision == precision
        assert lint(tmp_path / "out" / part.path, part.kind, part.runtime) == []
    if target == "onnx":
        assert (tmp_path / "out" / "masked.onnx").read_bytes() == tiny.graph.read_bytes()
    else:
        text = (tmp_path / "out" / "seeded.xml").read_text()
        assert f'<inference_precision_hint value="{HINTS[precision]}" />' in text


@pytest.mark.parametrize(("target", "precision"), MADE)
def test_the_same_export_is_the_same_bytes_and_names_no_folder(tiny, tmp_path, target, precision):
    first, second = (make(tiny, target, tmp_path / name, precision) for name in ("a", "b"))
    assert first == second
    assert first.files == second.files
    for path in (path for path in first.files if not path.startswith("model/")):
        data = (tmp_path / "a" / path).read_bytes()
        assert str(tmp_path).encode() not in data
        assert not re.search(rb"(/home/|/root/|/tmp/|/work/|/usr/|site-packages)", data)


@pytest.mark.parametrize("name", names())
def test_a_zoo_model_is_one_network_in_both_runtimes(name, tmp_path):
    """The same (seed, sample) within 1e-4 of PyTorch, masks bit for bit."""
    model = find(name)
    sites, high = model.card.dropout, 24 if 24 % model.card.input.multiple[1] == 0 else 32
    image = np.ascontiguousarray(read_reference(model.reference).image[..., :16, :high, :16])
    samples = np.array([0, 7], np.int32)
    drawn = masks(sites, 5, samples.tolist())
    expected = start(model, "torch", threads=1).bind(np.concatenate([drawn, ones(sites)]))(image)
    draw = {"image": image, "seed": np.array([5], np.int32), "samples": samples}
    for target in ("onnx", "openvino"):
        folder = tmp_path / target
        for part in make(model, target, folder).parts:
            assert lint(folder / part.path, part.kind, part.runtime) == []
            if part.kind in SECOND:
                continue  # of the second network, which sees other things; tests/test_cascade_export.py
            if part.kind == "masked":
                found = run(folder, part, {"image": image, "masks": drawn})
            else:
                found = run(folder, part, {"image": image} if part.kind == "deterministic" else draw)
            if "masks" in found:
                assert found["masks"].tobytes() == drawn.tobytes()
            if "logits" in found:
                wanted = expected[2:] if part.kind == "deterministic" else expected[:2]
                np.testing.assert_allclose(found["logits"], wanted, rtol=0, atol=1e-4)


def test_openvino_still_sums_a_million_numbers_in_one():
    """Where it no longer does, `_means_apart` may go."""
    sizes, nodes, name = [1, 2, 4, 64, 64, 64], [], "image"
    for axis in (5, 4, 3, 2):
        nodes.append(helper.make_node("ReduceMean", [name, f"axis{axis}"], [f"mean{axis}"], keepdims=1))
        name = f"mean{axis}"
    constants = [numpy_helper.from_array(np.array([axis]), f"axis{axis}") for axis in (5, 4, 3, 2)]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("image", sizes), (name, None))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    image = np.full(sizes, 0.1, np.float32)  # equal numbers are rounded to the same side again and again
    wrong = []
    for each in (model, mended(model)):
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        read = openvino.Core().read_model(each.SerializeToString())
        found = openvino.Core().compile_model(read, "CPU", settings)(image)[0]
        wrong.append(np.abs(found - 0.1).max())
    assert wrong[0] > 1e-5
    assert wrong[1] < 1e-7


ALONE = """
import sys
import numpy as np, onnx, openvino
from segbench.engines.mending import mended
model = onnx.load(sys.argv[1])
model = mended(model) if sys.argv[2] == "mended" else model
settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
done = openvino.Core().compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU", settings)
found = done({"image": np.zeros((1, 1, 8, 8, 8), np.float32), "masks": np.ones((3, int(sys.argv[3])), np.float32)})[0]
sys.exit(0 if found.shape == (3, 1, 8, 8, 8) else 3)
"""


def test_openvino_still_merges_what_all_samples_share(tiny):
    """Where it no longer does, `_samples_apart` may go. In a process of its own, since it may crash."""
    columns = str(sum(site.channels for site in tiny.card.dropout))
    ends = [
        subprocess.run([sys.executable, "-c", ALONE, str(tiny.graph), how, columns], check=False).returncode
        for how in ("mended", "as it is")
    ]
    assert ends[0] == 0
    assert ends[1] != 0


def test_a_profile_of_your_own_chooses_kinds(tiny, tmp_path):
    text = read_profile("onnx")[1].read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text + '\n[options]\nkinds = ["seeded"]\n')
    assert [part.kind for part in make(tiny, str(mine), tmp_path / "out").parts] == ["seeded"]
    for options, said in (('kinds = ["all"]', "some of masked"), ("kinds = []", "some of"), ("kind = 1", "'kind'")):
        mine.write_text(f"{text}\n[options]\n{options}\n")
        with pytest.raises(InputError, match=said):
            make(tiny, str(mine), tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_model_without_dropout_has_the_two_graphs_that_draw_nothing(tiny, tmp_path):
    graph = onnx.load(tiny.graph)
    assert graph.graph.input[1].name == "masks"
    # its masks are there and have no columns
    for node in [node for node in graph.graph.node if node.op_type in ("Mul", "Slice", "Reshape")]:
        graph.graph.node.remove(node)
        if node.op_type == "Mul":
            for other in graph.graph.node:
                other.input[:] = [node.input[0] if name == node.output[0] else name for name in other.input]
    graph.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 0
    graph.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    del graph.graph.value_info[:]
    copy = tmp_path / "model"
    copy.mkdir()
    for file in tiny.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    onnx.save(graph, copy / tiny.card.files.graph.path)
    plain = tiny.model_copy(update={"card": tiny.card.model_copy(update={"dropout": ()}), "path": copy})
    profile = tmp_path / "mine.toml"
    profile.write_text(read_profile("onnx")[1].read_text() + '\n[options]\nkinds = ["deterministic", "seeded"]\n')
    assert [part.kind for part in make(plain, str(profile), tmp_path / "out").parts] == ["deterministic"]


def test_what_cannot_be_made_is_one_line_and_leaves_nothing(tiny, tmp_path, segbench):
    out = tmp_path / "out"
    unranged = tiny.card.model_copy(update={"files": tiny.card.files.model_copy(update={"ranges": None})})
    with pytest.raises(EngineError, match="no activation ranges"):
        make(tiny.model_copy(update={"card": unranged}), "openvino", out, "int8")
    for arguments, said in (
        (("--to", "onnx", "--precision", "int8"), "target 'onnx' has no precision 'int8'; it has f32"),
        (("--to", "openvino", "--precision", "f16"), "has no precision 'f16'; it has f32, bf16, int8"),
        (("--to", "openvin"), "Did you mean 'openvino'?"),
        (("--to", str(tmp_path / "none.toml")), "none.toml"),
    ):
        code, printed, error = segbench("export", tiny.path, *arguments, "--out", out)
        assert (code, printed) == (2, "")
        assert said in error
        assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
    out.mkdir()
    code, _, error = segbench("export", tiny.path, "--to", "onnx", "--out", out)
    assert code == 2
    assert "is there already" in error
    assert not list(out.iterdir())


def test_export_prints_what_it_made(tiny, tmp_path, segbench):
    code, printed, error = segbench("export", tiny.path, "--to", "onnx", "--out", tmp_path / "out")
    assert (code, error) == (0, "")
    assert f"{tmp_path / 'out' / 'seeded.onnx'}: seeded, f32, for onnxruntime" in printed


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_profiles_are_read(target):
    assert target in profiles()
    profile, _ = read_profile(target)
    assert profile.target == target
    assert next(iter(profile.tolerance)) == "f32"


def test_the_examples_of_the_page_run(tiny, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    assert len(blocks) == 2
    make(tiny, "onnx", tmp_path / "vnet-battery-onnx")
    make(tiny, "openvino", tmp_path / "vnet-battery-openvino")
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})
