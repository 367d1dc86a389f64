"""Runs as a page: what it says is what the rows hold, strangers' text stays text, and damage is one line."""

import base64
import hashlib
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from report_runs import CLASSES, HASH, MEASURES, write_run
from test_cli import refused

from segbench.errors import InputError, OutputError
from segbench.evaluate.printed import sandia
from segbench.evaluate.run import Request, command
from segbench.metrics import overlap
from segbench.metrics.intervals import of_mean, of_pooled
from segbench.report import (
    beside,
    bounds,
    chart,
    curves,
    folder,
    lead,
    markup,
    panels,
    pictures,
    tables,
    trust,
    values,
    viability,
)
from segbench.report.folder import read
from segbench.report.groups import group
from segbench.report.run import report
from segbench.rows import read_rows, write_rows

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m' \" & {{script}}"
EMPTY = {"img", "input", "br", "meta", "link", "col", "hr"}


class Seen(HTMLParser):
    """A page taken apart as a browser does: tags, text of each element's kind, and what would load or run."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.outside, self.text, self.ids, self.links = [], [], [], [], [], []
        self.policy, self.scripts, self.styles, self.images = "", [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)
        self.outside += [tag for name in found if name == "style" or name.startswith("on")]
        for name in ("src", "href", "srcset", "action", "data"):
            value = found.get(name, "")
            if value and not value.startswith(("#", "data:image/png;base64,")):
                self.outside.append(value)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"][1:]] if tag == "a" else []
        self.policy += found.get("content", "") if found.get("http-equiv") else ""
        if tag == "img":
            self.images.append(found)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] in ("script", "style"):
            (self.scripts if self.open[-1] == "script" else self.styles).append(text)
        else:
            self.text.append(text)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def seen(*folders, tmp_path):
    out = tmp_path / "page.html"
    report(list(folders), out)
    return Seen(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A good run. Do not change it."""
    return write_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The same volumes, segmented worse and without dropout."""
    changes = {"samples": 0, "model_hash": "cd" * 32}
    return write_run(tmp_path_factory.mktemp("other") / "twin", wrong=0.15, facts=changes, **changes)


# ---- numbers


def test_scores_are_means_over_domains_with_their_intervals(tmp_path):
    run = read(write_run(tmp_path / "r", cases=2, slices=False))[0]
    by_domain = {}
    for row in run.rows:
        by_domain.setdefault(row.domain, []).append(row.metrics["miou_truth"])
    means = [sum(v) / len(v) for v in by_domain.values()]
    score = values.overall(run, "miou_truth")
    assert score.interval == of_mean(means)
    assert (score.of, score.interval.n) == ("domains", 3)
    assert values.overall(run, "nothing") is None


def test_a_single_volume_has_an_interval_over_its_blocks_and_nothing_else(tmp_path):
    run = read(write_run(tmp_path / "r", domains=("Tesla",), slices=False))[0]
    blocks = np.array(run.rows[0].blocks)
    score = values.overall(run, "accuracy_truth")
    assert score.interval == of_pooled(blocks, overlap.accuracy)
    assert score.of == "blocks"
    assert score.value == pytest.approx(run.rows[0].metrics["accuracy_truth"])
    assert not values.overall(run, "miou_truth").has_ends
    assert "n = 1" in lead.ends(values.overall(run, "miou_truth"))
    parts, of = values.parts_of_domain(run, "Tesla")
    assert of == "blocks"
    assert parts == [overlap.accuracy(block) for block in blocks]


def test_differences_are_paired(made, other):
    a, b = read(made)[0], read(other)[0]
    gaps = [y.metrics["accuracy_truth"] - x.metrics["accuracy_truth"] for x, y in zip(a.rows, b.rows, strict=True)]
    assert values.difference(a, b, "accuracy_truth").interval == of_mean(gaps)
    assert max(gaps) < 0
    assert values.against_baseline(a, "otsu").interval.n == 3


def test_undefined_and_missing_scores_differ(tmp_path):
    path = write_run(tmp_path / "r", slices=False)
    rows = [
        r.model_copy(update={"metrics": r.metrics | {"auc_truth": math.nan}}) for r in read_rows(path / "rows.json")
    ]
    del rows[0].metrics["ece_truth"]
    write_rows(path / "rows.json", rows)
    page = seen(path, tmp_path=tmp_path)
    assert "undefined" in page.words
    assert markup.number(math.nan) == "undefined"
    assert markup.number(None) == markup.DASH
    assert f" {markup.DASH} " in page.words
    assert math.isnan(values.overall(read(path)[0], "auc_truth").value)
    assert values.overall(read(path)[0], "ece_truth").interval.n == 2


def test_reliability_pools_voxels(made):
    rows = read(made)[0].rows
    count, confidence, right = curves.reliability(rows, "truth")
    counts = np.array([row.curves["reliability_count_truth"] for row in rows])
    rights = np.nan_to_num(np.array([row.curves["reliability_right_truth"] for row in rows]))
    np.testing.assert_array_equal(count, counts.sum(axis=0))
    there = count > 0
    np.testing.assert_allclose(right[there], ((counts * rights).sum(axis=0) / count.clip(1))[there])
    assert np.isnan(confidence[~there]).all()
    assert (~there).any()
    assert curves.reliability(rows, "human") is None
    short = [rows[0], rows[1].model_copy(update={"curves": {k: v[:3] for k, v in rows[1].curves.items()}})]
    assert curves.reliability(short, "truth") is None


def test_sparsification_is_the_mean_over_volumes(made):
    rows = read(made)[0].rows
    expected = np.mean([row.curves["sparsification_entropy_truth"] for row in rows], axis=0)
    np.testing.assert_allclose(curves.sparsification(rows, "entropy", "truth"), expected)
    assert curves.sparsification(rows, "entropy", "human") is None


def test_the_viability_plot_shows_the_printed_values_as_printed(made, tmp_path):
    run = read(made)[0]
    (first, *_) = viability.points(run)
    row = run.rows[0].metrics
    assert first == ("E35", row["accuracy_human"], row["viability"] - row["viability_of_human"])
    drawn = viability.plot([run])
    assert drawn.count('class="diamond printed"') == len(sandia().domains) + 1  # and one in the legend
    assert "as printed by the study" in drawn
    elsewhere = read(write_run(tmp_path / "r", slices=False, data="mine"))[0]
    assert "printed" not in viability.plot([elsewhere])


@pytest.mark.parametrize("values_", [
    [], [math.nan], [1.0], [1.0, 1.0], [0, 1e-320], [1, 1 + 1e-16], [-1e308, 1e308], [1e8, 1e8 + 1e-8],
    [3, 4, math.nan],
])  # fmt: skip
def test_an_axis_of_any_values_can_be_drawn(values_):
    drawn = chart.Chart(chart.axis(values_, "x"), chart.axis(values_, "y", zero=True))
    text = drawn.draw("t", drawn.curve(values_, values_, "a"), drawn.dots(values_, values_, "a"))
    assert "nan" not in text
    assert "inf" not in text
    assert 1 <= len(drawn.x.ticks()) <= 11


def test_ticks_are_round_and_inside():
    assert chart.Axis(0, 1, "").ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert chart.Axis(0.61, 0.99, "").ticks() == pytest.approx([0.7, 0.8, 0.9])
    assert (chart.Axis(0, 1, "").digits, chart.Axis(0, 0.09, "").digits, chart.Axis(0, 900, "").digits) == (1, 2, 0)


def test_numbers_as_text():
    texts = [markup.number(v, 2) for v in (1.005, -0.001, -1.5, 1e300)]
    assert texts == [
        "1.00",
        "0.00",
        "\N{MINUS SIGN}1.50",
        "1e+300",
    ]
    assert markup.number(0.1, 1, signed=True) == "+0.1"
    assert markup.number(math.inf) == "undefined"
    assert markup.count(1234567) == "1 234 567"


# ---- which runs stand together


def test_runs_on_the_same_volumes_stand_together_and_others_apart(made, other, tmp_path):
    elsewhere = write_run(tmp_path / "mine", data="mine", slices=False)
    runs = [run for path in (made, elsewhere, other) for run in read(path)]
    found = group(runs)
    assert [[run.letter for run in each.runs] for each in found] == [["A", "C"], ["B"]]
    changed = [row.model_copy(update={"data_hash": "e" * 64}) for row in read_rows(made / "rows.json")]
    (tmp_path / "changed").mkdir()
    write_rows(tmp_path / "changed" / "rows.json", changed)
    assert len(group([*read(made), *read(tmp_path / "changed")])) == 2
    part = write_run(tmp_path / "part", domains=("E35", "Tesla"), slices=False)
    (both,) = group([*read(made), *read(part)])
    assert "share 2 of 3 volumes" in both.notes[0]
    page = seen(made, elsewhere, other, tmp_path=tmp_path)
    assert "2 sets of volumes" in page.words
    assert "Side by side" in page.words


def test_several_runs_have_their_differences(made, other, tmp_path):
    page = seen(made, other, tmp_path=tmp_path)
    assert "B − A".replace("−", markup.MINUS) in page.words  # noqa: RUF001
    assert "worse" in page.words
    assert "prediction B" in page.words
    assert len([image for image in page.images if "error B" in image["alt"]]) == 3


# ---- the page


def test_every_part_is_there(made, tmp_path):
    page = seen(made, tmp_path=tmp_path)
    assert page.links[1:] == page.ids[1:]
    parts = {"summary", "domains", "slices", "worst-places", "calibration", "uncertainty", "viability", "confusion",
             "provenance"}  # fmt: skip
    assert {f"{name}-0" for name in parts} == set(page.ids) - {"main"}
    row = read_rows(made / "rows.json")[0]
    for words in (HASH, row.git, row.data_hash, row.device, "openvino 2026.1", "T = 16", "seed 0", row.made,
                  "segbench eval --zoo vnet-battery --domain all", "made up for a test"):  # fmt: skip
        assert words in page.words
    for name in MEASURES:
        assert values.MEASURES[name] in page.words
    assert page.tags.count("h1") == 1
    assert all(image["alt"] for image in page.images)


def test_the_page_loads_nothing_and_runs_its_own_script_only(made, tmp_path):
    page = seen(made, tmp_path=tmp_path)
    assert not page.outside
    digest = lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()  # noqa: E731
    assert page.policy == (
        f"default-src 'none'; script-src 'sha256-{digest(page.scripts[0])}'; "
        f"style-src 'sha256-{digest(page.styles[0])}'; img-src data:"
    )
    text = (tmp_path / "page.html").read_text()
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|innerHTML|eval\(|\{\{", text)


def test_hostile_text_stays_text(made, tmp_path):
    good = seen(made, tmp_path=tmp_path)
    bad = write_run(
        tmp_path / "<img src=x>", domains=(HOSTILE, f"{HOSTILE}2", "Litarion"), classes=("void", "active"),
        warnings=(HOSTILE,), device=HOSTILE, git=HOSTILE, made=HOSTILE, versions={HOSTILE: HOSTILE},
        facts={"note": HOSTILE, "command": HOSTILE}, timed=HOSTILE, segbench=HOSTILE,
    )  # fmt: skip
    page = seen(bad, tmp_path=tmp_path)
    assert set(page.tags) == set(good.tags)
    assert page.tags.count("script") == 1
    assert page.tags.count("img") == good.tags.count("img")
    assert page.scripts == good.scripts
    assert not page.outside
    text = (tmp_path / "page.html").read_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<script>alert(1)</script>" in page.words


@pytest.mark.parametrize(
    ("classes", "truth"), [(("pore", "carbon", "nickel"), True), (CLASSES, False), ((HOSTILE, "b"), True)]
)
def test_other_classes_and_no_truth(tmp_path, classes, truth):
    path = write_run(tmp_path / "r", classes=classes, truth=truth, full=False, data="mine")
    page = seen(path, tmp_path=tmp_path)
    assert " ".join(folder.shown(classes[1]).split())[:20] in page.words
    titles = {image["alt"].split(":")[1].split(",")[0].strip() for image in page.images if ": " in image["alt"]}
    assert ("truth" in titles) == truth
    assert "error" in titles


def test_old_rows_without_slices_blocks_and_curves(tmp_path):
    path = write_run(tmp_path / "r", slices=False, full=False, blocks=())
    written = report([path], tmp_path / "p.html")
    page = Seen((tmp_path / "p.html").read_text())
    assert "kept no slices" in page.words
    assert "kept no slices" in written.remarks[0]
    assert not page.images
    assert "calibration-0" not in page.ids
    assert "confusion-0" in page.ids


def test_slices_of_another_run_are_not_shown(made, tmp_path):
    path = write_run(tmp_path / "r", facts={"seed": 1})
    assert "of another run" in seen(path, tmp_path=tmp_path).words


def test_one_slice_one_volume(tmp_path):
    page = seen(write_run(tmp_path / "r", domains=("a",), shape=(1, 40, 50)), tmp_path=tmp_path)
    assert "n = 1".replace(" ", "\N{NO-BREAK SPACE}") in page.words or "n = 1" in page.words
    assert not any(tag == "output" for tag in page.tags)


def test_thousands_of_volumes(tmp_path):
    path = write_run(tmp_path / "r", domains=("a", "b"), slices=False, shape=(2, 8, 8))
    first, *_ = read_rows(path / "rows.json")
    rows = [first.model_copy(update={"case": f"c{n}", "domain": f"d{n % 40}", "curves": {}}) for n in range(3000)]
    write_rows(path / "rows.json", rows)
    written = report([path], tmp_path / "p.html")
    assert written.bytes < 3_000_000


def test_warnings_stand_at_the_top(tmp_path):
    path = write_run(tmp_path / "r", warnings=("looks inverted",), inverted=True)
    run = read(path)[0]
    assert lead.warnings(run)[0] == "E35, Tesla, Litarion: looks inverted"
    assert len(lead.warnings(run)) == 2
    page = seen(path, tmp_path=tmp_path)
    assert page.words.index("looks inverted") < page.words.index("Press a heading")


# ---- pictures


def decoded(image):
    data = base64.b64decode(image["src"].split(",")[1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_pictures_are_the_slices(made, tmp_path):
    page, run = seen(made, tmp_path=tmp_path), read(made)[0]
    about = run.slices.about.cases[0]
    layers = run.slices.layers(0)
    found = {image["alt"].split(":")[1].split(",")[0].strip(): decoded(image) for image in page.images
             if image["alt"].startswith(f"{about.domain}: ")}  # fmt: skip
    n, height, width = layers["image"].shape
    assert found["image"].shape == (n * height, width, 3)
    np.testing.assert_array_equal(found["image"][..., 0].reshape(n, height, width), layers["image"])
    active = (found["truth"] == pictures.label_colours(2)[1]).all(axis=2).reshape(n, height, width)
    np.testing.assert_array_equal(active, layers["truth"] == 1)
    wrong = np.isin(found["error"].reshape(-1, 3).view(np.ndarray)[:, 0], (pictures.MISSED[0], pictures.INVENTED[0]))
    coloured = (found["error"].max(axis=2) != found["error"].min(axis=2)).reshape(n, height, width)
    np.testing.assert_array_equal(coloured, layers["labels"] != layers["truth"])
    assert wrong.any()


def test_fewer_slices_where_the_page_would_be_too_large(made, monkeypatch, tmp_path):
    whole = report([made], tmp_path / "a.html").bytes
    monkeypatch.setattr(panels, "BYTES", 200_000)
    small = report([made], tmp_path / "b.html").bytes
    assert small < 0.75 * whole
    page = Seen((tmp_path / "b.html").read_text())
    assert re.search(r"\d of 11 slices of a volume are carried", page.words)
    assert (
        sum(len(image["src"]) for image in page.images if ": " in image["alt"] and "row " not in image["alt"]) < 400_000
    )


def test_the_worst_volumes_come_first(made):
    (found,) = group(read(made))
    accuracies = [case.accuracy("truth") for case in panels.cases(found)]
    assert accuracies == sorted(accuracies)


# ---- what cannot be used


def broken(path, change):
    change(path)
    return path


@pytest.mark.parametrize(("text", "pattern"), [
    (None, "holds no rows.json"), ("{", "not JSON"), ("[" * 200_000, "not"), ("{}", "format"),
    ('{"format": "segbench rows 1", "rows": []}', "no row of a model"),
    ('{"format": "segbench rows 1", "rows": [{"kind\\u001b[31m": 1}]}', "rows.0"),
])  # fmt: skip
def test_what_is_no_run(tmp_path, segbench, text, pattern):
    path = tmp_path / "run"
    path.mkdir()
    if text is not None:
        (path / "rows.json").write_text(text)
    out = tmp_path / "p.html"
    out.write_text("before")
    refused(segbench("report", path, "--out", out), pattern)
    assert out.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.html", "run"]


@pytest.mark.parametrize("matrix", [(), ((1, 2),), ((1, 2), (3,)), ((2**62, 0), (0, 2**62))])
def test_confusion_that_is_none(tmp_path, segbench, matrix):
    path = write_run(tmp_path / "r", slices=False, shape=(2, 8, 8))
    rows = [row.model_copy(update={"confusion_truth": matrix}) for row in read_rows(path / "rows.json")]
    write_rows(path / "rows.json", rows)
    refused(segbench("report", path, "--out", tmp_path / "p.html"), "no square of counts")


def test_a_score_that_is_none(tmp_path, segbench):
    path = write_run(tmp_path / "r", slices=False, shape=(2, 8, 8))
    rows = [r.model_copy(update={"metrics": {"accuracy_truth": 1e308}}) for r in read_rows(path / "rows.json")]
    write_rows(path / "rows.json", rows)
    refused(segbench("report", path, "--out", tmp_path / "p.html"), "E35: accuracy_truth is 1e.308, which is no score")


def test_damaged_slices_are_one_line_and_nothing_is_written(tmp_path, segbench):
    path = write_run(tmp_path / "r")
    data = (path / "slices.npz").read_bytes()
    (path / "slices.npz").write_bytes(data[: len(data) // 2])
    refused(segbench("report", path, "--out", tmp_path / "p.html"), r"slices\.npz: cannot be shown")
    assert not (tmp_path / "p.html").exists()


def test_where_no_page_can_be_written(made, tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file" / "p.html"):
        with pytest.raises(OutputError):
            report([made], out)
    with pytest.raises(InputError, match="12 at most"):
        report([made] * 13, tmp_path / "p.html")


def test_a_foreign_volume_is_not_rounded_to_one_and_an_unjudged_one_is_counted(tmp_path):
    path = write_run(tmp_path / "r", slices=False, shape=(2, 8, 8))
    rows = list(read_rows(path / "rows.json"))
    for n, score in ((0, 0.9982), (2, math.nan)):
        rows[n] = rows[n].model_copy(update={"metrics": rows[n].metrics | {"foreign": score}})
    write_rows(path / "rows.json", rows)
    (run,) = read(path)
    *_, highest, unjudged = lead.sentences(run)
    assert "0.9982, of E35" in highest
    assert unjudged.startswith("1 of 3 volumes have no foreign score")
    (line,) = [line for line in str(tables.domains(run)).split("<tr") if "E35" in line]
    assert ">0.9982<" in line


def test_shares_stand_with_their_bounds_and_nll_with_its_interval(tmp_path):
    path = write_run(tmp_path / "r", slices=False, shape=(2, 8, 8))
    plain, rows = read(path), read_rows(path / "rows.json")
    assert bounds.bounds(plain[0]) is None, "older rows have no bounds"
    shares = {"share_of_truth": 0.41, "share": 0.42, "share_samples_low": 0.413, "share_samples_high": 0.427,
              "share_low": 0.377, "share_high": 0.463, "share_covered": 1.0, "nll_truth": 0.12352}  # fmt: skip
    for low, said in ((0.377, "missed: of class 1"), (math.nan, "fitted with more samples")):
        write_rows(
            path / "rows.json",
            [r.model_copy(update={"metrics": r.metrics | shares | {"share_low": low}}) for r in rows],
        )
        (run,) = read(path)
        made = str(bounds.bounds(run))
        assert said in made
        assert "surely" not in made.split("<table")[1], "a column that no row has"
        assert made.count(">0.463<") == 4, "three domains and their mean"
        assert (">undefined<" in made) == math.isnan(low)
        assert "0.1235<" in str(trust.calibration(run)), "four digits"


@pytest.mark.parametrize(("domains", "told"), [(5, False), (6, True)])
def test_few_domains_that_move_one_way_are_not_called_better(domains, told, tmp_path):
    """All of five domains move one way by chance in one of 16 cases."""
    names = [f"d{n}" for n in range(domains)]
    runs = [*read(write_run(tmp_path / "a", names, slices=False, shape=(6, 24, 24), wrong=0.2)),
            *read(write_run(tmp_path / "b", names, slices=False, shape=(6, 24, 24), wrong=0.01))]  # fmt: skip
    (found,) = group(runs)
    gap = values.difference(*found.runs, "accuracy_truth")
    assert gap.interval.low > 0
    assert (">better" in str(beside.beside(found)) or " better" in str(beside.beside(found))) == told


@pytest.mark.parametrize("name", ["rows.json", "slices.npz"])
def test_a_run_is_not_written_over_by_its_own_page(name, tmp_path, segbench):
    path = write_run(tmp_path / "r", shape=(2, 8, 8))
    before = (path / name).read_bytes()
    for run in (path, path / name):
        if run.suffix != ".npz":
            refused(segbench("report", run, "--out", path / name), "is read by this very command")
    assert (path / name).read_bytes() == before
    assert segbench("report", path, "--out", path / "report.html")[0] == 0
    assert segbench("report", path, "--out", path / "report.html")[0] == 0, "a page may be made again"


def test_the_command(made, other, tmp_path, segbench):
    code, out, err = segbench("report", made, other / "rows.json", "--out", tmp_path / "p.html")
    assert (code, err) == (0, "")
    assert re.search(r"p\.html: \d\.\d MB, 2 runs; open it", out)


def test_the_command_that_made_a_run_is_kept():
    request = Request("vnet-battery", "Tesla,E35", samples=4, size=48, thin=False, invert=True)
    assert command(request) == (
        "segbench eval --zoo vnet-battery --domain Tesla,E35 --samples 4 --seed 0 --size 48 --no-thin --invert"
    )
