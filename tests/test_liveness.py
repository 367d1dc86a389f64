"""`segbench verify --liveness`: exports that other tools make are shown to be dead or frozen, ours to be alive."""

import json
import logging
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from segbench.errors import InputError
from segbench.export.liveness import liveness
from segbench.export.stochastic import draws, frozen

F = torch.nn.functional


class Toy(torch.nn.Module):
    """Two convolutions with dropout between them, in one of the ways that people write it."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.first, self.last = (torch.nn.Conv3d(a, b, 3, padding=1) for a, b in ((1, 8), (8, 1)))
        self.channels, self.voxels = torch.nn.Dropout3d(0.5), torch.nn.Dropout(0.5)

    def forward(self, image):
        x = torch.relu(self.first(image))
        if self.how == "Dropout3d":
            x = self.channels(x)
        elif self.how == "Dropout":
            x = self.voxels(x)
        elif self.how == "functional":
            x = F.dropout(x, 0.5, training=True)
        elif self.how == "bernoulli":
            x = x * torch.bernoulli(torch.full((1, 8, 1, 1, 1), 0.5)) / 0.5
        return self.last(x)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exports by PyTorch's own exporter, once each."""
    folder, made = tmp_path_factory.mktemp("toys"), {}

    def export(how, *, training=True):
        if (how, training) not in made:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                logging.getLogger("torch.onnx").setLevel(logging.ERROR)
                torch.manual_seed(1)  # of what an export freezes: one mask in 128 would have nothing to tell
                program = torch.onnx.export(
                    Toy(how).train(training), (torch.zeros(1, 1, 8, 8, 8),), dynamo=True, verbose=False,
                    input_names=["image"], output_names=["logits"], opset_version=18,
                )  # fmt: skip
            path = folder / f"{how}-{training}.onnx"
            program.save(str(path))
            made[how, training] = path
        return made[how, training]

    return export


@pytest.mark.parametrize("how", ["Dropout", "functional"])
def test_dropout_in_training_mode_is_deleted_by_onnx_runtime(exported, how):
    found = liveness(exported(how))
    assert found.verdict == "deleted"
    assert found.nodes == ("Dropout in training mode, ratio 0.5",)
    assert found.left == ()
    assert (found.differ, found.differ_unoptimised) == (False, True)
    assert "ONNX Runtime deletes it" in found.said


def test_a_bernoulli_mask_is_frozen_at_export(exported):
    found = liveness(exported("bernoulli"))
    assert (found.verdict, found.nodes, found.differ_unoptimised) == ("frozen", (), False)
    (said,) = found.frozen
    assert "of 8 factors are 0 for ever" in said


def test_dropout3d_is_drawn_by_the_runtime_and_a_second_session_begins_anew(exported):
    found = liveness(exported("Dropout3d"))
    assert (found.verdict, found.differ, found.nodes) == ("alive", True, ("RandomUniformLike",))
    assert found.restarts, "two sessions of one process give the same draws"
    assert "no other process or machine repeats it" in found.said


def test_a_module_in_inference_mode_leaves_nothing(exported):
    found = liveness(exported("Dropout3d", training=False))
    assert (found.verdict, found.nodes, found.frozen) == ("none", (), ())


def test_our_graph_is_alive_through_its_masks(tiny):
    found = liveness(tiny.graph)
    assert (found.verdict, found.nodes, found.differ, found.differ_unoptimised) == ("alive", (), False, False)
    image, masks = found.inputs
    assert (image.name, image.role, image.changes) == ("image", "image", None)
    assert (masks.name, masks.role, masks.changes) == ("masks", "mask", True)


def graph(nodes, path, inputs, constants=(), outputs=("y",)):
    """A small graph; inputs as (name, type, shape)."""
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )  # fmt: skip
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


IMAGE = ("image", TensorProto.FLOAT, [1, 1, "h", "w"])


def test_masks_that_do_not_reach_the_output_are_no_life(tmp_path):
    nodes = [helper.make_node("Relu", ["image"], ["y"]), helper.make_node("Mul", ["masks", "masks"], ["z"])]
    inputs = [IMAGE, ("masks", TensorProto.FLOAT, ["t", 8])]
    found = liveness(graph(nodes, tmp_path / "g.onnx", inputs, outputs=("y",)))
    assert found.verdict == "none"
    assert [feed.changes for feed in found.inputs] == [None, False]


