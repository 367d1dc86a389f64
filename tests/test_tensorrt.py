"""TensorRT: engines are built, described and run as they must be. Against a fake; parsed and built by TensorRT-RTX."""

import gc
import importlib
import json
from functools import partial

import fake_tensorrt
import numpy as np
import onnx
import pytest
import tifffile
import zarr
from conftest import blobs
from fake_tensorrt import BuilderFlag, ComputeCapability, HardwareCompatibilityLevel
from onnx import helper

from segbench.engines import start
from segbench.engines.cuda import Cuda, NoCardError
from segbench.engines.plan import Plan
from segbench.errors import EngineError, InputError
from segbench.export.artifact import make
from segbench.export.plan import Settings, built, spans
from segbench.export.profile import read_profile
from segbench.export.runners import runner
from segbench.export.verify import verify
from segbench.masks import masks, ones
from segbench.zoo import find
from segbench.zoo.artifact import read_artifact
from segbench.zoo.proof import unproved

unproved_start = partial(start, unverified=True)
IMAGE = np.random.default_rng(0).standard_normal((1, 1, 16, 16, 16)).astype(np.float32)


def profile(tmp_path, target, **options):
    """The target's profile with other options."""
    lines = read_profile(target)[1].read_text().splitlines()
    for key, value in options.items():
        lines = [line for line in lines if not line.startswith(f"{key} = ")]
        lines.insert(lines.index("[options]") + 1, f"{key} = {json.dumps(value)}")
    path = tmp_path / f"{target}-own.toml"
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture
def trt(monkeypatch):
    return fake_tensorrt.install(monkeypatch)


@pytest.fixture
def artifact(tiny, tmp_path, trt):
    """The tiny model, exported on the fake card."""
    make(tiny, "tensorrt", tmp_path / "engine")
    return find(str(tmp_path / "engine"))


def test_an_engine_computes_what_onnx_runtime_does(tiny, artifact, trt):
    engine = unproved_start(artifact, "tensorrt")
    assert (engine.name, engine.version, engine.device) == ("tensorrt", "11.4.0.106", "NVIDIA Fake 1")
    assert (engine.precision, engine.thin, engine.note) == ("f32", False, "")
    for drawn in (masks(tiny.card.dropout, 3, range(6)), ones(tiny.card.dropout)):
        expected = start(tiny, "onnxruntime", threads=1, thin=False).bind(drawn)(IMAGE)
        bound = engine.bind(drawn)
        np.testing.assert_allclose(bound(IMAGE), expected, rtol=1e-5, atol=1e-5)
        inner = (slice(2, 14), slice(3, 5), slice(0, 16))
        np.testing.assert_array_equal(bound(IMAGE, inner), bound(IMAGE)[(..., *inner)])
    larger = np.tile(IMAGE, (1, 1, 2, 1, 2))
    assert bound(larger).shape == (1, 1, 32, 16, 32)
    np.testing.assert_allclose(bound(IMAGE), expected, rtol=1e-5, atol=1e-5)  # shapes take turns in one context


def test_memory_of_the_card_is_given_back(tiny, artifact, trt):
    _, cuda = trt
    bound = unproved_start(artifact, "tensorrt").bind(masks(tiny.card.dropout, 0, range(2)))
    bound(IMAGE)
    assert len(cuda.memory) == 3  # image, masks, logits
    del bound
    gc.collect()
    assert not cuda.memory


def test_an_artifact_says_what_it_was_built_for(artifact, trt):
    assert artifact.artifact.device == "NVIDIA Fake 1"
    assert artifact.artifact.tools == {"tensorrt": "11.4.0.106"}
    assert [(part.kind, part.runtime) for part in artifact.artifact.parts] == [
        ("masked", "tensorrt"), ("deterministic", "tensorrt"),
    ]  # fmt: skip
    folder = artifact.path.parent
    said = Plan.model_validate_json((folder / "masked.json").read_text())
    assert (said.version, said.card, said.capability, said.cards) == ("11.4.0.106", "NVIDIA Fake 1", (8, 9), "this")
    edge = 32  # core 24 and twice halo 4
    assert said.shapes["image"][1:] == ((1, 1, edge, edge, edge),) * 2
    assert said.shapes["masks"][0][0] == 1
    assert said.shapes["masks"][2][0] == 4
    assert not set(Plan.model_validate_json((folder / "deterministic.json").read_text()).shapes) - {"image"}
    assert {"masked.plan", "masked.json"} <= set(read_artifact(folder).files)


