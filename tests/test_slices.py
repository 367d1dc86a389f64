"""What a run keeps to be looked at: the slices are those of the volume, the squares are the worst, damage is told."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from report_runs import HASH, predicted, volume

from segbench.data import battery16
from segbench.errors import InputError
from segbench.evaluate import kept, slices
from segbench.evaluate.cases import Labelled
from segbench.evaluate.kept import read_slices
from segbench.evaluate.patches import worst
from segbench.evaluate.run import Request
from segbench.evaluate.run import run as run_eval
from segbench.evaluate.slices import FILE, Facts, Keeper
from segbench.report.run import report
from segbench.volume import Volume

FACTS = Facts(model_hash=HASH, samples=16, seed=0, engine="fake", precision="f32", classes=("void", "active"))


def made(shape=(9, 40, 50), seed=0, name="Tesla", truth=True):
    grey, true, human, labels, entropy = volume(seed, shape)
    case = Labelled("battery16", name, name, Volume(grey), true if truth else None, human, f"{seed:064x}")
    return case, predicted(labels, entropy)


def run(folder, *cases):
    keeper = Keeper(("void", "active"))
    for case, prediction in cases or [made()]:
        keeper.add(case, prediction)
    keeper.write(folder / FILE, FACTS)
    return folder


def test_slices_are_those_of_the_volume(tmp_path):
    case, prediction = made((25, 40, 50))
    found = read_slices(run(tmp_path, (case, prediction)))
    (about,) = found.about.cases
    assert about.z == (1, 3, 5, 7, 10, 12, 14, 17, 19, 21, 23)
    assert about.z[5] == 25 // 2
    assert (about.step, about.shape, about.domain) == (1, (25, 40, 50), "Tesla")
    layers, at = found.layers(0), list(about.z)
    np.testing.assert_array_equal(layers["truth"], case.truth[at])
    np.testing.assert_array_equal(layers["human"], case.human[at])
    np.testing.assert_array_equal(layers["labels"], prediction.labels[at])
    np.testing.assert_allclose(layers["uncertainty"] / 255 * np.log(2), prediction.entropy[at], atol=np.log(2) / 509)
    shown = about.low + layers["image"] / 255 * (about.high - about.low)
    expected = np.clip(case.image.data[at], about.low, about.high)
    np.testing.assert_allclose(shown, expected, atol=(about.high - about.low) / 509)
    assert found.about.facts == FACTS


def test_a_large_plane_is_carried_at_every_nth_voxel(tmp_path, monkeypatch):
    monkeypatch.setattr(slices, "PIXELS", 25)
    case, prediction = made((1, 40, 51))
    found = read_slices(run(tmp_path, (case, prediction)))
    assert found.about.cases[0].step == 3
    layers = found.layers(0)
    assert layers["image"].shape == (1, 13, 17)
    np.testing.assert_array_equal(layers["labels"][0], prediction.labels[0, 1:39:3, 1::3])
    means = prediction.entropy[0, :39].reshape(13, 3, 17, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(layers["uncertainty"][0] / 255 * np.log(2), means, atol=np.log(2) / 509)


def test_of_each_domain_the_worst_cases_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(slices, "CASES", 2)
    cases = [made(seed=seed) for seed in range(4)]
    wrong = [np.count_nonzero(p.labels != c.truth) for c, p in cases]
    found = read_slices(run(tmp_path, *cases))
    order = sorted(range(4), key=lambda n: -wrong[n])[:2]
    assert [about.data_hash for about in found.about.cases] == [f"{n:064x}" for n in order]
    assert found.about.left_out == 2
    monkeypatch.setattr(slices, "BUDGET", 1)
    assert read_slices(run(tmp_path, *cases)).about.left_out == 4


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(tmp_path / name)
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()


def test_an_evaluation_keeps_its_slices(tiny, tmp_path):
    asked = Request(str(tiny.path), "Tesla", samples=2, engine="onnxruntime", size=40, out=tmp_path / "run")
    (row, *_) = run_eval(asked).rows
    report([tmp_path / "run"], tmp_path / "page.html")
    found = read_slices(tmp_path / "run")
    (case,) = battery16.load(["Tesla"], 40)
    layers, at = found.layers(0), list(found.about.cases[0].z)
    np.testing.assert_array_equal(layers["truth"], case.truth[at])
    np.testing.assert_array_equal(layers["human"], case.label[at])
    assert (found.about.facts.model_hash, found.about.facts.samples) == (row.model_hash, row.samples)
    assert found.about.facts.command == (
        f"segbench eval --zoo {tiny.path} --domain Tesla --samples 2 --seed 0 --engine onnxruntime --size 40 "
        f"--out {tmp_path / 'run'}"
    )
    assert "11 of" not in (tmp_path / "page.html").read_text()
    assert (tmp_path / "page.html").read_text().count("<img") >= 6


def test_without_a_truth(tmp_path):
    found = read_slices(run(tmp_path, made(truth=False)))
    assert set(found.layers(0)) == {"image", "human", "labels", "uncertainty"}
    assert read_slices(tmp_path / "elsewhere") is None


def brute(error, uncertainty, edge, rule):
    """Score of every square of every slice, one after the other."""
    scores = {}
    for z, i, j in np.ndindex(len(error), error.shape[1] // edge, error.shape[2] // edge):
        at = (z, slice(i * edge, (i + 1) * edge), slice(j * edge, (j + 1) * edge))
        e, u = error[at], uncertainty[at]
        scores[z, i, j] = {"wrong": e, "sure": e & (u < 0.5), "unsure": ~e & (u > 0.5)}[rule].mean()
    return scores


@pytest.mark.parametrize("rule", ["wrong", "sure", "unsure"])
def test_the_worst_squares_are_the_worst(rule):
    random = np.random.default_rng(5)
    error, uncertainty = random.random((10, 20, 27)) < 0.2, random.random((10, 20, 27))
    found = [patch for patch in worst(error, uncertainty, edge=5, each=4) if patch.rule == rule]
    scores = brute(error, uncertainty, 5, rule)
    assert len(found) == 4
    assert found[0].score == max(scores.values())
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
    for patch in found:
        at = (patch.z, slice(patch.y, patch.y + 5), slice(patch.x, patch.x + 5))
        assert patch.score == scores[patch.z, patch.y // 5, patch.x // 5]
        assert patch.error == error[at].mean()
        assert patch.uncertainty == pytest.approx(uncertainty[at].mean())
    # of the squares above each other within `edge` slices, one
    assert len({(p.z // 5, p.y, p.x) for p in found}) == 4


def test_where_nothing_is_wrong_there_is_nothing_to_show():
    blank = np.zeros((4, 8, 8))
    assert worst(blank > 0, blank) == []
    assert [p.rule for p in worst(blank == 0, blank, edge=8, each=1)] == ["wrong", "sure"]
    assert (worst(np.ones((1, 3, 70), bool), np.zeros((1, 3, 70)))[0].error) == 1


def test_squares_are_cut_out_where_they_are(tmp_path):
    case, prediction = made((9, 70, 90))
    found = read_slices(run(tmp_path, (case, prediction)))
    patches = found.about.cases[0].patches
    assert {patch.rule for patch in patches} == {"wrong", "sure", "unsure"}
    for n, patch in enumerate(patches):
        image, reference, labels, _ = found.patch(0, n)
        rows, columns = slice(max(0, patch.y - 8), patch.y + 40), slice(max(0, patch.x - 8), patch.x + 40)
        np.testing.assert_array_equal(labels, prediction.labels[patch.z, rows, columns])
        np.testing.assert_array_equal(reference, case.truth[patch.z, rows, columns])
        assert image.shape == labels.shape


def rewritten(folder, change):
    """The file with its members, by name and bytes, changed by `change`."""
    path = folder / FILE
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array, **options):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, **options)
    return out.getvalue()


def about(change):
    def do(members):
        with io.BytesIO(members["about.npy"]) as file:
            told = json.loads(np.lib.format.read_array(file).tobytes())
        change(told)
        members["about.npy"] = npy(np.frombuffer(json.dumps(told).encode(), np.uint8))

    return do


class Trap:
    """Unpickled it would be heard of."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def header(shape):
    return npy(np.zeros(4, np.uint8)).replace(b"(4,), }", f"{shape}, }}".encode())


