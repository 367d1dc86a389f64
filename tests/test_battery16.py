import json
import logging
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from segbench.data import battery16, cache
from segbench.data.annotator import Annotator, annotate, missed_pores
from segbench.data.battery16 import Case, data_hash, load, make_case
from segbench.data.domains import DOMAINS
from segbench.data.randomisation import random_domain
from segbench.errors import InputError, OutputError, UnknownNameError

PRINTED = json.loads((Path(__file__).parents[1] / "evaluate/printed/sandia.json").read_text())
ROWS = {row["domain"]: row for row in PRINTED["domains"]}
SOME = ("E35", "25R6", "GCA2000", "Electrode_III_3")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """All sixteen at size 64, made in this process."""
    return {name: make_case(domain, 64) for name, domain in DOMAINS.items()}


def test_the_sixteen_stand_in_the_order_of_the_printed_accuracy():
    assert list(DOMAINS) == list(ROWS)
    assert [domain.annotator.accuracy for domain in DOMAINS.values()] == [row["accuracy"] for row in ROWS.values()]
    assert np.all(np.diff([row["accuracy"] for row in ROWS.values()]) <= 0)
    for name, domain in DOMAINS.items():
        assert name == domain.name


def test_printed_means_are_those_of_the_rows():
    for column, printed in (("accuracy", 0.8714), ("human_viability", 1.497), ("ml_viability", 1.799)):
        assert np.mean([row[column] for row in ROWS.values()]) == pytest.approx(printed, abs=6e-4)


def test_arrays_are_what_the_page_says(cases):
    for case in cases.values():
        assert case.image.shape == case.truth.shape == case.label.shape == (64, 64, 64)
        assert (case.image.dtype, case.truth.dtype, case.label.dtype) == (np.float32, np.uint8, np.uint8)
        assert set(np.unique(case.truth)) == set(np.unique(case.label)) == {0, 1}
        assert np.all(np.isfinite(case.image))
        counts = np.unique(case.image, return_counts=True)[1]
        assert counts.max() < 20  # no saturation, no painted background