def test_float32_stays_float32_unless_the_profile_says_otherwise(tiny, tmp_path, trt):
    module, _ = trt
    make(tiny, "tensorrt", tmp_path / "a")
    assert all(BuilderFlag.TF32 not in config.set for config in module.configs)
    module.configs.clear()
    own = profile(tmp_path, "tensorrt", tf32=True, workspace_mib=64, level=5)
    make(tiny, own, tmp_path / "b")
    assert all(BuilderFlag.TF32 in config.set for config in module.configs)
    assert {*module.configs[0].limits.values()} == {64 << 20}
    assert module.configs[0].builder_optimization_level == 5


@pytest.mark.parametrize(
    ("cards", "level", "runs", "refused"),
    [
        ("this", "NONE", (b"NVIDIA Fake 1", (8, 9)), (b"NVIDIA Fake 2", (8, 9))),
        ("same-capability", "SAME_COMPUTE_CAPABILITY", (b"NVIDIA Fake 2", (8, 9)), (b"NVIDIA Fake 1", (8, 6))),
        ("ampere-and-newer", "AMPERE_PLUS", (b"NVIDIA Fake 3", (12, 0)), (b"NVIDIA Old", (7, 5))),
    ],
)
def test_another_card_is_refused_before_loading(tiny, tmp_path, monkeypatch, trt, cards, level, runs, refused):
    module, _ = trt
    made = make(tiny, profile(tmp_path, "tensorrt", cards=cards), tmp_path / "engine")
    assert {config.hardware_compatibility_level for config in module.configs} == {HardwareCompatibilityLevel[level]}
    assert ("Fake 1" in made.device) == (cards == "this")
    for (name, capability), good in ((runs, True), (refused, False)):
        cuda = fake_tensorrt.Cuda(name, capability)
        monkeypatch.setattr("segbench.engines.cuda._load", lambda cuda=cuda: cuda)
        if good:
            assert unproved_start(find(str(tmp_path / "engine")), "tensorrt").device == name.decode()
        else:
            with pytest.raises(EngineError, match=f"built for .*{name.decode()}.*export again"):
                unproved_start(find(str(tmp_path / "engine")), "tensorrt")


@pytest.mark.parametrize(
    ("built_with", "newer_too", "here", "good"),
    [
        ("11.4.0.106", False, "11.4.0.106", True),
        ("11.4.0.106", False, "11.4.0.107", False),
        ("11.4.0.106", True, "11.5.0.1", True),
        ("11.4.0.106", True, "11.3.0.99", False),
        ("10.14.1.48.post1", True, "11.4.0.106", True),
        ("9.3.0.1", True, "11.4.0.106", False),
        ("11.4.0.106", True, "12.0.0.1", False),
    ],
)
def test_another_version_is_refused_before_loading(built_with, newer_too, here, good):
    plan = Plan(runtime="tensorrt", version=built_with, newer_too=newer_too, cards="this", shapes={})
    if good:
        plan.check_version(here)
    else:
        with pytest.raises(EngineError, match=f"built with tensorrt {built_with}, and {here} is here"):
            plan.check_version(here)


def test_an_engine_for_newer_versions_is_allowed_its_code(tiny, tmp_path, monkeypatch, trt):
    make(tiny, profile(tmp_path, "tensorrt", version_compatible=True), tmp_path / "engine")
    fake_tensorrt.install(monkeypatch, version="11.9.0.1")
    drawn = masks(tiny.card.dropout, 0, range(1))
    assert unproved_start(find(str(tmp_path / "engine")), "tensorrt").bind(drawn)(IMAGE).shape == (1, 1, 16, 16, 16)


def test_timings_outlive_a_build_and_never_come_from_another_card(tiny, tmp_path, trt):
    module, _ = trt
    make(tiny, "tensorrt", tmp_path / "a")
    (cache,) = tmp_path.glob("*.timings")
    assert cache.name == "tensorrt-11.4.0.106-NVIDIA-Fake-1.timings"
    assert cache.read_bytes() == b"tt"  # two engines, one file
    make(tiny, "tensorrt", tmp_path / "b")
    assert cache.read_bytes() == b"tttt"
    cache.write_bytes(b"another card's")
    make(tiny, "tensorrt", tmp_path / "c")
    assert cache.read_bytes() == b"tt"
    make(tiny, profile(tmp_path, "tensorrt", timing_cache=False), tmp_path / "d")
    assert module.configs[-1].cache is None


