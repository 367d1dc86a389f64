"""`segbench bench metrics`: a stream that takes no memory, what is left out, and what is said of it."""

import csv
import json

import numpy as np
import pytest

from segbench.bench import synthetic, throughput
from segbench.bench.synthetic import Repeated, labelled, repeated
from segbench.bench.throughput import MetricsRow, Part, Request, measure, read_rows
from segbench.bench.throughput_sheet import sheets, write
from segbench.errors import InputError
from segbench.metrics import slabs
from segbench.metrics.sparsification import ause
from segbench.tally import PARTS, tally


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(throughput, "EDGE", 24)
    monkeypatch.setattr(slabs, "SLAB", 4 * 24 * 24)
    monkeypatch.setattr(synthetic, "SAMPLES", 4)


def test_planes_come_again_and_are_not_copied():
    planes = np.arange(12).reshape(3, 2, 2)
    deep = Repeated(planes, 8)
    assert deep.shape == (8, 2, 2)
    whole = np.concatenate([planes] * 3)[:8]
    for part in (slice(0, 3), slice(3, 6), slice(4, 6), slice(2, 7), slice(6, 99), slice(0, 8)):
        np.testing.assert_array_equal(deep[part], whole[part])
    assert np.shares_memory(deep[3:6], planes)


def test_the_synthetic_scan_is_about_as_a_model_is():
    maps, phases = labelled((6, 64, 64), 0)
    whole = tally(maps, phases).whole
    assert 0.8 < np.trace(whole.reliability.confusion) / phases.size < 0.999
    assert whole.errors[0].auc() > 0.8
    assert 0 < ause(whole.errors[0]) < 0.8


def test_the_stream_is_every_voxel_once():
    maps, phases = labelled((4, 24, 24), 0)
    deep, reference = repeated(maps, phases, 4000)
    found = tally(deep, reference, threads=2)
    assert found.whole.reliability.voxels == 4000 * 24 * 24
    once = tally(maps, phases).whole
    np.testing.assert_array_equal(found.whole.reliability.count, 1000 * once.reliability.count)


def test_a_measurement_is_written_and_read_back(tmp_path):
    said = []
    row = measure(Request(voxels=10_000, repeats=2, threads=2), lambda *step: said.append(step))
    assert row.voxels == row.shape[0] * 24 * 24 >= 10_000
    assert [part.name for part in row.parts] == list(PARTS)
    assert all(len(part.without_s) == len(part.alone_s) == 2 for part in row.parts)
    assert 0 < row.early_mib <= row.peak_mib
    done, total, _ = zip(*said, strict=True)
    assert list(done) == list(range(total[0])), "every step is counted, and no other"
    write(tmp_path / "run", row)
    assert read_rows(tmp_path / "run" / "metrics.json") == (row,)
    assert "Mvoxel/s" in (tmp_path / "run" / "metrics.md").read_text()


def test_rates_and_shares_are_functions_of_the_row(tmp_path):
    row = MetricsRow(
        shape=(10, 10, 10), voxels=1000, threads=2, seed=0, seconds=1e-5, core_s=2e-5, sample=100,
        all_s=(2e-6, 4e-6, 9e-6), none_s=(1e-6,), parts=(Part(name="patches", without_s=(3e-6,), alone_s=(1.5e-6,)),),
        early_mib=100, peak_mib=101, device="a processor", cores=4, versions={}, git=None, segbench="0", made="now",
    )  # fmt: skip
    stream, parts = sheets(row)
    assert stream.lines[0] == pytest.approx((1000, 2, 1e-5, 100, 50, 20, 100, 101))
    assert parts.lines[0][1:] == pytest.approx((5, 100 / 3, 10))
    assert parts.lines[1] == ("what all parts need", pytest.approx(10), pytest.approx(200 / 3), None)
    assert parts.lines[2][:2] == ("all at once", pytest.approx(40))
    write(tmp_path, row)
    lines = list(csv.reader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert (lines[6][0], float(lines[6][1])) == ("patches", pytest.approx(5))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"voxels": 0}, "voxels is 0"),
        ({"voxels": 1e12}, "to 1e"),
        ({"voxels": float("nan")}, "voxels is nan"),
        ({"threads": 0}, "threads is 0"),
        ({"repeats": 0}, "repeats is 0"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_numbers_out_of_range_are_said_first(wrong, said, monkeypatch):
    monkeypatch.setattr(throughput, "labelled", lambda *_: pytest.fail("something ran"))
    with pytest.raises(InputError, match=said):
        measure(Request(**wrong))


def test_the_command(segbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("bench", "metrics", "--voxels", "5e3", "--repeats", 1)
    code, out, _ = segbench(*small, "--out", tmp_path / "run")
    assert code == 0
    assert "What each part costs" in out
    assert "errors by deviation" in out
    assert (tmp_path / "run" / "metrics.json").is_file()
    code, out, _ = segbench(*small, "--json")
    assert code == 0
    assert json.loads(out)[0]["threads"] == 1
    assert (tmp_path / "runs" / "bench-metrics" / "metrics.json").is_file()
    code, out, err = segbench("bench", "metricks")
    assert (code, out) == (2, "")
    assert "Did you mean 'metrics'" in err
