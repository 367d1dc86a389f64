"""`segbench verify`: an artifact passes, and each way of damaging it fails with a line that says how."""

import json
import re
import shutil
import tomllib

import numpy as np
import onnx
import pytest
import tomli_w
from onnx import numpy_helper

import segbench as package
from segbench.engines import start
from segbench.errors import EngineError, InputError
from segbench.export import accuracy, runners, trial
from segbench.export.artifact import make
from segbench.export.parity import compare
from segbench.export.profile import Tolerance
from segbench.export.runners import NotHereError
from segbench.export.verify import verify
from segbench.io import file_sha256, write_tiff
from segbench.masks import masks
from segbench.predict import said
from segbench.recipe import read_json
from segbench.zoo import find
from segbench.zoo.artifact import ARTIFACT, RECORD, Artifact, Part, Record
from segbench.zoo.reference import read_reference, write_reference

KINDS = ("masked", "deterministic", "seeded", "aggregated")


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "tiny-onnx"
    make(tiny, "onnx", out)
    keep(out, path="masked.onnx")
    return out


@pytest.fixture
def artifact(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "artifact")


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path_factory):
    """Volumes of 32^3, made once."""
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(accuracy, "EDGE", 32)
    monkeypatch.setattr(accuracy, "DOMAINS_SEEN", 1)


def keep(folder, **wanted):
    """Leaves the artifact those parts that fit."""
    described = read_json(folder / ARTIFACT, Artifact)
    parts = tuple(p for p in described.parts if all(getattr(p, key) == value for key, value in wanted.items()))
    describe(folder, parts=parts)


def describe(folder, **update):
    """Rewrites artifact.json, with the hashes of the files as they are now."""
    described = read_json(folder / ARTIFACT, Artifact)
    files = {path: file_sha256(folder / path) for path in described.files}
    described = described.model_copy(update={"files": files, **update})
    (folder / ARTIFACT).write_text(described.model_dump_json())


def failed(record):
    return {check.name: check.said for check in record.checks if check.status == "failed"}


def test_an_export_passes_and_the_record_says_what_was_done(artifact):
    record = verify(artifact)
    assert record.passed
    assert read_json(artifact / RECORD, Record) == record
    assert record.artifact == file_sha256(artifact / ARTIFACT)
    passed = [check.name for check in record.checks if check.status == "passed" and check.name != "lint"]
    whole = ["files", "card", "normalisation", "calibration", "masks"]
    assert passed == [*whole, "outputs", "repeat", "liveness", "accuracy"]
    numbers = {key: value for check in record.checks for key, value in check.numbers.items()}
    assert numbers["logits_max"] < 1e-5
    assert 0 < numbers["accuracy"] < 1
    assert numbers["accuracy"] == numbers["accuracy_reference"]
    assert numbers["seeds_differ_by"] > 1e-3
    assert "onnxruntime" in record.versions


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_runtimes_agree(artifact, runtime):
    describe(artifact, parts=(Part(kind="masked", runtime=runtime, path="masked.onnx"),))
    assert verify(artifact, scored=False).passed


def change_a_weight(folder):
    model = onnx.load(folder / "masked.onnx")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "up.0.second.conv.weight")
    value = numpy_helper.to_array(weight).copy()
    value.flat[0] += 0.01
    weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    onnx.save(model, folder / "masked.onnx")


def freeze(folder):
    """The masks of sample 0 as a constant, whatever is fed."""
    model, reference = onnx.load(folder / "masked.onnx"), read_reference(folder / "reference.npz")
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "masks":
                node.input[i] = "frozen"
    frozen = np.repeat(reference.masks[:1], 3, axis=0)
    model.graph.initializer.append(numpy_helper.from_array(frozen, "frozen"))
    onnx.save(model, folder / "masked.onnx")


def other_normalisation(folder):
    change_card(folder, lambda card: card["input"]["normalisation"].update(clip_percentiles=[20.0, 80.0]))


def other_calibration(folder):
    change_card(folder, lambda card: card["calibration"].update(scale=2.0))


def change_card(folder, change):
    path = folder / "model" / "card.toml"
    card = tomllib.loads(path.read_text())
    change(card)
    path.write_text(tomli_w.dumps(card))