BROKEN = {
    "not a zip": (lambda f: (f / FILE).write_bytes(b"nothing"), "not a zip"),
    "cut short": (lambda f: (f / FILE).write_bytes((f / FILE).read_bytes()[:-200]), "not a zip"),
    "no about": (lambda f: rewritten(f, lambda m: m.pop("about.npy")), "about is missing"),
    "a layer is missing": (lambda f: rewritten(f, lambda m: m.pop("0/human.npy")), "0/human is missing"),
    "a square is missing": (lambda f: rewritten(f, lambda m: m.pop("0/patch0.npy")), "0/patch0 is missing"),
    "a pickle": (
        lambda f: rewritten(f, lambda m: m.update({"0/image.npy": npy(np.array([Trap()], object))})), "not uint8",
    ),
    "bare pickle": (lambda f: rewritten(f, lambda m: m.update({"0/image.npy": pickle.dumps(Trap())})), "0/image"),
    "floats": (lambda f: rewritten(f, lambda m: m.update({"0/image.npy": npy(np.zeros((9, 40, 50)))})), "float64"),
    "another shape": (
        lambda f: rewritten(f, lambda m: m.update({"0/labels.npy": npy(np.zeros((9, 40, 51), np.uint8))})), "the image",
    ),
    "fewer slices": (
        lambda f: rewritten(f, lambda m: m.update({"0/image.npy": npy(np.zeros((3, 40, 50), np.uint8))})), "9 slices",
    ),
    "a header that lies": (
        lambda f: rewritten(f, lambda m: m.update({"0/image.npy": header("(99999999999999,)")})), "0/image",
    ),
    "a header with a negative edge": (
        lambda f: rewritten(f, lambda m: m.update({"0/image.npy": header("(-2, -2)")})), "0/image",
    ),
    "no JSON": (
        lambda f: rewritten(f, lambda m: m.update({"about.npy": npy(np.frombuffer(b"{", np.uint8))})), "not JSON",
    ),
    "deep JSON": (
        lambda f: rewritten(f, lambda m: m.update({"about.npy": npy(np.frombuffer(b"[" * 99999, np.uint8))})),
        "not JSON",
    ),
    "an unknown key": (lambda f: rewritten(f, about(lambda a: a.update(more=1))), "unknown key"),
    "another format": (lambda f: rewritten(f, about(lambda a: a.update(format="x"))), "format"),
    "a slice outside": (lambda f: rewritten(f, about(lambda a: a["cases"][0].update(z=[9] * 9))), "outside"),
    "not a number": (lambda f: rewritten(f, about(lambda a: a["cases"][0].update(low=float("nan")))), "low"),
}  # fmt: skip


def read_all(folder):
    found = read_slices(folder)
    for number, case in enumerate(found.about.cases):
        found.layers(number)
        for at in range(len(case.patches)):
            found.patch(number, at)


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_file_is_one_line(tmp_path, what):
    run(tmp_path)
    read_all(tmp_path)
    break_it, said = BROKEN[what]
    break_it(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        read_all(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    run(tmp_path)
    rewritten(tmp_path, lambda m: m.update({"0/image.npy": npy(np.zeros((9, 1000, 1000), np.uint8))}))
    monkeypatch.setattr(kept, "ARRAY_BYTES", 10**6)
    with pytest.raises(InputError, match="more than 1 MB"):
        read_slices(tmp_path).layers(0)
    monkeypatch.setattr(kept, "TOTAL_BYTES", 10**6)
    with pytest.raises(InputError, match="unpacks to more"):
        read_slices(tmp_path)


def test_members_that_climb_out_of_the_archive_are_not_touched(tmp_path):
    (tmp_path / "in").mkdir()
    run(tmp_path / "in")
    rewritten(tmp_path / "in", lambda m: m.update({"../../evil.npy": npy(np.zeros(3, np.uint8))}))
    read_all(tmp_path / "in")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", FILE]
