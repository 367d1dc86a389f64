"""A model of two networks as an artifact: exported, proved, damaged and found out."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tomli_w
import torch
from cascade_models import lcgar, linear_doubt
from conftest import HERE, blobs
from onnx import helper, numpy_helper

from segbench import nets
from segbench.cascade import cascade_of
from segbench.data.case import Case
from segbench.data.pool import Sample
from segbench.engines import start
from segbench.errors import InputError
from segbench.export import accuracy, checks, reference
from segbench.export.artifact import make
from segbench.export.cascade import given
from segbench.export.deploy import deploy
from segbench.export.parity import compare
from segbench.export.profile import of_probabilities, read_profile, tolerance_of
from segbench.export.runners import runner
from segbench.export.verify import verify, verify_model
from segbench.io import file_sha256
from segbench.recipe import read_json, read_toml
from segbench.train.checkpoint import State
from segbench.train.recipe import Recipe
from segbench.train.release import release
from segbench.zoo import CARD, find
from segbench.zoo.artifact import ARTIFACT, Artifact, Part
from segbench.zoo.card import CascadeCard, FileCard
from segbench.zoo.reference import read_reference, write_reference

TINY = HERE / "data" / "tiny-slices.toml"
EDGE = 7


def pinned(folder: Path, name: str) -> FileCard:
    return FileCard(path=name, sha256=file_sha256(folder / name))


def write_card(card, folder: Path) -> None:
    (folder / CARD).write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """An untrained network of slices and LCGAR's layers behind it."""
    out = tmp_path_factory.mktemp("both")
    recipe = read_toml(TINY, Recipe)
    torch.manual_seed(0)
    network = nets.build(recipe.network.kind, **recipe.network.options)
    image = blobs((1, 32, 32))
    label = np.digitize(image, [-0.5, 0.5]).astype(np.uint8)
    state = State(step=1, seconds=1.0, history=[{"step": 1, "loss": 0.5, "learning_rate": 1e-3}])
    card = release(network.eval(), recipe, TINY, state, [Sample("test", image, label)], out)
    linear_doubt(out / "doubt.onnx", [0, 0, 0, 40.0], -40.0)
    lcgar(out / "local.onnx", EDGE)
    files = {"doubt": pinned(out, "doubt.onnx"), "local": pinned(out, "local.onnx")}
    cascade = CascadeCard(edge=EDGE, threshold=0.5, parameters=0)
    card = card.model_copy(update={"cascade": cascade, "files": card.files.model_copy(update=files)})
    write_card(card, out)
    seen = entropies(find(str(out)))
    linear_doubt(out / "doubt.onnx", [0, 0, 0, 40.0], -40.0 * float(np.quantile(seen, 0.75)))
    files["doubt"] = pinned(out, "doubt.onnx")
    write_card(card.model_copy(update={"files": card.files.model_copy(update=files)}), out)
    reference.add(out)
    return find(str(out))


def entropies(model) -> np.ndarray:
    """Of F on the reference's slice, so that about a quarter of the pixels can be made doubted."""
    drawn = reference.draw(model)
    _, mean = given(drawn.image[0, 0], drawn.logits, 0)
    powers = np.exp(mean - mean.max(axis=0))
    p = powers / powers.sum(axis=0)
    return -(p * np.log(p)).sum(axis=0)