def test_the_same_arguments_give_the_same_bits_in_another_process():
    here = data_hash(make_case(DOMAINS["25R6"], 32, 3))
    code = (
        "from segbench.data.battery16 import *; from segbench.data.domains import DOMAINS;"
        "print(data_hash(make_case(DOMAINS['25R6'], 32, 3)))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there == data_hash(make_case(DOMAINS["25R6"], 32, 3))
    assert here != data_hash(make_case(DOMAINS["25R6"], 32, 4))


def test_the_hash_sees_every_array():
    case = make_case(DOMAINS["GCA400"], 32)
    hashes = {data_hash(case)}
    for name in ("image", "truth", "label"):
        arrays = {field: getattr(case, field).copy() for field in ("image", "truth", "label")}
        arrays[name][5, 6, 7] += 1
        hashes.add(data_hash(Case(case.domain, **arrays)))
    assert len(hashes) == 4


@pytest.mark.parametrize("name", list(DOMAINS))
def test_the_human_label_agrees_as_printed(cases, name):
    agreement = np.mean(cases[name].label == cases[name].truth)
    assert agreement == pytest.approx(ROWS[name]["accuracy"], abs=0.01)


@pytest.mark.parametrize("name", SOME)
def test_the_human_label_agrees_at_another_seed_and_size(name):
    case = make_case(DOMAINS[name], 80, 11)
    assert np.mean(case.label == case.truth) == pytest.approx(ROWS[name]["accuracy"], abs=0.01)


@pytest.mark.parametrize("name", list(DOMAINS))
def test_shares_admit_the_printed_viability(cases, name):
    viability = max(ROWS[name]["human_viability"], ROWS[name]["ml_viability"])
    for labels in (cases[name].truth, cases[name].label):
        share = labels.mean()
        assert share * (1 - share) * viability**2 <= 1


@pytest.mark.parametrize("name", list(DOMAINS))
def test_no_domain_is_solved_by_a_threshold(cases, name):
    case = cases[name]
    assert np.mean((case.image > threshold_otsu(case.image)) == case.truth) < 0.95


@pytest.mark.parametrize("name", list(DOMAINS))
def test_active_material_is_the_brighter_class(cases, name):
    image, truth = cases[name].image, cases[name].truth == 1
    noise = np.sqrt(0.5 * (image[truth].var() + image[~truth].var()))
    assert 1.0 < (image[truth].mean() - image[~truth].mean()) / noise < 4.7


def test_a_random_domain_gives_a_case_at_its_accuracy():
    generator = np.random.default_rng(5)
    for _ in range(4):
        domain = random_domain(generator)
        case = make_case(domain, 48, 1)
        assert 0 < case.truth.mean() < 1
        assert np.mean(case.label == case.truth) == pytest.approx(domain.annotator.accuracy, abs=0.03)


@pytest.mark.parametrize("accuracy", [0.7, 0.9, 0.98])
def test_the_annotator_reaches_any_accuracy_on_any_truth(accuracy):
    rng = np.random.default_rng(0)
    truth = make_case(DOMAINS["Electrode_I_1"], 48).truth
    image = (truth + rng.normal(0, 0.5, truth.shape)).astype(np.float32)
    label = annotate(image, truth, Annotator(accuracy), rng)
    assert np.mean(label == truth) == pytest.approx(accuracy, abs=0.01)


def test_only_small_pores_are_missed():
    truth = np.ones((20, 20, 20), dtype=np.uint8)
    truth[2:4, 2:4, 2:4] = 0  # 8 voxels
    truth[10:14, 10:14, 10:14] = 0  # 64 voxels
    missed = missed_pores(truth, 30)
    assert missed.sum() == 8
    assert missed[2:4, 2:4, 2:4].all()


def test_unusable_arguments_are_named():
    with pytest.raises(InputError, match="size 16 is too small"):
        make_case(DOMAINS["E35"], 16)
    with pytest.raises(InputError, match="seed -1 is negative"):
        make_case(DOMAINS["E35"], 32, -1)
    with pytest.raises(UnknownNameError, match="Tesla"):
        load(["Telsa"], 32)


def test_loading_makes_once_reports_and_keeps_the_order(tmp_path):
    seen = []
    first = load(["Tesla", "E35", "Tesla"], 32, 0, tmp_path, lambda *report: seen.append(report))
    assert [case.domain for case in first] == ["Tesla", "E35", "Tesla"]
    assert [(done, total) for done, total, _ in seen] == [(1, 2), (2, 2)]
    assert {name for *_, name in seen} == {"Tesla", "E35"}
    again = load(["E35"], 32, 0, tmp_path, lambda *_: pytest.fail("made twice"))
    assert data_hash(again[0]) == data_hash(first[1]) == data_hash(make_case(DOMAINS["E35"], 32))


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path))
    load(["E35"], 32)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["E35.npz"]
    assert (tmp_path / "battery16" / f"{battery16.GENERATOR_VERSION}-32-0" / "E35.npz").is_file()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "swapped", "empty"])
def test_a_damaged_file_is_made_again(tmp_path, damage, caplog):
    whole = load(["E35"], 32, 0, tmp_path)[0]
    path = next(tmp_path.rglob("E35.npz"))
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    elif damage == "swapped":  # a sound archive with a changed array and the old hash
        with np.load(path) as arrays:
            np.savez(path, **{**arrays, "truth": 1 - arrays["truth"]})
    else:
        path.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert data_hash(load(["E35"], 32, 0, tmp_path)[0]) == data_hash(whole)
    assert "is damaged" in caplog.text
    assert cache.read(path) is not None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OutputError, match="SEGBENCH_CACHE"):
        load(["E35"], 32, 0, blocked)


def _load_there(folder, answers):
    answers.put([data_hash(case) for case in load(["E35", "25R6"], 32, 0, folder)])


def test_two_processes_that_make_the_same_cache_do_not_clash(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    workers = [context.Process(target=_load_there, args=(tmp_path, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    hashes = [answers.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert hashes[0] == hashes[1]
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["25R6.npz", "E35.npz"]
