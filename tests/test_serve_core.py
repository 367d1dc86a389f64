"""Models, worker and service: answers are those of `segbench.load`, byte for byte, whatever goes on around them."""

import gc
import io
import json
import logging
import random
import shutil
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w
from conftest import blobs
from prometheus_client.parser import text_string_to_metric_families
from serving import FakeService

import segbench
from segbench.engines import fake
from segbench.errors import EngineError, InputError, UnknownNameError
from segbench.serve import logs, worker
from segbench.serve.bounds import Bounds
from segbench.serve.refusal import Refusal
from segbench.serve.request import Request, Service
from segbench.serve.service import Server
from segbench.serve.settings import Settings
from segbench.zoo import CARD, find

NAMES = {
    "labels": "labels",
    "probability": "probability",
    "entropy": "entropy",
    "mutual_information": "mutual",
    "samples": "kept",
    "probabilities": "probabilities",
}
SMALL = (4, 12, 12)


@pytest.fixture
def serve(request):
    """Starts servers of folders and stops them."""
    started = []

    def start(*paths, wait=True, **settings):
        given = {"engine": "fake", "samples": 2, "warmup": SMALL, "threads": 1, "drain_s": 20} | settings
        roots = tuple({path.parent for path in paths})
        server = Server(Settings(models=tuple(map(str, paths)), **{"roots": roots} | given))
        started.append(server)
        if wait:
            assert server.wait(60)
        return server

    yield start
    for server in started:
        server.drain()


@pytest.fixture(autouse=True)
def own_log():
    """The log goes where it went before."""
    before = logs.LOGGER.handlers[:], logs.LOGGER.level, logs.LOGGER.propagate
    yield
    logs.LOGGER.handlers[:], logs.LOGGER.level, logs.LOGGER.propagate = before


@pytest.fixture
def slow(monkeypatch):
    """Holds the fake engine until it is set; `slow.calls` are the shapes of what ran."""
    gate = threading.Event()
    gate.set()
    gate.calls, gate.broken = [], None
    fresh = fake.Fake.fresh

    def held(self, masks):
        run = fresh(self, masks)

        def later(image, *box):
            assert gate.wait(30)
            gate.calls.append(image.shape)
            if gate.broken is not None and gate.broken(image):
                raise RuntimeError("secret /path of the engine")
            return run(image, *box)

        return later

    monkeypatch.setattr(fake.Fake, "fresh", held)
    yield gate
    gate.set()


def ask(model, images=None, **more):
    images = blobs(SMALL)[None] if images is None else images
    return Request(model.card.name, images, **{"samples": 2} | more)


def copied(model, path, **changes):
    """A copy of a model whose card says something else."""
    shutil.copytree(model.path, path)
    told = model.card.model_dump(mode="json", exclude_none=True) | changes
    (path / CARD).write_text(tomli_w.dumps(told))
    return find(str(path))