DAMAGES = {
    change_a_weight: ("outputs", r"differs: logits within .* ppm outside .*; worst \[\d, 0, \d+, \d+, \d+\]: "),
    freeze: ("liveness", "dropout is dead or frozen: two seeds give the same logits .* and two samples give the same"),
    other_normalisation: (
        "normalisation",
        r"the card's normalisation \(mode = z-score, clip_percentiles = \(20.0, 80.0\), .*worst \[",
    ),
    other_calibration: ("calibration", r"the card's calibration is not the model's: mean within .*worst \["),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_that_the_hashes_do_not_show_fails_with_a_line_that_says_how(artifact, damage, segbench):
    damage(artifact)
    describe(artifact)
    name, line = DAMAGES[damage]
    code, out, _ = segbench("verify", artifact, "--no-accuracy", "--json")
    record = json.loads(out)
    said = {check["name"]: check["said"] for check in record["checks"] if check["status"] == "failed"}
    assert (code, record["passed"]) == (1, False)
    assert "files" not in said
    assert re.search(line, said[name])
    code, out, _ = segbench("verify", artifact, "--no-accuracy")
    assert code == 1
    assert "FAILED" in out.splitlines()[-1]


def test_a_card_that_is_not_the_exported_one_fails_even_where_its_files_are_as_pinned(artifact):
    change_card(artifact, lambda card: card.update(threshold=0.4))
    describe(artifact)
    assert set(failed(verify(artifact, scored=False))) == {"card"}


def test_what_was_changed_in_a_card_of_the_zoo_is_named(tmp_path, monkeypatch):
    model = find("vnet-battery")
    shutil.copytree(model.path, tmp_path / "model")
    change_card(tmp_path, lambda card: card["input"]["normalisation"].update(clip_percentiles=[0.0, 100.0]))
    from segbench.export import checks

    found = checks.card(checks.read_card(tmp_path / "model"), model.hash)
    assert found.status == "failed"
    assert "input.normalisation.clip_percentiles is [0.0, 100.0], was [" in found.said


@pytest.mark.parametrize("path", ["masked.onnx", "model/model.onnx", "reference.npz"])
def test_a_changed_or_missing_file_is_named(artifact, path):
    content = (artifact / path).read_bytes()
    (artifact / path).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    if path != "reference.npz":
        assert f"{path} was changed" in failed(verify(artifact, scored=False))["files"]
    (artifact / path).unlink()
    if path == "reference.npz":
        with pytest.raises(InputError, match=r"reference\.npz: cannot be read"):
            verify(artifact)
    else:
        assert f"{path} is missing" in failed(verify(artifact, scored=False))["files"]


def test_what_is_no_artifact_is_unusable(segbench, tmp_path, tiny):
    for folder in (tmp_path, tmp_path / "nowhere", tiny.path):
        code, _, err = segbench("verify", folder)
        assert (code, "no artifact" in err) == (2, True)


class Fake:
    """Runs every kind of part in PyTorch, with a fault where one is asked for."""

    faults = frozenset()
    calls = 0

    def __init__(self, folder, part, device):
        if "no card" in self.faults:
            raise NotHereError("no card")
        self.model, self.kind = find(str(folder / "model")), part.kind
        self.seen = read_reference(folder / "reference.npz").image
        self.engine = start(self.model, "torch", threads=1)

    def drawn(self, inputs):
        sites = self.model.card.dropout
        if self.kind == "masked":
            return inputs["masks"]
        seed = 0 if "seed" in self.faults else int(inputs["seed"][0])
        return masks(sites, seed % 2**30 if "overflow" in self.faults else seed, inputs["samples"].tolist())

    def __call__(self, inputs):
        image = inputs["image"]
        if self.kind == "deterministic":
            return {"logits": self.engine.bind(np.ones((1, 12), np.float32))(image)}
        drawn = self.drawn(inputs)
        if "frozen" in self.faults:
            drawn = np.repeat(drawn[:1], len(drawn), axis=0)
        logits = self.engine.bind(drawn)(image)
        if "drift" in self.faults:
            Fake.calls += 1
            logits = logits + np.float32(1e-6 * Fake.calls)
        if "blind" in self.faults and not np.array_equal(image, self.seen):
            logits = logits + np.float32(50)
        if self.kind == "aggregated":
            found = said(logits, self.model.card)
            maps = {"mean": found.probability, "entropy": found.entropy, "mutual_information": found.mutual}
            outputs = {name: value[None, None] for name, value in maps.items()}
        else:
            outputs = {"logits": logits}
        if self.kind in ("seeded", "aggregated"):
            outputs["masks"] = drawn
        if "short" in self.faults:
            outputs = {name: value[..., :-1] for name, value in outputs.items()}
        return outputs


@pytest.fixture
def fake(artifact, monkeypatch):
    """An artifact of one part of a kind, run by `Fake` with faults."""
    monkeypatch.setitem(runners.RUNNERS, "fake", f"{__name__}:Fake")
    monkeypatch.setattr(trial, "lint", lambda *part: [])  # it knows no such runtime

    def made(kind, *faults, **options):
        monkeypatch.setattr(Fake, "faults", frozenset(faults))
        describe(artifact, parts=(Part(kind=kind, runtime="fake", path="masked.onnx"),), device="any")
        options.setdefault("scored", False)
        return verify(artifact, **options)

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_passes(fake, kind):
    record = fake(kind, scored=True)
    assert not failed(record)
    assert record.passed
    (scored,) = [check for check in record.checks if check.name == "accuracy"]
    assert scored.status == "passed"
    assert abs(scored.numbers["nll"] - scored.numbers["nll_reference"]) < 1e-5


@pytest.mark.parametrize(
    ("kind", "fault", "check", "line"),
    [
        ("masked", "frozen", "liveness", "two samples give the same logits"),
        ("seeded", "frozen", "masks", "drawn in the graph differ in"),
        ("seeded", "seed", "masks", "drawn in the graph differ in"),
        ("seeded", "seed", "liveness", "two seeds give the same logits"),
        ("aggregated", "seed", "liveness", "two seeds give the same mean"),
        ("aggregated", "overflow", "masks", "at the largest seed differ"),
        ("seeded", "overflow", "masks", "at the largest seed differ"),
        ("masked", "drift", "repeat", "equal inputs gave another logits"),
        ("aggregated", "short", "outputs", "its mean has shape"),
    ],
)
def test_each_fault_is_found(fake, kind, fault, check, line):
    record = fake(kind, fault)
    assert not record.passed
    assert line in failed(record)[check]


def test_a_part_that_is_right_on_the_reference_and_wrong_elsewhere_fails_on_accuracy(fake):
    found = failed(fake("masked", "blind", scored=True))
    assert set(found) == {"accuracy"}
    assert "accuracy may fall by 0.0001" in found["accuracy"]


def test_what_cannot_run_here_is_said_and_does_not_pass(fake, artifact, segbench):
    record = fake("masked", "no card")
    assert not failed(record)
    assert not record.passed
    assert [check.said for check in record.checks if check.status == "not run" and check.name == "outputs"] == [
        "not run: no card"
    ]
    code, out, _ = segbench("verify", artifact)
    assert code == 1
    assert "NOT PROVED: no part could be run here" in out


def test_a_runtime_that_nobody_knows_or_that_refuses_fails(artifact):
    describe(artifact, parts=(Part(kind="masked", runtime="abacus", path="masked.onnx"),))
    assert "unknown runtime 'abacus'" in failed(verify(artifact))["outputs"]
    (artifact / "masked.onnx").write_bytes(b"nothing")
    describe(artifact, parts=(Part(kind="masked", runtime="onnxruntime", path="masked.onnx"),))
    assert "onnxruntime does not load masked.onnx" in failed(verify(artifact))["outputs"]


def test_parity_says_where_and_what_would_pass():
    expected = np.zeros((2, 3, 5))
    expected[1] = 10.0
    found = expected.copy()
    found[1, 2, 3] += 0.5
    found[0, 1, 1] += 0.1
    apart = compare("logits", found, expected, Tolerance(rtol=0.01, atol=0.2, accuracy=0, nll=0))
    assert (apart.worst, apart.found, apart.expected) == ((1, 2, 3), 10.5, 10.0)
    assert apart.largest == 0.5
    assert apart.ppm == pytest.approx(1e6 / 30)
    assert apart.needed == pytest.approx(0.4)  # 0.5 less 1 % of 10
    assert not apart.passed
    spared = Tolerance(rtol=0.01, atol=0.1, ppm=1e6 / 30, accuracy=0, nll=0)
    apart = compare("logits", found, expected, spared)
    assert apart.passed
    assert apart.needed == pytest.approx(0.1)
    for wrong in (np.nan, np.inf):
        found[0, 0, 0] = wrong
        apart = compare("logits", found, expected, Tolerance(rtol=1, atol=1e9, accuracy=0, nll=0))
        assert (apart.passed, apart.worst) == (False, (0, 0, 0))
        assert all(np.isfinite(value) for value in apart.numbers.values())


def test_a_reference_is_the_same_bytes_and_nothing_else_is_taken_for_one(tiny, tmp_path):
    write_reference(tmp_path / "again.npz", read_reference(tiny.reference))
    assert (tmp_path / "again.npz").read_bytes() == tiny.reference.read_bytes()
    (tmp_path / "no.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "other.npz", image=np.zeros(3))
    for name in ("no.npz", "other.npz"):
        with pytest.raises(InputError, match="no reference of a model"):
            read_reference(tmp_path / name)


def test_unproved_artifacts_are_refused(artifact, segbench, tmp_path, monkeypatch):
    write_tiff(tmp_path / "scan.tif", np.random.default_rng(0).integers(0, 255, (8, 8, 8), dtype=np.uint8))
    asked = ("predict", tmp_path / "scan.tif", "--zoo", artifact, "--out", tmp_path / "a.zarr", "--samples", 1)
    code, _, err = segbench(*asked)
    assert (code, f"run: segbench verify {artifact}" in err, "not verified" in err) == (2, True, True)
    assert segbench("eval", "--zoo", artifact, "--domain", "Tesla", "--size", 32, "--samples", 1)[0] == 2
    with pytest.raises(EngineError, match="segbench verify"):
        package.load(str(artifact))
    package.load(str(artifact), unverified=True)
    assert segbench(*asked, "--unverified")[0] == 0
    verify(artifact, scored=False)
    assert segbench(*asked, "--restart")[0] == 0
    package.load(str(artifact))


def refused(artifact, engine="openvino"):
    with pytest.raises(EngineError, match="run: segbench verify") as error:
        start(find(str(artifact)), engine)
    return str(error.value)


def test_a_record_fits_one_artifact_one_installation_and_for_engines_one_machine(artifact, monkeypatch):
    verify(artifact, scored=False)
    start(find(str(artifact)), "onnxruntime")
    record = (artifact / RECORD).read_text()
    (artifact / RECORD).write_text(record.replace('"masks": "', '"masks": "0'))
    assert "draws other masks" in refused(artifact)
    (artifact / RECORD).write_text("{}")
    assert "Field required" in refused(artifact)
    (artifact / RECORD).write_text(record)
    monkeypatch.setattr("segbench.zoo.proof.machine", lambda: "another processor")
    start(find(str(artifact)), "onnxruntime")
    describe(artifact, tools={"onnx": "0"})
    assert "another export" in refused(artifact)
    describe(artifact, device="a card")
    changed = read_json(artifact / RECORD, Record).model_copy(update={"artifact": file_sha256(artifact / ARTIFACT)})
    (artifact / RECORD).write_text(changed.model_dump_json())
    assert "verified on another machine" in refused(artifact)


def test_a_failed_record_and_parts_that_were_not_run_are_refused(fake, artifact):
    fake("masked", "frozen")
    assert "failed its verification: outputs: differs" in refused(artifact)
    fake("masked", "no card")
    assert "could not be run" in refused(artifact)
    fake("masked")
    start(find(str(artifact)), "onnxruntime")
    parts = tuple(Part(kind="masked", runtime=runtime, path="masked.onnx") for runtime in ("fake", "openvino"))
    describe(artifact, parts=parts)
    record = read_json(artifact / RECORD, Record).model_copy(update={"artifact": file_sha256(artifact / ARTIFACT)})
    left = [c.model_copy(update={"part": "other"}) if c.name == "outputs" else c for c in record.checks]
    (artifact / RECORD).write_text(record.model_copy(update={"checks": tuple(left)}).model_dump_json())
    assert "its parts for openvino could not be run" in refused(artifact)
    start(find(str(artifact)), "onnxruntime")