def test_what_cannot_be_run_is_said_in_one_line(tiny, artifact, tmp_path, monkeypatch, trt):
    with pytest.raises(EngineError, match=r"export it first.*segbench export tiny --to tensorrt"):
        start(tiny, "tensorrt")
    with pytest.raises(EngineError, match="no precision 'f16'; it has f32"):
        unproved_start(artifact, "tensorrt", precision="f16")
    with pytest.raises(EngineError, match="no thin sampling"):
        unproved_start(artifact, "tensorrt", thin=True)
    with pytest.raises(EngineError, match=r"input 'image' has shape .* 16, 16, 16\] to \[1, 1, 32, 32, 32\]|takes"):
        unproved_start(artifact, "tensorrt").bind(ones(tiny.card.dropout))(np.zeros((1, 1, 64, 64, 64), np.float32))
    none = fake_tensorrt.Cuda(cards=0)
    monkeypatch.setattr("segbench.engines.cuda._load", lambda: none)
    with pytest.raises(NoCardError, match="no card: error 100"):
        unproved_start(artifact, "tensorrt")
    with pytest.raises(NoCardError):
        make(tiny, "tensorrt", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr("segbench.engines.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=r"needs the package tensorrt: pip install 'segbench\[tensorrt\]'"):
        unproved_start(artifact, "tensorrt")


def test_a_file_that_tensorrt_does_not_load_is_named(artifact, trt):
    plan = artifact.path.parent / "masked.plan"
    plan.write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"masked\.plan: could not be loaded: TensorRT: Serialization assertion"):
        unproved_start(artifact, "tensorrt")
    with pytest.raises(InputError, match="not the file that was exported"):
        find(str(artifact.path.parent))


def test_a_part_takes_any_number_of_samples(tiny, artifact, trt):
    masked, deterministic = (runner(artifact.path.parent, part, "cuda") for part in artifact.artifact.parts)
    drawn = masks(tiny.card.dropout, 3, range(6))
    expected = start(tiny, "onnxruntime", threads=1, thin=False)
    made = masked({"image": IMAGE, "masks": drawn})["logits"]  # it was built for four at once
    np.testing.assert_allclose(made, expected.bind(drawn)(IMAGE), rtol=1e-5, atol=1e-5)
    made = deterministic({"image": IMAGE})["logits"]
    np.testing.assert_allclose(made, expected.bind(ones(tiny.card.dropout))(IMAGE), rtol=1e-5, atol=1e-5)


def test_verify_proves_it_on_a_card_and_says_where_there_is_none(artifact, monkeypatch, trt):
    folder = artifact.path.parent
    found = {(check.name, check.part): check for check in verify(folder, scored=False).checks}
    for part in ("masked.plan", "deterministic.plan"):
        assert found["outputs", part].status == "passed"
    assert found["liveness", "masked.plan"].status == "passed"
    assert unproved(artifact, "tensorrt") == ""
    none = fake_tensorrt.Cuda(cards=0)
    monkeypatch.setattr("segbench.engines.cuda._load", lambda: none)
    record = verify(folder, scored=False)
    assert not record.passed
    assert {check.said for check in record.checks if check.name == "outputs"} == {"not run: no card: error 100"}
    monkeypatch.setattr("segbench.export.runners.tensorrt.find_spec", lambda _: None)
    said = {check.said for check in verify(folder, scored=False).checks if check.name == "outputs"}
    assert said == {"not run: tensorrt is not installed: pip install 'segbench[tensorrt]'"}


def test_a_changed_engine_is_not_even_loaded(artifact, monkeypatch, trt):
    module, _ = trt
    folder = artifact.path.parent
    plan = folder / "masked.plan"
    plan.write_bytes(plan.read_bytes().replace(b"relu", b"rely", 1) + b" ")
    monkeypatch.setattr(module, "Runtime", None)
    for part in artifact.artifact.parts[:1]:
        with pytest.raises(InputError, match=r"masked\.plan: not the file that was exported"):
            runner(folder, part, "cuda")


def test_a_graph_that_tensorrt_does_not_take_is_refused_in_our_words(tiny, tmp_path, monkeypatch, trt):
    monkeypatch.setattr("segbench.export.plan.graphs", lambda *_: iter([("deterministic", stochastic())]))
    with pytest.raises(EngineError, match="the deterministic graph is not for tensorrt: holds Bernoulli"):
        make(tiny, "tensorrt", tmp_path / "other")


def test_no_card_is_told_from_no_runtime(monkeypatch):
    def missing(place):
        raise OSError(place)

    monkeypatch.setattr("segbench.engines.cuda.ctypes.CDLL", missing)
    with pytest.raises(NoCardError, match=r"no card: .* no CUDA runtime"):
        Cuda()


def test_the_real_cuda_runtime_has_what_is_called():
    try:
        found = Cuda()
    except NoCardError as error:
        pytest.skip(f"SKIPPED LOUDLY: {error}")
    assert found.card.name
    assert found.card.capability >= (5, 0)


def test_what_the_builder_is_given(tiny, tmp_path, monkeypatch):
    """TensorRT-RTX without its package: compute capabilities, and no timing cache, which would want a card."""
    module, _ = fake_tensorrt.install(monkeypatch, "tensorrt_rtx", "1.7.1.116", cards=0)
    made = make(tiny, profile(tmp_path, "tensorrt-rtx", capabilities=["8.6", "12.0"]), tmp_path / "engine")
    assert made.device == "cards of compute capability 8.6, 12.0"
    for config in module.configs:
        assert config.capabilities == {0: ComputeCapability.SM86, 1: ComputeCapability.SM120}
        assert config.cache is None
        assert BuilderFlag.TF32 not in config.set
    with pytest.raises(InputError, match=r"no compute capability '9\.0'; it has 8\.6, 8\.9, 12\.0"):
        make(tiny, profile(tmp_path, "tensorrt-rtx", capabilities=["9.0"]), tmp_path / "other")
    with pytest.raises(InputError, match="options: smaples: unknown key"):
        make(tiny, profile(tmp_path, "tensorrt-rtx", smaples=3), tmp_path / "other")


def test_a_workstation_runs_what_was_built_elsewhere(tiny, tmp_path, monkeypatch):
    fake_tensorrt.install(monkeypatch, "tensorrt_rtx", "1.7.1.116", cards=0)
    make(tiny, "tensorrt-rtx", tmp_path / "engine")
    model = find(str(tmp_path / "engine"))
    with pytest.raises(NoCardError):
        unproved_start(model, "tensorrt-rtx")
    cuda = fake_tensorrt.Cuda(b"NVIDIA RTX Fake", (8, 6))
    module = importlib.import_module("tensorrt_rtx")
    module.cuda = cuda
    monkeypatch.setattr("segbench.engines.cuda._load", lambda: cuda)
    drawn = masks(tiny.card.dropout, 0, range(3))
    expected = start(tiny, "onnxruntime", threads=1, thin=False).bind(drawn)(IMAGE)
    np.testing.assert_allclose(unproved_start(model, "tensorrt-rtx").bind(drawn)(IMAGE), expected, rtol=1e-5, atol=1e-5)
    fake_tensorrt.install(monkeypatch)
    with pytest.raises(EngineError, match="holds no engine for 'tensorrt'"):
        unproved_start(model, "tensorrt")


def test_a_package_that_is_missing_is_one_line(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("segbench.export.plan.find_spec", lambda _: None)
    for target in ("tensorrt", "tensorrt-rtx"):
        with pytest.raises(EngineError, match=rf"pip install 'segbench\[{target}\]'") as said:
            make(tiny, target, tmp_path / "engine")
        assert "\n" not in str(said.value)
    assert not (tmp_path / "engine").exists()


def stochastic():
    """A graph that draws its own masks."""
    image, logits = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 8, 8, 8]) for name in ("image", "logits")
    )
    nodes = [
        helper.make_node("Relu", ["image"], ["a"], name="first"),
        helper.make_node("Bernoulli", ["a"], ["logits"], name="drawn"),
    ]
    graph = helper.make_graph(nodes, "drawn", [image], [logits])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_the_parser_s_refusal_names_the_node(trt):
    module, _ = trt
    with pytest.raises(EngineError, match=r"node 1 'drawn' \(Bernoulli\): UNSUPPORTED_NODE"):
        built(module, stochastic(), {}, Settings(), lambda _: None)