def value(server, name, **labels):
    for family in text_string_to_metric_families(server.metrics().decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def same(answer, predictions, flat=False):
    """An answer holds exactly the bytes of these predictions."""
    for name, given in answer.outputs.items():
        for number, prediction in enumerate(predictions):
            expected = getattr(prediction, NAMES[name])
            expected = expected if name in ("samples", "probabilities") else expected[None]
            expected = expected[:, 0] if flat else expected
            assert given[number].shape == expected.shape
            assert given[number].dtype == expected.dtype
            assert given[number].tobytes() == expected.tobytes(), name


def test_the_fake_and_the_server_are_services(tiny, serve):
    stands: Service = FakeService()
    assert isinstance(stands, FakeService)
    for method in (
        "ready",
        "model_ready",
        "describe",
        "submit",
        "statistics",
        "index",
        "load",
        "unload",
        "metrics",
        "drain",
    ):
        assert callable(getattr(Server, method))
        assert callable(getattr(FakeService, method))
    stands.close()


def test_answers_are_those_of_load_however_they_are_batched(tiny, serve):
    """Tiles, shapes, seeds, samples, negatives, several images: shuffled, at once, against one after the other."""
    server = serve(tiny.path, engine="openvino", max_delay_ms=20, max_queue=200)
    alone = segbench.load(str(tiny.path), "openvino", threads=1)
    cases = []
    for number, shape in enumerate([(10, 20, 30), (26, 9, 9), (1, 40, 17), (10, 20, 30), SMALL]):
        for samples, seed in ((0, 0), (3, 0), (3, 7)):
            images = np.stack([blobs(shape, seed=10 * number + i) for i in range(1 + number % 2)])
            cases.append((images, samples, seed, number == 3, shape[0] == 1))
    random.Random(0).shuffle(cases)
    futures = [
        server.submit(
            ask(
                tiny,
                images,
                samples=samples,
                seed=seed,
                invert=invert,
                flat=flat,
                client=f"{number % 3}",
                outputs=("samples", "labels", "entropy", "probability", "mutual_information"),
            )
        )
        for number, (images, samples, seed, invert, flat) in enumerate(cases)
    ]
    for (images, samples, seed, invert, flat), future in zip(cases, futures, strict=True):
        answer = future.result(60)
        assert list(answer.outputs) == ["samples", "labels", "entropy", "probability", "mutual_information"]
        same(answer, [alone.predict(i, samples, seed, invert=invert, keep=64) for i in images], flat)
        assert answer.parameters["segbench_samples"] == samples
        assert answer.parameters["segbench_seed"] == seed
    assert server.statistics()[0]["execution_count"] < len(cases)  # they did share batches


def test_classes_beyond_two_have_probabilities(tiny3, serve):
    server = serve(tiny3.path)
    alone = segbench.load(str(tiny3.path), "fake")
    images = np.stack([blobs(SMALL), blobs(SMALL, 1)])
    answer = server.submit(ask(tiny3, images, outputs=("probabilities", "labels"))).result(30)
    assert answer.outputs["probabilities"].shape == (2, 3, *SMALL)
    same(answer, [alone.predict(image, 2) for image in images])


def test_a_second_network_is_asked_as_well():
    """The zoo's two networks: all that `segbench.load` puts together."""
    server = Server(Settings(models=("matphase-battery",), warmup=(1, 32, 32), samples=1, threads=1))
    try:
        assert server.wait(120)
        image = np.random.default_rng(0).standard_normal((1, 32, 32), dtype=np.float32)
        alone = segbench.load("matphase-battery", threads=1).predict(image, 1)
        answer = server.submit(Request("matphase-battery", image[None], samples=1)).result(60)
        same(answer, [alone])
        assert alone.doubted is not None
        assert "segbench_warnings" not in answer.parameters
    finally:
        server.drain()


def test_warnings_travel_with_the_answer(tiny, serve):
    """Dark balls look inverted; of two images the second is meant."""
    grid = np.indices((24, 64, 64)) % 16 - 8
    dark = np.float32(np.sqrt((grid**2).sum(axis=0)) > 6) + np.float32(0.01) * blobs((24, 64, 64))
    alone = segbench.load(str(tiny.path), "fake").predict(dark, 2)
    assert "contrast looks inverted" in alone.warnings[0]
    answer = serve(tiny.path).submit(ask(tiny, np.stack([-dark, dark]))).result(30)
    assert answer.parameters["segbench_warnings"] == alone.warnings[0].replace("array", "image 2")


def test_what_cannot_be_segmented_is_refused_and_harms_no_other(tiny, serve, slow):
    server = serve(tiny.path)
    good, bad = blobs(SMALL), np.full(SMALL, 3, np.float32)
    broken = good.copy()
    broken[1, 2, 3] = np.nan
    slow.clear()
    first = server.submit(ask(tiny))  # holds the worker, so that the others make one batch
    wait_for(lambda: value(server, "segbench_queue_requests") == 0)
    sent = [server.submit(ask(tiny, np.stack(each))) for each in ([good], [bad], [good, broken], [good, good])]
    slow.set()
    alone = segbench.load(str(tiny.path), "fake").predict(good, 2)
    same(first.result(30), [alone])
    same(sent[0].result(30), [alone])
    same(sent[3].result(30), [alone, alone])
    for future, words in ((sent[1], "image 1: constant image"), (sent[2], r"image 2: 1 voxels are NaN.*\(1, 2, 3\)")):
        with pytest.raises(Refusal, match=words) as refusal:
            future.result(30)
        assert refusal.value.kind == "invalid"
    assert value(server, "segbench_requests_total", outcome="invalid") == 2


@pytest.mark.parametrize(
    ("kind", "words", "changes"),
    [
        ("unknown", "no model 'tiny' version '9' is loaded; there are: tiny 0.1.0", {"version": "9"}),
        ("invalid", "no output 'depth'; model 'tiny' has labels", {"outputs": ("labels", "depth")}),
        ("invalid", "no output 'probabilities'", {"outputs": ("probabilities",)}),
        ("invalid", "asked for twice", {"outputs": ("labels", "labels")}),
        ("invalid", "segbench_samples is 65; the server takes 0 to 64", {"samples": 65}),
        ("invalid", "segbench_samples is -1", {"samples": -1}),
        ("invalid", "segbench_seed is -1", {"seed": -1}),
        ("invalid", "segbench_seed is 2147483648", {"seed": 2**31}),
        ("invalid", r"\[N, 1, Y, X\] have one slice", {"flat": True}),
        ("invalid", "float32", {"images": np.zeros((1, 2, 3, 4))}),
        ("invalid", "float32", {"images": np.zeros((1, 3, 4), np.float32)}),
        ("invalid", "float32", {"images": np.zeros((0, 3, 4, 5), np.float32)}),
        ("too large", "bytes of images", {"images": np.zeros((1, 2**19, 1, 1), np.float32)}),
        ("too large", "the answer has", {"images": np.zeros((1, 25, 100, 100), np.float32)}),
    ],
)
def test_refused_at_once(tiny, serve, kind, words, changes):
    server = serve(tiny.path, max_request_mib=1, max_answer_mib=2)
    with pytest.raises(Refusal, match=words) as refusal:
        server.submit(ask(tiny, **changes))
    assert refusal.value.kind == kind
    assert value(server, "segbench_requests_total", outcome=kind) == 1


def test_an_engine_that_fails_leaves_a_server_that_lives(tiny, serve, slow):
    server = serve(tiny.path)
    stream = io.StringIO()
    logs.to_stream(stream)
    # normalised, an image with one hot voxel is told from the others
    hot = blobs(SMALL)
    hot[0, 0, 0] = 1e6
    slow.broken = lambda image: image.max() > 15
    slow.clear()
    first = server.submit(ask(tiny))
    wait_for(lambda: value(server, "segbench_queue_requests") == 0)
    bad, good = server.submit(ask(tiny, hot[None], client="a")), server.submit(ask(tiny, client="b"))
    slow.set()
    assert first.result(30)
    same(good.result(30), [segbench.load(str(tiny.path), "fake").predict(blobs(SMALL), 2)])
    with pytest.raises(Refusal) as refusal:
        bad.result(30)
    assert refusal.value.kind == "internal"
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert server.submit(ask(tiny)).result(30)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    [failed] = [line for line in lines if line["event"] == "failed"]
    assert failed["request"] in str(refusal.value)
    assert "RuntimeError: secret /path" in failed["traceback"]


def test_logs_are_lines_of_json_whatever_clients_write(tiny, serve):
    server = serve(tiny.path)
    stream = io.StringIO()
    logs.to_stream(stream)
    evil = 'x"}\n{"event": "forged"}'
    server.submit(ask(tiny, id=evil, client="me")).result(30)
    with pytest.raises(Refusal):
        server.submit(Request(evil * 100, blobs(SMALL)[None]))
    done, refused = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (done["event"], done["outcome"], done["id"], done["client"]) == ("request", "ok", evil, "me")
    assert done["total_s"] >= done["queue_s"] >= 0
    assert refused["outcome"] == "unknown"
    assert len(refused["model"]) < 250
    assert logging.getLogger().handlers != logs.LOGGER.handlers


def test_a_full_queue_is_busy_and_what_was_accepted_is_answered(tiny, serve, slow):
    server = serve(tiny.path, max_queue=3)
    slow.clear()
    running = server.submit(ask(tiny))
    wait_for(lambda: value(server, "segbench_queue_requests") == 0)
    waiting = [server.submit(ask(tiny)) for _ in range(3)]
    with pytest.raises(Refusal) as refusal:
        server.submit(ask(tiny))
    assert refusal.value.kind == "busy"
    assert refusal.value.retry_after > 0
    assert value(server, "segbench_queue_requests") == 3
    assert value(server, "segbench_queue_bytes") == 3 * 4 * np.prod(SMALL)
    assert waiting[1].cancel()
    slow.set()
    for future in (running, waiting[0], waiting[2]):
        assert future.result(30)
    assert value(server, "segbench_requests_total", outcome="cancelled") == 1
    assert value(server, "segbench_requests_total", outcome="busy") == 1
    assert value(server, "segbench_requests_total", outcome="ok") == 3
    assert len(slow.calls) == 1 + 3  # the warm-up and three requests


def test_deadlines_count_while_waiting_and_while_running(tiny, serve, slow, monkeypatch):
    server, ahead = serve(tiny.path, timeout_s=100_000), [0.0]
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0]))
    slow.clear()
    large = blobs((60, 30, 30))[None]  # several tiles
    running = server.submit(ask(tiny, large, deadline=time.monotonic() + 600))
    wait_for(running.running)
    waiting = server.submit(ask(tiny, deadline=time.monotonic() + 0.1))
    for_ever = server.submit(ask(tiny))
    with pytest.raises(Refusal, match="waiting") as refusal:
        waiting.result(30)  # though the worker is held
    assert refusal.value.kind == "late"
    ahead[0] = 1000.0
    slow.set()
    with pytest.raises(Refusal, match="computed") as refusal:
        running.result(30)
    assert refusal.value.kind == "late"
    assert for_ever.result(30)
    assert len(slow.calls) < 1 + len(segbench.predict.tiles(tiny.card, large.shape[1:])) + 1