@pytest.fixture(scope="module")
def exported(both, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "both"
    make(both, "onnx", out)
    return out


@pytest.fixture(scope="module")
def slim(tmp_path_factory):
    """A profile that makes what the two networks need and no more: proving the other graphs takes most of the time."""
    path = tmp_path_factory.mktemp("profile") / "slim.toml"
    text = (HERE.parent / "export" / "onnx.toml").read_text()
    path.write_text(text + '\n[options]\nkinds = ["masked", "doubt", "patch"]\n')
    return str(path)


@pytest.fixture(scope="module")
def proved(both, slim, tmp_path_factory):
    out = tmp_path_factory.mktemp("proved") / "both"
    make(both, slim, out)
    return out


@pytest.fixture
def artifact(proved, tmp_path):
    return Path(shutil.copytree(proved, tmp_path / "artifact"))


def repin(folder: Path) -> None:
    """As if it had been exported like that."""
    found = read_json(folder / ARTIFACT, Artifact)
    files = {path: file_sha256(folder / path) for path in found.files}
    (folder / ARTIFACT).write_text(found.model_copy(update={"files": files}).model_dump_json(indent=1))


def statuses(record, name: str) -> dict[str, str]:
    return {check.part: check.status for check in record if check.name == name}


def disturb(path: Path, name: str, by: float = 0.3) -> None:
    model = onnx.load(path)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    value = numpy_helper.to_array(weight).copy()
    value.flat[0] += by
    weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    onnx.save(model, path)


def test_the_reference_holds_both_networks_answers(both):
    found = read_reference(both.reference)
    assert found.refined.shape == (3, *found.doubted.shape)
    assert 0.15 < found.doubted.mean() < 0.35
    assert 40 < len(found.patches) == len(found.context) == len(found.local) <= 64
    hidden = found.patches[:, 1:].sum(axis=1)
    assert set(np.unique(hidden)) == {0, 1}  # some pixels of patches are doubted, the others have one class
    assert np.allclose(found.refined.sum(axis=0), 1, atol=1e-5)


def test_the_hash_of_a_model_knows_both_graphs(both):
    for name in ("doubt", "local"):
        other = FileCard(path=f"{name}.onnx", sha256="0" * 64)
        card = both.card.model_copy(update={"files": both.card.files.model_copy(update={name: other})})
        assert both.model_copy(update={"card": card}).hash != both.hash


def test_an_artifact_carries_the_graphs_and_passes(exported, both):
    parts = {part.kind: part.path for part in read_json(exported / ARTIFACT, Artifact).parts}
    assert parts["doubt"] == "doubt.onnx"
    assert parts["patch"] == "patch.onnx"
    assert file_sha256(exported / "patch.onnx") == both.card.files.local.sha256
    record = verify(exported, scored=False)
    assert record.passed, [check.said for check in record.checks if check.status == "failed"]
    for name in ("lint", "outputs", "repeat"):
        assert statuses(record.checks, name)["doubt.onnx"] == "passed"
        assert statuses(record.checks, name)["patch.onnx"] == "passed"
    assert statuses(record.checks, "cascade") == {"onnxruntime": "passed"}
    assert find(str(exported)).hash == both.hash


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_openvino_s_artifact_passes(both, tmp_path, precision):
    out = tmp_path / "ir"
    make(both, "openvino", out, precision)
    made = {part.kind: part.precision for part in read_json(out / ARTIFACT, Artifact).parts}
    assert (made["doubt"], made["patch"]) == ("f32", precision)
    record = verify(out, scored=False)
    if any(check.status == "not run" and "bf16" in check.said for check in record.checks):
        pytest.skip("SKIPPED LOUDLY: this processor has no bf16 instructions")
    own = [check for check in record.checks if check.name == "cascade" or check.part in ("doubt.xml", "patch.xml")]
    assert {check.status for check in own} <= {"passed", "not run"}, [check.said for check in own]
    assert statuses(record.checks, "cascade") == {"openvino": "passed"}


def test_a_probability_that_is_off_by_a_tenth_is_found_in_bf16_too():
    """Logits may be off by 0.2 there: that would be a fifth of all that a probability can be."""
    rounded = tolerance_of(read_profile("openvino")[0], "bf16")
    right = np.full((3, 4, 4), 1 / 3)
    wrong = right.copy()
    wrong[:2, 1, 2] += (0.1, -0.1)
    assert compare("probability", wrong, right, rounded).passed
    assert not compare("probability", wrong, right, of_probabilities(rounded)).passed
    assert compare("probability", right + 0.01, right, of_probabilities(rounded)).passed
    exact = tolerance_of(read_profile("openvino")[0], "f32")
    assert of_probabilities(exact) == exact


@pytest.mark.parametrize(("file", "weight", "found"), [
    ("patch.onnx", "conv1/w", ("outputs", "patch.onnx")),
    ("model/local.onnx", "conv1/w", ("cascade", "onnxruntime")),
    ("doubt.onnx", "b", ("outputs", "doubt.onnx")),
])  # fmt: skip
def test_a_disturbed_graph_is_found(artifact, file, weight, found):
    disturb(artifact / file, weight)
    pins = read_json(artifact / ARTIFACT, Artifact).files
    assert checks.files(artifact, pins).status == "failed"
    repin(artifact)
    record = verify(artifact, scored=False)
    assert statuses(record.checks, found[0])[found[1]] == "failed"
    assert not record.passed


def test_a_classifier_that_doubts_other_pixels_is_found(artifact):
    linear_doubt(artifact / "model" / "doubt.onnx", [0, 0, 0, 40.0], -20.0)
    repin(artifact)
    failed = [check for check in verify(artifact, scored=False).checks if check.status == "failed"]
    assert any(check.name == "cascade" and "other pixels are doubted" in check.said for check in failed)


def test_a_random_node_is_found(artifact):
    model = onnx.load(artifact / "patch.onnx")
    model.graph.node[0].input[0] = "drawn"
    model.graph.node.insert(0, onnx.helper.make_node("RandomUniformLike", ["patches"], ["drawn"]))
    onnx.save(model, artifact / "patch.onnx")
    repin(artifact)
    record = verify(artifact, scored=False)
    assert statuses(record.checks, "lint")["patch.onnx"] == "failed"
    assert statuses(record.checks, "repeat")["patch.onnx"] == "failed"


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_network_that_sees_its_patch_alone_passes(both, slim, tmp_path, target):
    """As ResNet-18: the file has the input `context`, and no node reads it."""
    copy = Path(shutil.copytree(both.path, tmp_path / "copy"))
    local = onnx.load(copy / "local.onnx")
    own = helper.make_node("Slice", ["patches", "from", "to", "along"], ["corner"])
    flat = helper.make_node("Reshape", ["corner", "rows"], ["values"])
    local.graph.node.insert(0, flat)
    local.graph.node.insert(0, own)
    joined = next(node for node in local.graph.node if node.name == "joined")
    joined.input[1] = "values"
    numbers = {"from": [0, 0, 0], "to": [3, 1, 1], "along": [1, 2, 3], "rows": [-1, 3]}
    local.graph.initializer.extend(numpy_helper.from_array(np.array(v), n) for n, v in numbers.items())
    onnx.save(local, copy / "local.onnx")
    card = find(str(both.path)).card
    files = card.files.model_copy(update={"local": pinned(copy, "local.onnx")})
    write_card(card.model_copy(update={"files": files}), copy)
    reference.add(copy)
    make(find(str(copy)), {"onnx": slim}.get(target, target), tmp_path / target)
    record = verify(tmp_path / target, scored=False)
    assert record.passed, [check.said for check in record.checks if check.status == "failed"]
    assert statuses(record.checks, "cascade") == {{"onnx": "onnxruntime"}.get(target, target): "passed"}


def test_zoo_verify_proves_both_networks(both):
    made = verify_model(both)
    assert {check.status for check in made} == {"passed"}, [check.said for check in made]
    assert {"doubt.onnx", "local.onnx"} <= {check.part for check in made if check.name == "outputs"}
    assert "cascade" in {check.name for check in made}


def test_a_reference_without_the_second_network_is_one_line(both, tmp_path):
    copy = Path(shutil.copytree(both.path, tmp_path / "copy"))
    whole = read_reference(both.reference)
    own = dict.fromkeys(("features", "doubt", "patches", "context", "local", "refined", "doubted"))
    write_reference(copy / "reference.npz", replace(whole, **own))
    failed = [check for check in verify_model(both.model_copy(update={"path": copy})) if check.status == "failed"]
    assert failed
    assert all("segbench zoo reference" in check.said for check in failed)


def test_a_package_of_one_graph_refuses(both, tmp_path):
    with pytest.raises(InputError, match="two networks"):
        make(both, "bioimageio", tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_accuracy_is_that_of_both_networks(both, monkeypatch, tmp_path):
    """Scored with the local network and without it: another number, so it was there."""
    image = blobs((1, 32, 40))
    case = Case("slices", image, np.digitize(image, [-0.5, 0.5]).astype(np.uint8), None)
    monkeypatch.setattr(accuracy, "volumes", lambda card: [case])
    whole = accuracy.Yardstick(both)
    files = both.card.files.model_copy(update={"doubt": None, "local": None})
    card = both.card.model_copy(update={"cascade": None, "files": files})
    first = accuracy.Yardstick(both.model_copy(update={"card": card}))
    assert whole.reference("masked").nll != first.reference("masked").nll
    part = Part(kind="masked", runtime="onnxruntime", path="model.onnx")
    found = whole.part("masked", runner(both.path, part, "cpu"), "onnxruntime")
    assert found.nll == pytest.approx(whole.reference("masked").nll, abs=1e-5)
    # a mean has no samples that a second network could decide by
    assert whole.reference("aggregated") == first.reference("aggregated") == first.reference("masked")
    make(both, "onnx", tmp_path / "onnx")
    mean = runner(tmp_path / "onnx", Part(kind="aggregated", runtime="onnxruntime", path="aggregated.onnx"), "cpu")
    found = whole.part("aggregated", mean, "onnxruntime")
    assert found.nll == pytest.approx(first.reference("aggregated").nll, abs=1e-5)


def test_a_workstation_s_folder_holds_both(both, tmp_path):
    files = deploy(both, tmp_path / "there", targets=("onnx",))
    assert {"onnx/model/local.onnx", "onnx/model/doubt.onnx", "onnx/patch.onnx"} <= set(files)


def test_the_page_names_the_second_network(both):
    assert "Second network" in (both.path / "README.md").read_text()


def test_triton_serves_both(both, tmp_path):
    pytest.importorskip("tritonclient.grpc")
    make(both, "triton", tmp_path / "triton")
    home = tmp_path / "triton" / "repository"
    assert (home / f"{both.card.name}-doubt" / "1" / "model.onnx").is_file()
    text = (home / f"{both.card.name}-patch" / "config.pbtxt").read_text()
    assert "patches" in text
    assert "labels.txt" in text
    assert "labels.txt" not in (home / f"{both.card.name}-doubt" / "config.pbtxt").read_text()


def test_an_artifact_predicts_as_the_model_does(proved, both):
    verify(proved, scored=False)
    other = find(str(proved))
    image, mean = np.zeros((1, 40, 40), np.float32), np.random.default_rng(0).normal(size=(3, 1, 40, 40))
    answers = []
    for model in (both, other):
        run = cascade_of(model, start(model, "onnxruntime", threads=1))
        answers.append(run(image, mean.astype(np.float32)).probability.tobytes())
    assert answers[0] == answers[1]
