"""`segbench bench`: what is counted, in which order, against whom, and what the rows say."""

import csv
import json
import math
import resource
import tomllib
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from conftest import HERE, blobs
from onnx import TensorProto, helper, numpy_helper
from test_thin import shaken

from segbench import nets, zoo
from segbench.bench import memory, peak, summary
from segbench.bench.contenders import OneSample, build, engine_seconds, mean_of_runs, pass_flops
from segbench.bench.flops import convolution_flops
from segbench.bench.memory import alone, peak_mib
from segbench.bench.row import BenchRow, read_rows, write_rows
from segbench.bench.run import CHART, PAGE, ROWS, TABLE, Result, run
from segbench.bench.scene import Request, Scene, synthetic
from segbench.bench.sheet import sheets
from segbench.bench.timing import interleaved, rotated, whole
from segbench.data.pool import Sample
from segbench.engines import start
from segbench.errors import EngineError, InputError
from segbench.predict import predict
from segbench.recipe import read_toml
from segbench.study.restate import restate
from segbench.train.checkpoint import State
from segbench.train.recipe import Recipe
from segbench.train.release import release
from segbench.volume import Volume

SMALL = {"size": 24, "samples": 3, "repeats": 2, "threads": 1}


def measured(request, key):
    """Stands in for a process of its own, which takes seconds."""
    return 100.0


@pytest.fixture(scope="module", autouse=True)
def _a_small_peak():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak, "EDGE", 8)
        patch.setattr(peak, "CHANNELS", 4)
        yield