def test_what_nobody_waits_for_any_more_is_not_computed_to_its_end(tiny, serve, slow):
    server = serve(tiny.path)
    slow.clear()
    large = blobs((60, 30, 30))[None]
    future = server.submit(ask(tiny, large))
    wait_for(future.running)
    assert not future.cancel()
    slow.set()
    with pytest.raises(Refusal, match="nobody waits") as refusal:
        future.result(30)
    assert refusal.value.kind == "cancelled"
    assert len(slow.calls) < 1 + len(segbench.predict.tiles(tiny.card, large.shape[1:]))
    assert value(server, "segbench_requests_total", outcome="cancelled") == 1
    assert server.submit(ask(tiny)).result(30)


def test_a_request_of_many_images_ends_with_the_first_that_is_refused(tiny, serve, monkeypatch):
    made = []

    class Counted(worker.Case):
        def __init__(self, *given):
            made.append(given)
            super().__init__(*given)

    server = serve(tiny.path)
    monkeypatch.setattr(worker, "Case", Counted)
    with pytest.raises(Refusal, match="image 1: constant"):
        server.submit(ask(tiny, np.zeros((5000, 1, 1, 2), np.float32))).result(30)
    assert server.submit(ask(tiny)).result(30)  # the other one is over
    assert len(made) < 10