def test_a_network_that_is_not_built_says_why(tiny, trt):
    module, _ = trt
    graph = onnx.load(tiny.graph)
    shapes = {"image": spans(tiny, graph, 4)["image"]}
    with pytest.raises(EngineError, match="builds no engine: Network has dynamic inputs"):
        built(module, graph, shapes, Settings(), lambda _: None)


@pytest.fixture(scope="module")
def rtx():
    """TensorRT-RTX itself, which needs no card to parse and to build."""
    try:
        return importlib.import_module("tensorrt_rtx")
    except (ImportError, OSError) as error:
        pytest.skip(f"SKIPPED LOUDLY: no TensorRT-RTX here ({error}): pip install 'segbench[tensorrt-rtx]'")


def test_the_fake_has_nothing_that_is_not_there(rtx):
    own = {"trt"}
    for name, kind in fake_tensorrt.API.items():
        real = getattr(rtx, name)
        used = {key for key in vars(kind) if not key.startswith("_")} - own
        assert not used - set(dir(real)), name
    config = {"hardware_compatibility_level", "builder_optimization_level", "num_compute_capabilities"}
    assert config <= set(dir(rtx.IBuilderConfig))
    assert "engine_host_code_allowed" in dir(rtx.Runtime)
    assert "ERROR" in dir(rtx.ILogger)


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_tensorrt_rtx_parses_and_builds_every_engine(tiny, tmp_path, rtx, precision):
    kinds = ["masked", "deterministic", *(["aggregated"] if precision == "f16" else [])]  # it holds the seeded one
    made = make(tiny, profile(tmp_path, "tensorrt-rtx", kinds=kinds), tmp_path / "engine", precision)
    assert [part.kind for part in made.parts] == kinds
    assert made.device == "cards of compute capability 8.0 and newer"
    assert made.tools["tensorrt-rtx"] == rtx.__version__
    for part in made.parts:
        assert part.precision == precision
        assert (tmp_path / "engine" / part.path).read_bytes().startswith(b"vtrt")