@pytest.fixture
def monai():
    """The module that needs MONAI."""
    try:
        import monai  # noqa: F401
    except ModuleNotFoundError:
        pytest.skip("SKIPPED LOUDLY: no MONAI here; pip install 'segbench[bench]'")
    from segbench.bench import monai as module

    return module


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A model of slices and three classes, untrained, that takes the mean of probabilities."""
    out, file = tmp_path_factory.mktemp("several"), HERE / "data" / "tiny-slices.toml"
    recipe = read_toml(file, Recipe).model_copy(update={"mean": "probability"})
    image = np.clip(blobs((1, 40, 40)), -1, 1)
    sample = Sample("slice", image, np.digitize(image, [-0.3, 0.3]).astype(np.uint8))
    network = shaken(nets.build(recipe.network.kind, **recipe.network.options))
    state = State(step=1, seconds=1.0, history=[{"step": 1, "loss": 0.5, "learning_rate": 1e-3}])
    release(network, recipe, file, state, [sample], out, 1)
    return zoo.find(str(out))


@pytest.fixture
def request_(tiny):
    return Request(zoo=str(tiny.path), **SMALL)


@pytest.fixture(scope="module")
def result(tiny, tmp_path_factory) -> tuple[Result, Path]:
    out = tmp_path_factory.mktemp("bench")
    return run(Request(zoo=str(tiny.path), against=("onnxruntime",), out=out, **SMALL), memory=measured), out


def row(kind="segbench", seconds=(1.0,), precision="f32", **other) -> BenchRow:
    facts = {
        "kind": kind, "engine": "openvino", "device": "a processor", "precision": precision, "threads": 4,
        "samples": 0 if kind == "dense" else 16, "window": (128, 128, 128), "windows": 8, "core": (96, 96, 96),
        "halo": (16, 16, 16), "voxels": 192**3, "flops": 10**12, "timed": "it", "model": "tiny", "model_hash": "0",
        "size": 192, "seed": 0, "seconds": seconds, "first_s": 1.0, "peak_mib": None, "agreement": None,
        "versions": {"python": "3"}, "git": None, "segbench": "0", "made": "now",
    }  # fmt: skip
    return BenchRow.model_validate(facts | other)


# pure functions of rows


def test_medians_and_quartiles_are_linear_between_order_statistics():
    assert summary.quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == (2.0, 3.0, 4.0)
    assert summary.quartiles([1.0, 2.0]) == (1.25, 1.5, 1.75)
    assert summary.quartiles([7.0]) == (7.0, 7.0, 7.0)
    assert summary.median(row(seconds=(100.0, 1.0, 2.0))) == 2.0


def test_rates_count_useful_voxels_and_samples():
    one = row(seconds=(4.0,), voxels=1000)
    assert summary.voxels_per_s(one) == 250
    assert summary.voxel_samples_per_s(one) == 16 * 250
    assert summary.voxel_samples_per_s(row("dense", (4.0,), voxels=1000)) == 250
    assert summary.read_per_useful(one.model_copy(update={"voxels": 192**3})) == pytest.approx((256 / 192) ** 3)


def test_ratios_are_taken_within_a_precision_and_against_the_peer_that_users_have():
    rows = [
        row("segbench", (2.2,)), row("engine", (2.0,)), row("dense", (0.5,)), row("peak", (0.25,), flops=10**12),
        row("segbench", (1.0,), "bf16"), row("dense", (0.2,), "bf16"), row("onnxruntime", (9.0,)),
        row("monai-torch", (22.0,)),
    ]  # fmt: skip
    assert summary.dense_passes(rows[0], rows) == pytest.approx(4.4)
    assert summary.dense_passes(rows[4], rows) == pytest.approx(5.0)
    assert summary.overhead(rows, "f32") == pytest.approx(0.1)
    assert summary.peak_share(rows, "f32") == pytest.approx(0.5)
    assert math.isnan(summary.peak_share(rows, "bf16"))
    assert summary.baseline(rows) is rows[-1]
    assert summary.baseline(rows[:-1]) is rows[6]
    assert summary.baseline(rows[:6]) is None
    assert summary.ratio(summary.baseline(rows), rows[0]) == pytest.approx(10.0)


def test_agreement_is_held_against_the_error_of_the_mean_voxel_by_voxel():
    reference = np.array([0.5, 0.5, 0.5, 0.5], np.float32)
    squares = np.array([12.0, 12.0, 0.0, 0.0], np.float32)  # four samples: variance 4, standard error 1
    found = summary.compare(reference + np.array([0.25, 0.0, 0.0, -0.5], np.float32), reference, squares, 4)
    assert found.largest == 0.5
    assert found.rms == pytest.approx(math.sqrt((0.0625 + 0.25) / 4))
    assert found.standard_error == pytest.approx(math.sqrt(0.5))
    assert found.within == 0.75
    rounded = summary.compare(reference + np.float32(5e-7), reference, 0 * squares, 4)
    assert (rounded.within, rounded.standard_error) == (1.0, 0.0)
    single = summary.compare(reference, reference, squares, 1)
    assert (single.largest, single.standard_error, single.within) == (0.0, None, None)


def test_tables_are_made_of_rows_alone():
    rows = [row("segbench", (2.0, 4.0)), row("engine", (2.0,)), row("dense", (1.0,)), row("onnxruntime", (30.0,))]
    speed, ratios, engine = sheets(rows)
    texts = speed.text()
    assert texts[0][:6] == ["contender", "precision", "seconds", "25 %", "75 %", "Mvoxel/s"]
    assert texts[1][2:9] == ["3.000", "2.500", "3.500", "2.36", "37.75", "3.00", "10.00"]
    assert texts[3][7:9] == ["1.00", ""], "one pass is not compared with T samples"
    assert ratios.text()[1] == ["onnxruntime, T runs", "f32", "10.00"]
    assert engine.text()[1] == ["openvino", "f32", "50.0", "1000", "1000", "nan", "nan", "2.37"]
    assert len(sheets(rows[:3])) == 2, "no peers, no ratios"


def test_rows_come_back_as_they_were(tmp_path):
    rows = (
        row(agreement={"largest": 0.1, "rms": 0.01, "standard_error": None, "within": None}),
        row("monai-torch", (1 / 3, 0.1), core=None, halo=None, overlap=0.25, peak_mib=12.5),
    )
    write_rows(tmp_path / "deep" / ROWS, rows)
    assert read_rows(tmp_path / "deep" / ROWS) == rows


@pytest.mark.parametrize(
    "wrong", [{"seconds": []}, {"seconds": [0.0]}, {"kind": "other"}, {"surprise": 1}, {"seconds": [math.inf]}]
)
def test_a_row_checks_itself(wrong, tmp_path):
    text = {"format": "segbench bench 1", "rows": [row().model_dump(mode="json") | wrong]}
    (tmp_path / ROWS).write_text(json.dumps(text))
    with pytest.raises(InputError, match=ROWS):
        read_rows(tmp_path / ROWS)


# operations


def graph(nodes, inputs, outputs, **weights) -> bytes:
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
        for values in (inputs, outputs)
    ]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "test", *ends, constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def ones(*shape):
    return np.ones(shape, np.float32)


def test_operations_of_convolutions_are_counted_by_hand():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 6),
        helper.make_node("Conv", ["a", "v"], ["b"], pads=[1] * 6, group=4, strides=[2, 2, 2]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    made = graph(nodes, {"x": [1, 2, "z", "y", "x"]}, {"y": None}, w=ones(4, 2, 3, 3, 3), v=ones(8, 1, 3, 3, 3))
    # 2 operations x 27 taps x inputs x outputs x voxels; then 4 groups of one input and two outputs, at half the edge
    assert convolution_flops(made, {"x": (1, 2, 4, 4, 4)}) == 2 * 27 * 2 * 4 * 64 + 2 * 27 * 1 * 8 * 8
    assert convolution_flops(made, {"x": (1, 2, 8, 8, 8)}) == 8 * convolution_flops(made, {"x": (1, 2, 4, 4, 4)})


def test_what_a_transposed_convolution_crops_is_not_counted():
    cropped = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2, 2], pads=[3] * 6)
    made = graph([cropped], {"x": [1, 3, None, None, None]}, {"y": None}, w=ones(3, 2, 4, 4, 4))
    # kernel 4, stride 2: each of the 4^3 voxels that are left is made of 2^3 taps
    assert convolution_flops(made, {"x": (1, 3, 4, 4, 4)}) == 2 * 8 * 3 * 2 * 4**3
    whole_ = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2, 2])
    made = graph([whole_], {"x": [1, 3, None, None, None]}, {"y": None}, w=ones(3, 2, 4, 4, 4))
    assert convolution_flops(made, {"x": (1, 3, 4, 4, 4)}) == 2 * 64 * 3 * 2 * 4**3


def test_shapes_that_a_graph_computes_are_followed():
    nodes = [
        helper.make_node("Shape", ["x"], ["edge"], start=2, end=3),
        helper.make_node("Div", ["edge", "two"], ["half"]),
        helper.make_node("Concat", ["one", "sixteen", "half", "half", "half"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["folded"]),
        helper.make_node("Conv", ["folded", "w"], ["y"]),
    ]
    numbers = {"one": np.array([1]), "two": np.array([2]), "sixteen": np.array([16])}
    made = graph(nodes, {"x": [1, 2, "z", "y", "x"]}, {"y": None}, w=ones(1, 16, 1, 1, 1), **numbers)
    assert convolution_flops(made, {"x": (1, 2, 6, 6, 6)}) == 2 * 16 * 27


def test_an_open_shape_is_no_guess():
    made = graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": [1, 2, "z", "y", "x"]}, {"y": None},
                 w=ones(4, 2, 3, 3, 3))  # fmt: skip
    with pytest.raises(EngineError, match="cannot be counted"):
        convolution_flops(made, {})


@pytest.mark.parametrize("name", zoo.names())
def test_operations_of_every_zoo_model_are_counted(name):
    model = zoo.find(name)
    small, large = (pass_flops(model, tuple(n * m for m in model.card.input.multiple)) for n in (2, 4))
    assert 7.9 * small < large <= 8.1 * small


def test_operations_are_those_that_pytorch_counts():
    """Of a network without transposed convolutions: of these PyTorch counts what is cropped, too."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from segbench import nets

    model = zoo.find("vnet-sandia")
    network = nets.build(model.card.network.kind, **model.card.network.options).eval()
    columns = sum(site.channels for site in model.card.dropout)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, 16, 16, 24), torch.ones(1, columns))
    assert pass_flops(model, (16, 16, 24)) == counter.get_total_flops()