def test_each_is_told_its_own_seed_where_it_changes_nothing(tiny, serve, slow):
    server = serve(tiny.path)
    slow.clear()
    first = server.submit(ask(tiny))
    wait_for(first.running)
    sent = [server.submit(ask(tiny, samples=0, seed=seed)) for seed in (5, 6)]
    slow.set()
    assert [future.result(30).parameters["segbench_seed"] for future in sent] == [5, 6]
    assert server.statistics()[0]["execution_count"] == 2  # in one batch


def test_nothing_of_a_request_is_held_once_it_has_ended(tiny, serve):
    """Not even until Python looks for circles: images and answers are large, and few objects."""
    server = serve(tiny.path)

    def ended(**changes):
        images = np.stack([blobs(SMALL)])
        images[0, 0, 0, 0] += changes.pop("more", 0.0)
        future = server.submit(ask(tiny, images, **changes))
        wait_for(future.done)
        return weakref.ref(images), weakref.ref(future)

    gc.collect()
    gc.disable()
    try:
        left = [ended(), ended(more=np.nan), ended(deadline=0.0)]
        wait_for(lambda: all(ref() is None for each in left for ref in each))
    finally:
        gc.enable()


def test_metrics_and_statistics_count_the_same(tiny, serve):
    server = serve(tiny.path)
    for seed in (0, 0, 1):
        server.submit(ask(tiny, np.stack([blobs(SMALL)] * 2), seed=seed)).result(30)
    voxels = 3 * 2 * np.prod(SMALL)
    assert value(server, "segbench_voxels_total", model="tiny") == voxels
    assert value(server, "segbench_requests_total", model="tiny", version="0.1.0", outcome="ok") == 3
    assert value(server, "segbench_batch_images_sum") == 6
    # warmed up with seed 0, so only seed 1 was new
    assert value(server, "segbench_bound_total", model="tiny", result="hit") == 2
    assert value(server, "segbench_bound_total", model="tiny", result="compiled") == 2
    assert value(server, "segbench_engine_info", model="tiny", engine="fake", device="none", threads="1") == 1
    assert value(server, "segbench_ready") == 1
    for name in ("queue", "compute", "request"):
        assert value(server, f"segbench_{name}_seconds_count", model="tiny") == 3
    [told] = server.statistics("tiny")
    assert (told["name"], told["version"], told["inference_count"], told["execution_count"]) == ("tiny", "0.1.0", 6, 3)
    parts = told["inference_stats"]
    assert {part: each["count"] for part, each in parts.items()} == {
        "success": 3, "fail": 0, "queue": 3, "compute_input": 3, "compute_infer": 3, "compute_output": 3,
        "cache_hit": 0, "cache_miss": 0,
    }  # fmt: skip
    assert parts["success"]["ns"] >= parts["compute_infer"]["ns"] > 0
    assert told["batch_stats"][0]["batch_size"] == 2


