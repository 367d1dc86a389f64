"""The lint of exported graphs: clean ones pass, and each planted fault is found."""

import re

import numpy as np
import onnx
import pytest
from cascade_models import dense, lcgar, linear_doubt
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state

from segbench.engines.quantise import quantised, ranges_of
from segbench.errors import EngineError, UnknownNameError
from segbench.export import ir
from segbench.export.kinds import graphs
from segbench.export.lint import PROMISED, check, lint
from segbench.export.operators import RANDOM, TAKES

KINDS = tuple(PROMISED)


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """One of each kind; those of a second network are of none that `tiny` has."""
    there = tmp_path_factory.mktemp("second")
    second = {
        "doubt": linear_doubt(there / "doubt.onnx", [0.1, 0.2, 0.3, 1.0]),
        "patch": lcgar(there / "patch.onnx", 7),
        "dense": dense(there / "dense.onnx"),
    }
    return dict(graphs(tiny, KINDS)) | {kind: onnx.load(path) for kind, path in second.items()}


def saved(model, path):
    onnx.save(model, path)
    return path


def changed(model) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@pytest.mark.parametrize("runtime", TAKES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_graph_that_is_made_is_clean_for_every_runtime(made, tmp_path, kind, runtime):
    assert lint(saved(made[kind], tmp_path / "g.onnx"), kind, runtime) == []


@pytest.mark.parametrize("rounded", [False, True])
def test_every_ir_that_is_made_is_clean(tiny, tmp_path, rounded):
    for kind, graph in graphs(tiny, KINDS, rounded):
        ir.write(graph, tmp_path / f"{kind}.xml", {})
        assert lint(tmp_path / f"{kind}.xml", kind, "openvino") == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_no_kind_passes_for_another(made, tmp_path, kind, other):
    if kind != other:
        assert lint(saved(made[kind], tmp_path / "g.onnx"), other, "onnxruntime")
        ir.write(made[kind], tmp_path / "g.xml", {})
        assert lint(tmp_path / "g.xml", other, "openvino")


def after_logits(model, nodes, **imports):
    """The graph with nodes between its logits and its end; they read "raw" and make "logits"."""
    copy = changed(model)
    for node in copy.graph.node:
        node.output[:] = ["raw" if name == "logits" else name for name in node.output]
    copy.graph.node.extend(nodes)
    for domain, version in imports.items():
        copy.opset_import.append(helper.make_opsetid(domain, version))
    return copy


def planted(name: str, model) -> onnx.ModelProto:
    """A masked graph with that operator at its end, in a branch, a branch of a branch, or a function."""
    place, op = name.split(" ")
    inputs, attributes = ["raw"], {}
    if op in ("RandomUniform", "RandomNormal"):
        inputs, attributes = [], {"shape": [1, 1, 8, 8, 8]}
    if op == "Dropout" and place == "function":
        attributes = {}
    node = helper.make_node(op, inputs, ["made"], **attributes)
    if place == "top":
        return after_logits(model, [node, helper.make_node("Add", ["made", "raw"], ["logits"])])
    if place == "function":
        body = helper.make_node(op, ["x"], ["y"])
        function = helper.make_function("own", "f", ["x"], ["y"], [body], [helper.make_opsetid("", 18)])
        call = helper.make_node("f", ["raw"], ["logits"], domain="own")
        copy = after_logits(model, [call], own=1)
        copy.functions.append(function)
        return copy
    out = helper.make_tensor_value_info("made", TensorProto.FLOAT, None)
    branch = helper.make_graph([node], "b", [], [out])
    for level in range(2 if place == "deep" else 1):
        inner = [helper.make_node("If", ["yes"], [f"made{level}"], then_branch=branch, else_branch=branch)]
        branch = helper.make_graph(inner, f"b{level}", [], [helper.make_empty_tensor_value_info(f"made{level}")])
    last = branch.output[0].name
    copy = after_logits(model, [*branch.node, helper.make_node("Add", [last, "raw"], ["logits"])])
    copy.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    return copy


@pytest.mark.parametrize("place", ["top", "branch", "deep", "function"])
@pytest.mark.parametrize("op", ["Dropout", "Bernoulli", "RandomUniformLike"])
def test_what_draws_is_found_wherever_it_hides(made, tmp_path, place, op):
    path = saved(planted(f"{place} {op}", made["masked"]), tmp_path / "g.onnx")
    for runtime in TAKES:
        assert any(op in line and "redrawn" in line for line in lint(path, "masked", runtime))
    with pytest.raises(EngineError, match=op):
        check(path)


@pytest.mark.parametrize("op", sorted(RANDOM & {"RandomUniform", "RandomNormal"}))
def test_what_draws_without_an_input_is_found(made, tmp_path, op):
    path = saved(planted(f"branch {op}", made["masked"]), tmp_path / "g.onnx")
    assert any(op in line for line in lint(path, "masked", "tensorrt"))


def test_training_mode_is_found(made, tmp_path):
    ones = [numpy_helper.from_array(np.ones(1, np.float32), name) for name in ("s", "b", "m", "v")]
    node = helper.make_node(
        "BatchNormalization", ["raw", "s", "b", "m", "v"], ["logits", "m1", "v1"], "norm", training_mode=1
    )
    model = after_logits(made["masked"], [node])
    model.graph.initializer.extend(ones)
    assert lint(saved(model, tmp_path / "g.onnx"), "masked", "onnxruntime") == ["norm is in training mode"]


@pytest.mark.parametrize(("op", "domain"), [("NoSuchThing", ""), ("FusedConv", "com.microsoft"), ("Det", "")])
def test_operators_that_a_runtime_lacks_are_found(made, tmp_path, op, domain):
    node = helper.make_node(op, ["raw"], ["logits"], domain=domain)
    path = saved(after_logits(made["masked"], [node], **({domain: 1} if domain else {})), tmp_path / "g.onnx")
    for runtime in TAKES:
        assert any(op in line and "table" in line for line in lint(path, "masked", runtime))


def test_what_one_runtime_takes_another_may_not(made, tmp_path):
    node = helper.make_node("LayerNormalization", ["raw", "one"], ["logits"])
    model = after_logits(made["masked"], [node])
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
    path = saved(model, tmp_path / "g.onnx")
    assert not any("LayerNormalization" in line for line in lint(path, "masked", "openvino"))
    assert any("LayerNormalization" in line for line in lint(path, "masked", "tensorrt"))


def renamed(model, old, new):
    copy = changed(model)
    for node in copy.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
    for value in copy.graph.input:
        value.name = new if value.name == old else value.name
    return copy


def closed(model, name, axis, size):
    copy = changed(model)
    for value in (*copy.graph.input, *copy.graph.output):
        if value.name == name:
            value.type.tensor_type.shape.dim[axis].dim_value = size
    return copy


def retyped(model):
    copy = changed(model)
    copy.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    return copy


def unstated(model):
    copy = changed(model)
    del copy.opset_import[:]
    return copy


def stated(model, opset):
    copy = changed(model)
    copy.opset_import[0].version = opset
    return copy


FAULTS = {
    "an input's name": (lambda m: renamed(m, "masks", "mask"), "its inputs are ['image', 'mask'], not"),
    "closed samples": (lambda m: closed(m, "masks", 0, 1), r"masks is float32 [1, 12], not float32 [open, some]"),
    "a closed edge": (lambda m: closed(m, "image", 3, 16), "image is float32 [1, 1, open, 16, open], not"),
    "a closed output": (lambda m: closed(m, "logits", 0, 1), "logits is float32 [1, 1, open"),
    "a type": (retyped, "masks is int64"),
    "no opset": (unstated, "states no opset"),
    "an opset to come": (lambda m: stated(m, 99), "opset 99, where its runtime takes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_promises_are_found(made, tmp_path, fault):
    damage, said = FAULTS[fault]
    found = lint(saved(damage(made["masked"]), tmp_path / "g.onnx"), "masked", "onnxruntime")
    assert any(said in line for line in found), found


def frozen(model, name, value):
    copy = changed(model)
    for node in copy.graph.node:
        node.input[:] = ["frozen" if given == name else given for given in node.input]
    copy.graph.initializer.append(numpy_helper.from_array(value, "frozen"))
    return copy


def test_frozen_masks_and_seeds_are_found(made, tiny, tmp_path):
    columns = sum(site.channels for site in tiny.card.dropout)
    for kind, name, value in (
        ("masked", "masks", np.ones((1, columns), np.float32)),
        ("seeded", "samples", np.arange(3, dtype=np.int32)),
        ("aggregated", "seed", np.zeros(1, np.int32)),
    ):
        path = saved(frozen(made[kind], name, value), tmp_path / "g.onnx")
        assert lint(path, kind, "onnxruntime") == [f"{name} decides nothing: no output depends on it"]


def test_frozen_masks_of_an_ir_are_found(made, tmp_path):
    path = tmp_path / "g.xml"
    ir.write(made["masked"], path, {})
    layer = re.search(r'<layer id="(\d+)" name="masks"', path.read_text())[1]
    path.write_text(re.sub(rf'<edge from-layer="{layer}" .*/>', "", path.read_text()))
    assert lint(path, "masked", "openvino") == ["masks decides nothing: no output depends on it"]


def test_random_and_strange_operations_of_an_ir_are_found(made, tmp_path):
    path = tmp_path / "g.xml"
    ir.write(made["masked"], path, {})
    text = path.read_text()
    for old, new, said in (
        ('type="ReLU" version="opset1"', 'type="RandomUniform" version="opset8"', "holds RandomUniform"),
        ('type="ReLU" version="opset1"', 'type="ReLU" version="extension"', "holds ReLU of extension"),
        ('names="masks"', 'names="mask"', "its inputs are"),
        ("</net>", "", "not an IR"),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        assert any(said in line for line in lint(path, "masked", "openvino")), said


def test_tensorrt_takes_no_zero_points(made, tiny, tmp_path):
    rounded = quantised(onnx.load(tiny.graph), ranges_of(tiny))
    path = saved(rounded, tmp_path / "g.onnx")
    assert lint(path, "masked", "onnxruntime") == []
    zero = next(i for i in rounded.graph.initializer if re.search(r"/zero$", i.name) and i.data_type == 2)
    zero.CopyFrom(numpy_helper.from_array(np.array(7, np.uint8), zero.name))
    path = saved(rounded, tmp_path / "g.onnx")
    assert any("zero points other than 0" in line for line in lint(path, "masked", "tensorrt"))
    assert lint(path, "masked", "openvino") == []


def test_what_is_no_graph_is_said(tmp_path):
    (tmp_path / "g.onnx").write_bytes(b"not a graph")
    (found, *_) = lint(tmp_path / "g.onnx", "masked", "onnxruntime")
    assert "not a valid ONNX graph" in found
    with pytest.raises(EngineError, match="cannot be looked into"):
        lint(tmp_path / "g.plan", "masked", "tensorrt")
    with pytest.raises(UnknownNameError, match="runtime 'onnx'"):
        lint(tmp_path / "g.onnx", "masked", "onnx")


def test_the_installed_onnx_runtime_has_what_its_table_says():
    kernels = onnxruntime_pybind11_state.get_all_opkernel_def()
    there = {k.op_name for k in kernels if k.provider == "CPUExecutionProvider" and k.domain in ("", "ai.onnx")}
    functions = {"GroupNormalization", "HardSwish"}  # it takes them apart into others
    assert TAKES["onnxruntime"].operators - functions - {"Constant"} <= there