def test_the_peak_of_int8_is_computed_in_integers():
    import openvino as ov

    core = ov.Core()
    if "INT8" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("SKIPPED LOUDLY: this processor has no int8 instructions")
    graph = peak.plain_convolutions()
    exact, rounded = (
        core.compile_model(core.read_model(one), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for one in (graph, peak.rounded(graph))
    )
    notes = [node.get_rt_info() for node in rounded.get_runtime_model().get_ops()]
    kinds = [n["runtimePrecision"].astype(str) for n in notes if n["layerType"].astype(str) == "Convolution"]
    assert kinds == ["u8"] * peak.CHAIN
    image = np.abs(peak.features())
    assert 1e-4 < np.std(exact(image)[0] - rounded(image)[0]) < 0.5 * np.std(exact(image)[0])


# order


def test_every_round_has_every_contender_once_and_another_one_first():
    assert [rotated("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    called, shown = [], []

    def contender(name):
        return lambda: called.append(name) or float(len(called))

    seconds = interleaved({name: contender(name) for name in "abc"}, 3, shown.append)
    assert "".join(called) == "abcbcacab" == "".join(shown)
    assert seconds == {"a": (1.0, 6.0, 8.0), "b": (2.0, 4.0, 9.0), "c": (3.0, 5.0, 7.0)}


def test_all_of_the_work_is_timed():
    ticks = count(10.0, 0.5)
    clock = partial(next, ticks)
    assert whole(clock, clock)() == 1.0  # start, the work, end


def test_of_the_bare_engine_only_its_calls_are_timed(request_):
    scene = Scene(request_.model_copy(update={"size": 40}))
    now = [0.0]

    def bound(image, inner):
        now[0] += 1.0
        assert image.shape == (1, 1, *scene.grid.shape)

    class Image:
        shape = scene.image.shape

        def __getitem__(self, key):
            now[0] += 100.0  # reading takes time that is not the engine's
            return scene.image[key]

    lazy = type("Lazy", (), {"grid": scene.grid, "image": Image()})
    assert engine_seconds(lazy, bound, lambda: now[0]) == len(scene.grid) == 8


def test_a_run_goes_through_memory_warm_up_and_rounds(request_):
    steps, alone_ = [], []
    run(request_, lambda *step: steps.append(step), lambda _, key: alone_.append(key) or 1.0)
    names = [name for _, _, name in steps]
    assert [done for done, _, _ in steps] == list(range(len(steps)))
    assert {total for _, total, _ in steps} == {len(steps)}
    assert names[:3] == ["memory: segbench f32", "memory: engine f32", "memory: dense f32"]
    assert names[3:7] == [f"warm-up: {kind} f32" for kind in ("segbench", "engine", "dense", "peak")]
    assert names[7:] == [
        f"{k} f32" for k in ("segbench", "engine", "dense", "peak", "engine", "dense", "peak", "segbench")
    ]
    assert alone_ == [("segbench", "f32"), ("engine", "f32"), ("dense", "f32")]


# what is computed


def test_the_volume_is_a_pure_function_of_its_size():
    volume = synthetic(24)
    assert volume.shape == (24, 24, 24)
    assert volume.dtype == np.float32
    assert np.array_equal(volume, synthetic(24))
    assert 0.4 < np.mean(volume > 0) < 0.6


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "torch"])
def test_one_sample_a_run_is_the_masked_network(tiny, request_, engine):
    scene = Scene(request_)
    started = start(tiny, engine, threads=1, thin=False)
    one = OneSample(started, tiny, scene.grid.shape)
    image = np.ascontiguousarray(scene.image[None, None, :16, :16, :16])
    image = np.pad(image, [(0, 0), (0, 0), *((0, n - 16) for n in scene.grid.shape)], mode="edge")
    expected = start(tiny, "torch", threads=1).bind(scene.masks)(image)
    got = np.concatenate([one(image, scene.masks[t : t + 1]).copy() for t in range(len(scene.masks))])
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert np.ptp(got, axis=0).max() > 1e-2


def test_t_runs_compute_what_segbench_predicts(tiny, request_):
    scene = Scene(request_.model_copy(update={"size": 40}))
    engine = start(tiny, "onnxruntime", threads=1, thin=False)
    mean = mean_of_runs(scene, OneSample(engine, tiny, scene.grid.shape))
    expected = predict(scene.volume, tiny.card, scene.engine("f32"), 3).probability
    np.testing.assert_allclose(mean[0], expected, atol=1e-5)


def test_so_they_do_of_several_classes(several):
    scene = Scene(Request(zoo=str(several.path), **SMALL))
    engine = start(several, "onnxruntime", threads=1, thin=False)
    mean = mean_of_runs(scene, OneSample(engine, several, scene.grid.shape))
    expected = predict(scene.volume, several.card, scene.engine("f32"), 3).probabilities
    np.testing.assert_allclose(mean, expected, atol=1e-5)
    assert float(np.ptp(mean, axis=0).min()) > 0


def test_rows_say_what_was_measured(result, tiny):
    rows = {row.kind: row for row in result[0].rows}
    assert set(rows) == {"segbench", "engine", "dense", "peak", "onnxruntime"}
    for one in rows.values():
        assert len(one.seconds) == 2
        assert min(one.seconds) > 0
        assert (one.threads, one.model_hash, one.seed, one.size) == (1, tiny.hash, 0, 24)
        assert one.peak_mib == (None if one.kind == "peak" else 100.0)
        assert {"python", "numpy", "openvino", "onnx"} <= set(one.versions)
    assert (rows["segbench"].thin, rows["engine"].thin, rows["dense"].thin) == (True, True, False)
    assert (rows["segbench"].samples, rows["dense"].samples, rows["onnxruntime"].samples) == (3, 0, 3)
    assert rows["onnxruntime"].engine == "onnxruntime"
    assert rows["segbench"].core == (24, 24, 24)
    assert rows["segbench"].window == (32, 32, 32)
    assert rows["dense"].flops == pass_flops(tiny, (32, 32, 32))
    assert rows["peak"].flops == 4 * 2 * 27 * 4 * 4 * 8**3


def test_a_core_larger_than_the_volume_is_not_reported(tiny):
    scene = Scene(Request(zoo=str(tiny.path), **SMALL | {"size": 16}))
    assert build(scene, ("dense", "f32")).facts.core == (16, 16, 16)


def test_the_folder_holds_rows_page_table_and_chart(result):
    made, out = result
    assert {path.name for path in out.iterdir()} == {ROWS, PAGE, TABLE, CHART}
    assert read_rows(out / ROWS) == made.rows
    assert (out / CHART).read_bytes().startswith(b"\x89PNG")
    page = (out / PAGE).read_text()
    assert f"]({CHART})" in page
    assert "| onnxruntime, T runs | f32 |" in page
    lines = list(csv.reader((out / TABLE).read_text().splitlines()))
    assert lines[0][0] == "table"
    median = next(line for line in lines if line[0] == "segbench")[2]
    assert float(median) == summary.median(made.rows[0]), "unrounded"


def test_a_folder_is_written_whole_or_not_at_all(result, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    from segbench.bench.run import write

    def fails(figure, path, **_):
        path.write_bytes(b"half")
        raise RuntimeError("the disk")

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(RuntimeError):
        write(tmp_path, result[0])
    assert {path.name for path in tmp_path.iterdir()} <= {ROWS, PAGE, TABLE}


# memory


def test_memory_is_that_of_one_contender_alone(request_):
    held = np.ones(2**27, np.float64)  # 1 GiB that the child must not answer for
    found = peak_mib(request_, ("dense", "f32"))
    assert 50 < found < held.nbytes / 2**20
    assert 1024 < memory.own_peak_mib() <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + 1


def test_a_process_starts_nothing_but_its_contender(request_):
    wide = request_.model_copy(
        update={"against": ("monai", "onnxruntime"), "precisions": ("f32", "bf16"), "out": Path()}
    )
    assert alone(wide, ("segbench", "bf16")) == request_.model_copy(update={"precisions": ("bf16",)})
    theirs = alone(wide, ("monai-torch", "f32"))
    assert (theirs.engine, theirs.against, theirs.precisions) == ("torch", ("monai",), ("f32",))
    assert alone(wide, ("onnxruntime", "f32")).engine == "onnxruntime"


def test_a_process_that_dies_is_said(request_):
    with pytest.raises(EngineError, match=r"ended with 1: .*unknown model"):
        peak_mib(request_.model_copy(update={"zoo": "nobody"}), ("dense", "f32"))


# the command


@pytest.fixture
def bench(segbench, tiny, monkeypatch, tmp_path):
    """Runs `segbench bench` on the tiny model, small, without processes for memory, in a folder of its own."""
    from segbench.cli import bench as command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "run", partial(run, memory=measured))
    small = ("--zoo", tiny.path, "--size", 24, "--samples", 2, "--repeats", 1, "--threads", 1)
    return lambda *arguments: segbench("bench", *small, *arguments)


WRONG = {
    "--against nobody": "unknown contender 'nobody'",
    "--against onnxruntime,onnxruntime": "twice",
    "--size 8": "size is 8; it must be from 16 to 1024",
    "--size 100000": "from 16 to 1024",
    "--samples -1": "samples is -1",
    "--repeats 0": "repeats is 0",
    "--precision f8": "no precision 'f8'",
    "--precision f32,f8": "no precision 'f8'",
    "--precision ,": "no precision is named",
    "--engine onnxruntime --precision bf16": "no precision 'bf16'",
    "--engine fake": "nothing that could be timed",
    "--engine nobody": "unknown engine 'nobody'",
    "--zoo nobody": "unknown model 'nobody'",
    "--seed -1": "seed -1",
}


@pytest.mark.parametrize("line", WRONG)
def test_bad_input_is_one_line_before_anything_runs(line, bench, monkeypatch, tmp_path):
    def never(*_):
        raise AssertionError("something ran")

    monkeypatch.setattr("segbench.bench.run.build", never)
    code, out, err = bench(*line.split())
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert WRONG[line] in err


def test_an_unwritable_folder_is_said_before_anything_runs(bench, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("segbench.bench.run.build", lambda *_: pytest.fail("something ran"))
    code, _, err = bench("--out", tmp_path / "file" / "folder")
    assert code == 2
    assert len(err.strip().splitlines()) == 1


def test_without_monai_the_command_to_type_is_named(bench, monkeypatch):
    monkeypatch.setattr("segbench.bench.scene.find_spec", lambda name: None if name == "monai" else object())
    code, _, err = bench("--against", "monai")
    assert code == 2
    assert err == "segbench: --against monai needs MONAI and PyTorch: pip install 'segbench[bench]'\n"


def test_json_is_the_rows(bench, tmp_path):
    code, out, err = bench("--json", "--out", tmp_path)
    assert code == 0, err
    rows = tuple(BenchRow.model_validate(one) for one in json.loads(out))
    assert [one.kind for one in rows] == ["segbench", "engine", "dense", "peak"]
    assert read_rows(tmp_path / ROWS) == rows


def test_the_table_is_printed(bench):
    code, out, err = bench("--against", "onnxruntime")
    assert code == 0, err
    for words in (
        "engine alone",
        "one dense pass",
        "onnxruntime, T runs",
        "share of",
        "Against the peers",
        "synthetic",
    ):
        assert words in out
    assert len(read_rows(Path("runs/bench") / ROWS)) == 5


def test_without_samples_one_pass_is_timed_of_a_model_without_dropout_too(bench, tiny, tmp_path):
    code, out, err = bench("--samples", 0, "--against", "onnxruntime")
    assert code == 0, err
    assert "24^3 voxels, one pass without dropout, 1 thread" in out
    assert "not thinned" not in out
    rows = read_rows(Path("runs/bench") / ROWS)
    assert [(one.kind, one.samples) for one in rows] == [(k, 0) for k in ("segbench", "dense", "peak", "onnxruntime")]
    assert summary.overhead(rows, "f32") == pytest.approx(summary.ratio(rows[0], rows[1]) - 1)
    undropped = tmp_path / "undropped"
    restate(tiny.path, "undropped", "of tests", {}, undropped)
    card = tomllib.loads((undropped / zoo.CARD).read_text())
    (undropped / zoo.CARD).write_text(tomli_w.dumps(card | {"dropout": []}))
    code, _, err = bench("--zoo", undropped)
    assert (code, err.count("\n")) == (2, 1)
    assert "no dropout and no samples: time one pass of it with --samples 0" in err


def test_a_model_that_cannot_be_thinned_says_so(bench):
    code, out, err = bench("--engine", "torch")
    assert code == 0, err
    assert "not thinned: every sample runs the full width" in out
    assert "the peak is not measured: torch runs no ONNX graphs" in out


# MONAI


@pytest.mark.parametrize("name", ["tiny", "several"])
def test_the_mean_agrees_with_monai_on_the_same_masks(monai, name, request, tmp_path):
    model = request.getfixturevalue(name)
    request = Request(zoo=str(model.path), against=("monai",), out=tmp_path, **SMALL)
    made = run(request, memory=measured)
    rows = {row.kind: row for row in made.rows}
    assert set(rows) == {"segbench", "engine", "dense", "peak", "monai-torch", "monai-engine"}
    for kind in ("segbench", "monai-engine"):
        found = rows[kind].agreement
        assert found is not None
        assert found.largest < 1e-4
        assert found.within == 1.0 or found.largest < 1e-6
        assert found.standard_error > 1e-3
    assert rows["monai-torch"].agreement is None
    assert (rows["monai-torch"].engine, rows["monai-engine"].engine) == ("torch", "openvino")
    assert rows["monai-torch"].overlap == 0.25
    assert "Agreement with MONAI" in (tmp_path / PAGE).read_text()


def test_other_masks_do_not_agree(monai, tiny, request_):
    """What the test above would say if masks, calibration or weights were mixed up."""
    scene = Scene(request_)
    passes = monai.Passes(scene.image, tiny.card, monai.eager(tiny, scene.masks, 1))
    passes.run()
    engine = scene.engine("f32")
    same = monai.mean_of(engine.bind(scene.masks), scene.image, tiny.card)
    other = monai.mean_of(engine.bind(scene.masks[:2]), scene.image, tiny.card)
    plain = monai.mean_of(engine.bind(scene.masks), scene.image, tiny.card.model_copy(update={"calibration": None}))
    apart = [summary.compare(one, passes.mean, passes.squares, 3).largest for one in (same, other, plain)]
    assert apart[0] < 1e-4
    assert min(apart[1:]) > 1e-3


def test_passes_keep_mean_and_variance_of_their_samples(monai, tiny, request_):
    scene = Scene(request_)
    windows = monai.eager(tiny, scene.masks, 1)
    passes = monai.Passes(scene.image, tiny.card, windows)
    for _ in range(2):  # nothing is left of an earlier run
        passes.run()
    import torch

    with torch.inference_mode():
        samples = np.stack([monai.slide(scene.image, tiny.card, window).numpy() for window in windows])
    np.testing.assert_allclose(passes.mean, samples.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(passes.squares, samples.var(axis=0) * 3, atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 24, 24), (64, 64, 64), (65, 112, 161), (21, 70, 130)])
def test_windows_are_as_many_as_monai_lays(monai, tiny, shape):
    calls = []

    def window(x):
        calls.append(tuple(x.shape[2:]))
        return x.clone()  # MONAI weights it in place

    size = monai.roi(shape, tiny.card)
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    blended = monai.slide(image, tiny.card, window).numpy()
    assert set(calls) == {size}
    assert len(calls) == monai.count(shape, size)
    assert all(n % m == 0 for n, m in zip(size, tiny.card.input.multiple, strict=True))
    np.testing.assert_allclose(blended[0], image, atol=1e-5)


def test_a_volume_is_normalised_for_monai_as_for_segbench(request_):
    scene = Scene(request_)
    assert scene.image.shape == (24, 24, 24)
    assert abs(float(scene.image.mean())) < 0.1
    assert isinstance(scene.volume, Volume)


def test_what_peers_do_not_compute_is_refused_in_one_line():
    with pytest.raises(InputError, match="not the mean of its samples' probabilities") as caught:
        Scene(Request(zoo="matphase-battery", engine="fake"))
    assert "\n" not in str(caught.value)