def test_statistics_are_what_tritonclient_reads(tiny, serve):
    json_format = pytest.importorskip("google.protobuf.json_format")
    triton = pytest.importorskip("tritonclient.grpc.service_pb2")
    server = serve(tiny.path)
    server.submit(ask(tiny)).result(30)
    read = json_format.ParseDict({"model_stats": server.statistics()}, triton.ModelStatisticsResponse())
    assert read.model_stats[0].inference_stats.success.count == 1


def test_networks_of_a_few_seeds_stay_and_no_more(tiny):
    bound, uses = [], []

    class Engine(fake.Fake):
        def fresh(self, masks):
            bound.append(masks)
            return super().fresh(masks)

    kept = Bounds(tiny.card, Engine(tiny, "f32", None, "cpu", None), 2, uses.append)
    one, other = (16, 16, 16), (8, 16, 16)
    for seed in (0, 1, 0, 1, 0):  # two seeds in turn
        kept.get(4, seed, one)
    assert (len(bound), uses) == (2, [False, False, True, True, True])
    assert kept.get(0, 5, one) is kept.get(0, 6, one)  # without samples a seed changes nothing
    assert len(bound) == 3
    assert kept.get(4, 0, one) is not kept.get(4, 0, other)  # a shape counts as well
    assert len(kept) == 2


def test_an_engine_remembers_what_it_bound_and_not_what_it_was_asked_afresh(tiny):
    engine = segbench.load(str(tiny.path), "onnxruntime", threads=1).engine
    masks = segbench.predict.sample_masks(tiny.card, 2, 0)
    assert engine.bind(masks) is engine.bind(masks)
    assert engine.fresh(masks) is not engine.fresh(masks)
    assert engine.fresh(masks) is not engine.bind(masks)


def test_kept_labels_are_those_of_each_sample(tiny):
    found = segbench.load(str(tiny.path), "fake").predict(blobs((30, 30, 30)), 5, keep=3)
    assert found.kept.shape == (3, 30, 30, 30)
    np.testing.assert_allclose(found.kept.mean(axis=(1, 2, 3)), found.shares[:3], rtol=1e-12)
    assert len(set(found.shares[:3])) == 3


def test_several_versions_and_the_newest_answers(tiny, serve, tmp_path):
    old = copied(tiny, tmp_path / "old", version="0.9.0")
    new = copied(tiny, tmp_path / "new", version="0.10.0", classes=["pore", "solid"])
    server = serve(old.path, new.path)
    assert server.describe("tiny").versions == ("0.9.0", "0.10.0")
    assert server.describe("tiny").version == server.submit(ask(tiny)).result(30).version == "0.10.0"
    assert server.submit(ask(tiny, version="0.9.0")).result(30).version == "0.9.0"
    assert [each["version"] for each in server.statistics("tiny")] == ["0.9.0", "0.10.0"]
    described = server.describe("tiny", "0.9.0")
    assert described.version == "0.9.0"
    assert [tensor.name for tensor in described.outputs if not tensor.optional] == list(NAMES)[:4]
    with pytest.raises(InputError, match="given twice"):
        Server(Settings(models=(str(old.path), str(copied(old, tmp_path / "again").path)), roots=(tmp_path,)))