def test_another_input_that_is_added_is_no_mask_and_a_seed_counts(tmp_path):
    nodes = [helper.make_node("Add", ["image", "bias"], ["y"])]
    found = liveness(graph(nodes, tmp_path / "a.onnx", [IMAGE, ("bias", TensorProto.FLOAT, [1, 1, 1, 1])]))
    assert (found.verdict, found.inputs[1].role, found.inputs[1].changes) == ("none", "other", True)
    nodes = [
        helper.make_node("Cast", ["seed"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["image", "f"], ["y"]),
    ]
    found = liveness(graph(nodes, tmp_path / "b.onnx", [IMAGE, ("seed", TensorProto.INT32, [1])]))
    assert (found.verdict, found.inputs[1].role, found.inputs[1].changes) == ("alive", "seed", True)
    assert "'seed'" in found.said


@pytest.mark.parametrize(("ratio", "training", "live"), [(0.5, True, True), (0.0, True, False), (0.5, False, False)])
def test_dropout_draws_by_its_mode_and_ratio(tmp_path, ratio, training, live):
    constants = [("ratio", np.float32(ratio)), ("training", np.bool_(training))]
    nodes = [
        helper.make_node("Relu", ["image"], ["x"]),
        helper.make_node("Dropout", ["x", "ratio", "training"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    path = graph(nodes, tmp_path / "g.onnx", [IMAGE], constants)
    assert [draw.live for draw in draws(onnx.load(path))] == [live]
    found = liveness(path)
    assert found.verdict == ("deleted" if live else "none")
    assert not found.differ


@pytest.mark.parametrize(
    ("factors", "count"), [([0, 2, 2, 0], 1), ([0.5, 2, 2, 0.5], 0), ([0, 1, 2, 0], 0), ([2, 2, 2, 2], 0)]
)
def test_a_frozen_mask_is_two_values_one_of_them_nought(tmp_path, factors, count):
    nodes = [helper.make_node("Unsqueeze", ["m", "axes"], ["u"]), helper.make_node("Mul", ["image", "u"], ["y"])]
    constants = [("m", np.array([[factors]], np.float32)), ("axes", np.array([3]))]
    path = graph(nodes, tmp_path / "g.onnx", [("image", TensorProto.FLOAT, [1, 1, 4, 4])], constants)
    assert len(frozen(onnx.load(path))) == count
    assert (liveness(path).verdict == "frozen") == bool(count)


def test_the_command_says_it_and_its_exit_code(segbench, exported, tiny, tmp_path):
    code, out, _ = segbench("verify", "--liveness", exported("functional"))
    assert code == 1
    assert out.splitlines()[-1].startswith("dead: the file draws (Dropout in training mode, ratio 0.5), and ONNX")
    code, out, _ = segbench("verify", "--liveness", tiny.graph, "--json", "--shape", "image=1,1,8,16,12")
    assert code == 0
    assert json.loads(out)["inputs"][0]["shape"] == [1, 1, 8, 16, 12]
    code, out, _ = segbench("verify", "--liveness", tiny.graph)
    assert code == 0
    assert "[2, 12]" in out, "shapes are no markup"
    (tmp_path / "no.onnx").write_text("nothing")
    code, _, err = segbench("verify", "--liveness", tmp_path / "no.onnx")
    assert (code, "no ONNX model" in err) == (2, True)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"image": (1, 1, 7, 7, 7)}, "does not run on image"),
        ({"picture": (1, 1, 8, 8, 8)}, "no such input; it has image, masks"),
        ({"masks": (2, 12, 1)}, "give 2 numbers"),
    ],
)
def test_shapes_that_do_not_fit_are_told(tiny, shapes, said):
    with pytest.raises(InputError, match=said):
        liveness(tiny.graph, shapes)


@pytest.mark.parametrize("text", ["image", "image=", "image=1,x", "=1,2", "image=1,0"])
def test_a_shape_that_is_none_is_told(segbench, tiny, text):
    code, _, err = segbench("verify", "--liveness", tiny.graph, "--shape", text)
    assert (code, "give NAME=sizes" in err) == (2, True)