def test_tensorrt_rtx_builds_for_the_cards_that_are_named(tiny, tmp_path, rtx):
    own = profile(tmp_path, "tensorrt-rtx", capabilities=["8.6", "8.9", "12.0"], kinds=["masked"])
    assert make(tiny, own, tmp_path / "engine").device == "cards of compute capability 8.6, 8.9, 12.0"


def test_turing_takes_three_dimensions_in_float16_alone(tiny, tmp_path, rtx):
    for precision, whole in (("f32", True), ("f16", False), ("f16", True)):
        own = profile(tmp_path, "tensorrt-rtx", capabilities=["7.5"], whole_f16=whole, kinds=["masked"])
        if (precision, whole) == ("f16", True):
            assert make(tiny, own, tmp_path / "engine", precision).parts
        else:
            with pytest.raises(EngineError, match=r"Turing.*FP32 3D"):
                make(tiny, own, tmp_path / "engine", precision)


def test_tensorrt_rtx_names_the_node_that_it_refuses(rtx):
    with pytest.raises(EngineError, match=r"tensorrt_rtx refuses the graph: node 1 'drawn' \(Bernoulli\)"):
        built(rtx, stochastic(), {}, Settings(), lambda _: None)


def test_tensorrt_rtx_says_why_it_builds_nothing(tiny, rtx):
    graph = onnx.load(tiny.graph)
    shapes = {"image": spans(tiny, graph, 4)["image"]}
    with pytest.raises(EngineError, match=r"builds no engine: .*masks"):
        built(rtx, graph, shapes, Settings(), lambda _: None)


def test_predict_runs_an_artifact_that_was_proved(tiny, artifact, tmp_path, segbench, trt):
    folder = artifact.path.parent
    tifffile.imwrite(tmp_path / "scan.tif", (blobs((20, 20, 20)) * 1000 + 20000).astype(np.uint16))
    command = ["predict", tmp_path / "scan.tif", "--samples", "2", "--voxel-um", "1", "--quiet"]
    engine = [*command, "--zoo", folder, "--engine", "tensorrt"]
    code, _, err = segbench(*engine, "--out", tmp_path / "a.zarr")
    assert (code, err.count("\n")) == (2, 1)
    assert "was not verified" in err
    verify(folder, scored=False)
    assert segbench(*engine, "--out", tmp_path / "a.zarr")[0] == 0
    reference = [*command, "--zoo", tiny.path, "--engine", "onnxruntime", "--no-thin", "--threads", "1"]
    assert segbench(*reference, "--out", tmp_path / "b.zarr")[0] == 0
    found, expected = (zarr.open_array(tmp_path / name / "0")[:] for name in ("a.zarr", "b.zarr"))
    assert np.abs(found.astype(int) - expected).max() <= 1  # probability, entropy, mutual information, spread: bytes
    assert len(np.unique(found)) > 10