def test_only_what_lies_below_a_root_is_read(tiny, tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    copied(tiny, outside)
    (root / "link").symlink_to(outside)
    shutil.copytree(tiny.path, root / "inner")
    (root / "inner" / "stolen").symlink_to("/etc/hostname")
    for name in (str(outside), "link", str(root / ".." / "outside"), "inner"):
        with pytest.raises(InputError, match="below the roots"):
            Server(Settings(models=(name,), roots=(root,)))
    with pytest.raises(UnknownNameError):
        Server(Settings(models=("nothing",), roots=(root,)))


def test_clients_load_by_name_and_only_where_they_may(tiny, serve, tmp_path):
    other = copied(tiny, tmp_path / "root" / "other", name="other")
    server = serve(tiny.path, roots=(tiny.path.parent, tmp_path / "root"))
    with pytest.raises(Refusal, match="setting 'control'") as refusal:
        server.load("other")
    assert refusal.value.kind == "forbidden"
    server = serve(tiny.path, roots=(tiny.path.parent, tmp_path / "root"), control=True)
    assert ("other", "UNAVAILABLE") in [(each.name, each.state) for each in server.index()]
    for evil in ("../outside", "/etc", "..", "", "a\nb", "x" * 1000, str(other.path)):
        with pytest.raises(Refusal) as refusal:
            server.load(evil)
        assert refusal.value.kind == "unknown"
        assert "\n" not in str(refusal.value)
    broken = other.path / other.card.files.weights.path
    intact = broken.read_bytes()
    broken.write_bytes(b"")
    with pytest.raises(Refusal, match="could not be loaded"):
        server.load("other")
    assert server.ready()  # that is no matter of those who started it
    broken.write_bytes(intact)
    server.load("other")
    assert server.submit(ask(other)).result(30).model == "other"
    server.unload("other")
    assert not server.model_ready("other")
    assert server.ready()  # nobody asks for it any more
    with pytest.raises(Refusal, match="no model 'other' is loaded"):
        server.submit(ask(other))
    assert value(server, "segbench_engine_info", model="other") is None
    server.load("other")
    assert server.submit(ask(other)).result(30).model == "other"


def test_what_the_index_lists_is_what_can_be_loaded(tiny, serve, tmp_path):
    root = tmp_path / "root"
    for version in ("0.9", "0.10", "0.2"):
        copied(tiny, root / f"folder-{version}", name="other", version=version)
    (root / "loop").mkdir()
    (root / "loop" / "itself").symlink_to("itself")
    server = serve(tiny.path, roots=(tiny.path.parent, root), control=True)
    assert [each.version for each in server.index() if each.name == "other"] == ["0.2", "0.9", "0.10"]
    for _ in range(2):
        server.load("other")
        assert server.describe("other").versions == ("0.10",)
    with pytest.raises(Refusal) as refusal:
        server.load("folder-0.9")
    assert refusal.value.kind == "unknown"


def test_a_newer_version_is_loaded_beside_the_one_that_answers(tiny, serve, tmp_path):
    root = tmp_path / "root"
    first = copied(tiny, root / "first", version="0.9.0")
    server = serve(first.path, roots=(root,), control=True)
    copied(tiny, root / "older", version="0.8.0")
    server.load("tiny")
    assert server.describe("tiny").versions == ("0.9.0",)
    newer = copied(tiny, root / "newer", version="0.10.0")
    weights = newer.path / newer.card.files.weights.path
    intact = weights.read_bytes()
    weights.write_bytes(b"")
    with pytest.raises(Refusal, match="could not be loaded"):
        server.load("tiny")
    assert server.submit(ask(tiny)).result(30).version == "0.9.0"
    assert server.ready()
    weights.write_bytes(intact)
    for _ in range(2):
        server.load("tiny")
        assert server.describe("tiny").versions == ("0.9.0", "0.10.0")
    assert server.submit(ask(tiny)).result(30).version == "0.10.0"
    assert server.submit(ask(tiny, version="0.9.0")).result(30).version == "0.9.0"
    server.unload("tiny")
    assert not server.model_ready("tiny")


def test_a_reload_reads_below_the_roots_as_well(tiny, serve, tmp_path):
    model = copied(tiny, tmp_path / "root" / "model")
    server = serve(model.path, control=True)
    outside = tmp_path / "outside.toml"
    (model.path / CARD).rename(outside)
    (model.path / CARD).symlink_to(outside)
    with pytest.raises(Refusal, match="could not be loaded"):
        server.load("tiny")
    assert server.submit(ask(tiny)).result(30)


@pytest.mark.parametrize(
    "given", [{"samples": 65}, {"drain_s": float("inf")}, {"timeout_s": float("inf")}, {"warmup": (0, 8, 8)}]
)
def test_settings_that_no_server_can_keep_are_refused(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        Settings(**given)


def test_a_model_that_cannot_be_loaded_is_told_without_paths(tiny, serve, tmp_path):
    broken = copied(tiny, tmp_path / "broken")
    server = serve(broken.path, control=True)
    (broken.path / broken.card.files.weights.path).write_bytes(b"")
    with pytest.raises(Refusal) as refusal:
        server.load("tiny")
    assert str(tmp_path) not in str(refusal.value)
    assert server.submit(ask(tiny)).result(30)  # the old one goes on
    late = serve(tiny.path, wait=False, engine="torch", precision="f64")
    with pytest.raises(EngineError, match="model 'tiny' could not be loaded"):
        late.wait(60)
    assert not late.ready()
    assert not late.model_ready("tiny")
    [listed] = [each for each in late.index() if each.name == "tiny"]
    assert (listed.state, listed.reason) == ("UNAVAILABLE", "it could not be loaded; the server's log says why")


def test_not_ready_before_the_warm_up_has_ended(tiny, serve, slow):
    slow.clear()
    server = serve(tiny.path, wait=False)
    [listed] = [each for each in server.index() if each.name == "tiny"]
    assert listed.state == "LOADING"
    assert not server.ready()
    assert not server.model_ready("tiny")
    with pytest.raises(Refusal, match="being loaded") as refusal:
        server.submit(ask(tiny))
    assert refusal.value.kind == "busy"
    slow.set()
    assert server.wait(30)
    assert slow.calls


def test_reload_under_load_loses_nothing(tiny, serve, tmp_path):
    """Clients in closed loops while the folder changes its version and is loaded again and again."""
    model = copied(tiny, tmp_path / "model", version="1")
    server = serve(model.path, control=True, max_queue=100)
    expected = segbench.load(str(tiny.path), "fake").predict(blobs(SMALL), 2)
    stop, seen, wrong = threading.Event(), set(), []

    def client(name):
        while not stop.is_set():
            try:
                answer = server.submit(ask(tiny, client=name)).result(30)
                same(answer, [expected])
                seen.add(answer.version)
            except BaseException as error:
                wrong.append(error)

    clients = [threading.Thread(target=client, args=(f"{i}",)) for i in range(4)]
    for each in clients:
        each.start()
    wait_for(lambda: seen or wrong)
    for version in ("2", "3", "4"):
        told = model.card.model_dump(mode="json", exclude_none=True) | {"version": version}
        (model.path / CARD).write_text(tomli_w.dumps(told))
        server.load("tiny")
        assert server.describe("tiny").versions == (version,)
        wait_for(lambda v=version: v in seen or wrong)
    stop.set()
    for each in clients:
        each.join(30)
    assert not wrong
    assert seen == {"1", "2", "3", "4"}


def test_unload_waits_for_what_was_accepted(tiny, serve, slow):
    server = serve(tiny.path, control=True)
    slow.clear()
    future = server.submit(ask(tiny))
    unload = threading.Thread(target=server.unload, args=("tiny",))
    unload.start()
    wait_for(lambda: any(each.state == "UNLOADING" for each in server.index()))
    with pytest.raises(Refusal):
        server.submit(ask(tiny))
    assert unload.is_alive()
    slow.set()
    assert future.result(30)
    unload.join(30)
    assert not unload.is_alive()


def test_drain_answers_what_was_accepted_and_takes_no_more(tiny, serve, slow):
    server = serve(tiny.path)
    slow.clear()
    futures = [server.submit(ask(tiny, seed=seed)) for seed in range(4)]
    done = []
    drain = threading.Thread(target=lambda: done.append(server.drain()))
    drain.start()
    wait_for(lambda: not server.ready())
    with pytest.raises(Refusal, match="stopping") as refusal:
        server.submit(ask(tiny))
    assert refusal.value.kind == "busy"
    slow.set()
    drain.join(30)
    assert done == [True]
    assert all(future.done() and future.exception() is None for future in futures)


def test_drain_ends_in_its_time(tiny, serve, slow):
    server = serve(tiny.path, drain_s=0.2)
    slow.clear()
    running = server.submit(ask(tiny))
    wait_for(lambda: value(server, "segbench_queue_requests") == 0)
    waiting = server.submit(ask(tiny))
    assert not server.drain()
    with pytest.raises(Refusal, match="stopped before"):
        waiting.result(5)
    slow.set()
    assert running.result(30)
