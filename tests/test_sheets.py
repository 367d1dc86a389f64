"""Tables with intervals: synthetic rows against hand-computed values, the printed columns against the printed file."""

import csv
import io
import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from test_tables import ROOT, column, row, stored

from segbench.data.domains import DOMAINS
from segbench.evaluate.definitions import RECORDS, TableDefinition, definition, home, table_names
from segbench.evaluate.estimates import Estimate, estimate, f1_of_class_1, metric, of_counts, said
from segbench.evaluate.harness import SHOWS, STUDIES, make, write
from segbench.evaluate.latex import escaped, latex
from segbench.evaluate.printed import sandia
from segbench.evaluate.sheet import Heading, Sheet, comma_separated, page, shown
from segbench.evaluate.sheets.calibration import calibration
from segbench.evaluate.sheets.sandia_accuracy import sandia_accuracy
from segbench.evaluate.sheets.sandia_viability import sandia_viability
from segbench.evaluate.sheets.shift import shift
from segbench.evaluate.sheets.uncertainty import MEASURES, uncertainty
from segbench.evaluate.table import interval_note
from segbench.metrics import overlap
from segbench.metrics.correlation import pearson
from segbench.metrics.intervals import Interval, of_lines, of_mean

TRAINED = ("Litarion", "Electrode_IV_1")


def values(cells) -> list[float]:
    """The numbers of some cells, without their intervals."""
    return [cell.interval.value if isinstance(cell, Estimate) else cell for cell in cells]


def titled(sheets, text) -> Sheet:
    (found,) = (sheet for sheet in sheets if text in sheet.title)
    return found


def line(sheet: Sheet, name: str) -> dict:
    """The only line that begins like `name`, by heading."""
    (found,) = (cells for cells in sheet.lines if str(cells[0]).startswith(name))
    return dict(zip([c.text for c in sheet.columns], found, strict=True))


def right(share: float, n: int = 1000):
    """A confusion matrix of n voxels with that accuracy."""
    hits = round(share * n)
    return ((hits // 2, n - hits), (0, hits - hits // 2))


# --- estimates


def test_domains_are_drawn_then_volumes_then_blocks_then_nothing():
    def score(r):
        return r.metrics["s"]

    two = [row("a", "1", metrics={"s": 0.8}), row("a", "2", metrics={"s": 0.6}), row("b", "1", metrics={"s": 0.9})]
    found = estimate(two, score)
    assert (found.drawn, found.interval) == ("domain", of_mean([0.7, 0.9])), "a domain is the mean of its volumes"
    found = estimate(two[:2], score)
    assert (found.drawn, found.interval, found.mark) == ("volume", of_mean([0.8, 0.6]), "")
    found = estimate(two[2:], score)
    assert (found.interval.value, found.interval.n, found.mark) == (0.9, 1, "‡")
    assert math.isnan(found.interval.low)
    empty = estimate([], score)
    assert math.isnan(empty.interval.value)
    assert shown(empty) == "nan"


def test_the_blocks_of_an_only_volume_are_drawn_and_marked():
    blocks = [right(share) for share in (0.5, 0.7, 0.9, 1.0)]
    whole = np.sum(np.array(blocks), axis=0)
    one = row("a", confusion_human=whole.tolist(), blocks=blocks, metrics={"ece_human": 0.1})
    found = estimate([one], of_counts(overlap.accuracy), overlap.accuracy)
    assert (found.drawn, found.interval.n, found.mark) == ("block", 4, "†")
    assert found.interval.value == pytest.approx(0.775)
    same = of_mean([0.5, 0.7, 0.9, 1.0])  # blocks of one size: the pooled accuracy is their mean
    assert (found.interval.low, found.interval.high) == (pytest.approx(same.low), pytest.approx(same.high))
    assert shown(found) == f"0.775 [{same.low:.3f}, {same.high:.3f}]†"
    assert estimate([one], metric("ece")).mark == "‡", "a score without blocks has no interval"
    assert estimate([one, row("b")], of_counts(overlap.accuracy), overlap.accuracy).drawn == "domain"


def test_scores_are_against_the_truth_where_there_is_one():
    both = row(confusion_truth=right(0.9), confusion_human=right(0.5), metrics={"ece_truth": 0.1, "ece_human": 0.4})
    label = row(confusion_human=right(0.5), metrics={"ece_human": 0.4, "entropy": 0.2})
    assert [metric("ece")(r) for r in (both, label)] == [0.1, 0.4]
    assert [of_counts(overlap.accuracy)(r) for r in (both, label)] == [0.9, 0.5]
    assert metric("entropy")(label) == 0.2
    assert math.isnan(metric("entropy")(both))
    assert f1_of_class_1(np.array(((4, 1), (2, 3)))) == 2 * 3 / (4 + 5)


def test_an_interval_of_lines_draws_a_case_s_numbers_together():
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    lines = np.stack([x, 0.8 * x + 0.3 * rng.normal(size=60)], axis=1)
    found = of_lines(lines, lambda some: pearson(some[:, 0], some[:, 1]))
    r = float(np.corrcoef(lines.T)[0, 1])
    assert found.value == pytest.approx(r)
    # Fisher's z: atanh(r) has the standard error 1 / sqrt(n - 3)
    ends = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(57))
    assert (found.low, found.high) == pytest.approx(ends, abs=0.02)
    gone = np.vstack([lines, [math.nan, 1.0]])
    assert of_lines(gone, lambda some: float(some.mean())).n == 60
    assert of_lines(np.full((2, 2), math.nan), lambda some: 0.0).n == 0
    mean = of_lines(lines[:, :1], lambda some: float(some.mean()))
    assert (mean.low, mean.high) == pytest.approx((of_mean(x).low, of_mean(x).high), abs=1e-12)


def test_an_estimate_in_a_line_says_what_was_drawn():
    sixteen = [row(f"d{n}", confusion_human=right(0.9 + 0.005 * n)) for n in range(16)]
    text = interval_note(sixteen)
    found = of_mean([0.9 + 0.005 * n for n in range(16)])
    assert text.startswith(
        f"mean accuracy (label) {found.value:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}"
    )
    assert text.endswith("over 16 domains (bootstrap, seed 0, 2000 draws)")
    assert interval_note([row(confusion_human=right(0.9))]) == (
        "mean accuracy (label) 0.900, without an interval: n = 1"
    )
    blocks = Estimate(Interval(0.9, 0.8, 0.95, 27), "block")
    assert "over 27 blocks of one volume" in said("x", blocks)


# --- sheets


def test_intervals_are_rounded_on_the_page_and_columns_of_their_own_in_csv():
    cell = Estimate(Interval(2 / 3, 0.6, 0.7, 5), "volume")
    single = Estimate(Interval(0.5, math.nan, math.nan, 1), "volume")
    columns = (Heading("what", words=True), Heading("x"), Heading("n", count=True))
    sheet = Sheet("t", columns, (("a", cell, 5.0), ("b", single, 1.0), ("c", None, math.nan)))
    assert sheet.text()[1:] == [["a", "0.667 [0.600, 0.700]", "5"], ["b", "0.500‡", "1‡"], ["c", "", "nan"]]
    head, *lines = list(csv.reader(io.StringIO(comma_separated([sheet]))))[1:]
    assert head == ["what", "x", "x low", "x high", "x n", "n"]
    assert lines == [
        ["a", repr(2 / 3), "0.6", "0.7", "5", "5.0"],
        ["b", "0.5", "nan", "nan", "1", "1.0"],
        ["c", "", "", "", "", "nan"],
    ]
    text = page("h", [sheet], [])
    assert "- in brackets: 95 % percentile interval of the bootstrap, 2000 draws, seed 0, over volumes (n = 5)" in text
    assert text.count("- ‡ n = 1") == 1


def test_latex_escapes_everything_and_pairs_quotes():
    assert escaped(r"a_b & 5% of $x {y} #1 ~^\ ") == (
        r"a\_b \& 5\% of \$x \{y\} \#1 \textasciitilde{}\textasciicircum{}\textbackslash{} "
    )
    assert escaped('a "quoted word" and `name_1` <b>') == (
        r"a ``quoted word'' and \texttt{name\_1} \textless{}b\textgreater{}"
    )
    assert escaped("*[0.1, 0.2]† 1‡ p²") == r"{*}{[}0.1, 0.2{]}\dag{} 1\ddag{} p$^2$"
    assert escaped("`") == r"\textasciigrave{}"
    columns = (Heading("a & b", words=True), Heading("x_1"), Heading("paper", printed=True))
    sheet = Sheet("50% of `it`", columns, (("[c]", 0.5, 0.25), ("*", None, None)), ("note #1",))
    text = latex("All", [sheet], ["row_1"], "mine")
    assert "[c] & 0.500" not in text
    assert "{[}c{]} & 0.500 & \\emph{0.250} \\\\" in text
    assert "{*} &  &  \\\\" in text, "nothing is emphasised where there is nothing"
    assert "\\caption{50\\% of \\texttt{it}}" in text
    assert "\\label{tab:mine-1}" in text
    assert "\\begin{tabular}{lrr}" in text
    assert "\\par\\footnotesize note \\#1" in text
    assert text.count("\\begin{") == text.count("\\end{") == 2
    assert text.endswith("% row_1\n")


# --- the study's tables


def battery(values_of, name="m", **changes):
    """A row per domain of battery16 with the metrics that `values_of(n, domain)` gives."""
    return [
        row(domain, domain, name, data="battery16", confusion_truth=right(0.9), metrics=values_of(n, domain), **changes)
        for n, domain in enumerate(DOMAINS)
    ]


def studied(n, _):
    return {"accuracy_human": 0.95 - 0.02 * n, "viability": 1.5, "viability_of_human": 1.5 - 0.1 * n + 0.05,
            "viability_of_truth": 1.6, "human_accuracy_truth": 0.98 - 0.02 * n, "accuracy_truth": 0.9}  # fmt: skip


@pytest.fixture
def two_models():
    return [
        stored(battery(studied, "a"), TRAINED, name="a", zoo="a"),
        stored(battery(lambda n, d: studied(n, d) | {"accuracy_human": 0.8}, "b"), TRAINED, name="b", zoo="b"),
    ]


def test_t01_has_the_paper_s_values_and_order_and_ours_beside_them(two_models):
    printed = sandia()
    human, truth = sandia_accuracy(two_models, printed)
    assert [c.text for c in human.columns if c.printed] == ["the study"]
    assert column(human, "the study")[:17] == [*(d.accuracy for d in printed.domains), printed.mean.accuracy]
    assert [str(name).rstrip("*") for name in column(human, "domain")[:17]] == [*DOMAINS, "mean"]
    assert {name for name in column(human, "domain")[:16] if name.endswith("*")} == {f"{d}*" for d in TRAINED}
    assert column(human, "a")[:16] == pytest.approx([0.95 - 0.02 * n for n in range(16)])
    mean = column(human, "a")[16]
    assert mean.interval == of_mean([0.95 - 0.02 * n for n in range(16)])
    assert (mean.interval.n, mean.drawn) == (16, "domain")
    inside = [0.95 - 0.02 * n for n, d in enumerate(DOMAINS) if d in TRAINED]
    assert values(column(human, "a")[17:])[0] == pytest.approx(np.mean(inside))
    assert [cell.interval.n for cell in column(human, "a")[17:]] == [2, 14]
    assert column(human, "the study")[17:] == [None, None], "the paper prints no such mean"
    assert any("built in" in note for note in human.notes)
    assert any("blocks are against the truth" in note for note in human.notes)
    assert [c.text for c in truth.columns] == ["domain", "human-like label", "a", "b"]
    assert values(column(truth, "human-like label"))[:16] == pytest.approx([0.98 - 0.02 * n for n in range(16)])


def test_blocks_of_a_domain_are_drawn_against_the_truth_alone():
    rows = battery(studied)
    rows[0] = rows[0].model_copy(update={"blocks": (right(0.8), right(1.0)), "confusion_truth": right(0.9, 2000)})
    human, truth = sandia_accuracy([stored(rows, TRAINED)], sandia())
    assert isinstance(human.lines[0][2], float)
    assert (truth.lines[0][2].drawn, truth.lines[0][2].interval.n) == ("block", 2)
    assert truth.lines[1][2].mark == "‡"


def test_domains_without_rows_are_nan_and_said(two_models):
    part = two_models[0]
    few = stored([r for r in part.rows if r.domain not in ("E35", "Tesla")], TRAINED, name="a", zoo="a")
    human, _ = sandia_accuracy([few], sandia())
    assert math.isnan(human.lines[0][2])
    assert column(human, "a")[16].interval.n == 14
    assert any("a has no rows of E35, Tesla" in note for note in human.notes)
    assert sandia_accuracy([], sandia()) == []
    assert sandia_viability([], sandia()) == []


def test_t02_has_wins_and_correlation_of_both(two_models):
    printed = sandia()
    domains, summary = sandia_viability(two_models, printed)
    assert [c.text for c in domains.columns if c.printed] == [
        "accuracy, the study", "human label, the study", "model, the study",
    ]  # fmt: skip
    for heading, key in (
        ("accuracy, the study", "accuracy"),
        ("human label, the study", "human_viability"),
        ("model, the study", "ml_viability"),
    ):
        assert column(domains, heading) == [
            *(getattr(d, key) for d in printed.domains),
            getattr(printed.mean, key),
        ]
    assert column(domains, "viability a")[:16] == [1.5] * 16
    wins, r, gap = summary.lines
    assert wins[1:] == ("14 of 16", "15 of 16", "15 of 16"), "the first domain's gap is -0.05"
    assert r[1] == pytest.approx(-0.9708, abs=5e-5)
    assert r[2].interval.value == pytest.approx(-1)
    assert math.isnan(r[3].interval.value), "no correlation with a constant"
    assert gap[1] == pytest.approx(1.799 - 1.497)
    assert gap[2].interval.value == pytest.approx(np.mean([0.1 * n - 0.05 for n in range(16)]))


# --- calibration


def test_calibration_before_and_after_stand_side_by_side():
    def scores(scale):
        return lambda n, _: {
            "ece_truth": scale * (n + 1), "ece_classwise_truth": 0.5 * scale, "nll_truth": scale, "brier_truth": scale,
        }  # fmt: skip

    slices = [row("x", str(n), data="mine", metrics={"ece_human": 0.1 * n}) for n in (1, 2, 3)]
    runs = [
        stored(battery(scores(0.001)), TRAINED),
        stored(battery(scores(0.002), calibrated=False), TRAINED, name="u", uncalibrated=True),
        stored(slices, name="s", data="mine"),
        stored(battery(scores(0.9), calibrated=True), TRAINED, name="wrong", uncalibrated=True, seed=1),
    ]
    errors, likelihood, domains = calibration(runs)
    inside = [n + 1 for n, d in enumerate(DOMAINS) if d in TRAINED]
    first = line(errors, "battery16, in (2 domains)")
    assert first["ECE before"].interval.value == pytest.approx(0.002 * np.mean(inside))
    assert first["ECE after"].interval == of_mean([0.001 * n for n in inside])
    assert line(errors, "battery16, all")["ECE after"].interval.value == pytest.approx(0.001 * 8.5)
    assert line(errors, "battery16, out (14")["class-wise ECE before"].interval.value == pytest.approx(0.001)
    measured = line(errors, "x (3 volumes)")
    assert measured["ECE after"].interval == of_mean([0.1, 0.2, 0.30000000000000004])
    assert math.isnan(measured["ECE before"].interval.value), "nothing was run without calibration"
    assert line(likelihood, "battery16, all")["NLL before"].interval.value == pytest.approx(0.002)
    assert len(domains.lines) == 17
    assert [cells[1] for cells in domains.lines[:3]] == ["in", "in", "out"]
    assert line(domains, "E35")["ECE before"] == pytest.approx(0.002)
    assert domains.text()[1][2] == "1‡"
    assert calibration([]) == []


# --- uncertainty


def measured_by(auroc, mean):
    def values_of(n, domain):
        out = domain not in TRAINED
        found = {f"error_auroc_{m}_truth": auroc + 0.01 * i for i, m in enumerate(MEASURES)}
        found |= {f"ause_{m}_truth": 0.2 for m in MEASURES} | dict.fromkeys(MEASURES, mean * (2 if out else 1))
        return found | {"share_band_truth": 0.3, "accuracy_band_truth": 0.7, "entropy_band_truth": 0.4}

    return values_of


def test_uncertainty_has_every_measure_and_softmax_alone():
    twin = battery(
        lambda n, d: {"error_auroc_entropy_truth": 0.85, "entropy": 0.1, "ause_entropy_truth": 0.3}, samples=0
    )
    runs = [stored(battery(measured_by(0.9, 0.05)), TRAINED), stored(twin, TRAINED, name="t", samples=0)]
    sheets = uncertainty(runs)
    area = sheets[0]
    assert [cells[0] for cells in area.lines] == [
        "m, entropy", "m, mutual information", "m, P70-P30", "m, standard deviation", "m, softmax alone, entropy",
    ]  # fmt: skip
    assert values(column(area, "battery16, all (16 domains)")) == pytest.approx([0.9, 0.91, 0.92, 0.93, 0.85])
    gains = titled(sheets, "less softmax alone")
    assert values(column(gains, "battery16, in (2 domains)")) == pytest.approx([0.05, 0.06, 0.07, 0.08])
    rising = titled(sheets, "rises out of domain")
    entropy, alone = line(rising, "m, entropy"), line(rising, "m, softmax alone")
    assert (entropy["out / in"], entropy["AUROC"]) == (pytest.approx(2), 1.0)
    assert (alone["out / in"], alone["AUROC"]) == (pytest.approx(1), 0.5)
    boundary = titled(sheets, "At phase boundaries")
    assert line(boundary, "m, battery16, all")["accuracy, band"].interval.value == pytest.approx(0.7)
    assert math.isnan(line(boundary, "m, battery16, all")["accuracy, interior"].interval.value)
    means = titled(sheets, "Uncertainty at phase boundaries")
    assert line(means, "m, battery16, in")["entropy, band"] == pytest.approx(0.4)
    assert uncertainty([]) == []


def test_the_gain_over_softmax_is_of_the_same_volume():
    """Paired: the interval is of differences, which do not vary here, and not of scores, which do."""
    own = battery(lambda n, d: {"error_auroc_entropy_truth": 0.8 + 0.01 * n})
    twin = battery(lambda n, d: {"error_auroc_entropy_truth": 0.75 + 0.01 * n}, samples=0)
    gains = titled(uncertainty([stored(own), stored(twin, name="t", samples=0)]), "less softmax alone")
    found = gains.lines[0][1].interval
    assert (found.value, found.low, found.high) == pytest.approx((0.05, 0.05, 0.05))


# --- domain shift


def at(accuracy, domains=DOMAINS, data="battery16", **changes):
    return [
        row(d, d, data=data, confusion_truth=right(accuracy), metrics={"ece_truth": 0.1}, **changes) for d in domains
    ]


def test_shift_has_methods_in_lines_and_data_in_columns():
    blocks = [right(share) for share in (0.7, 0.8, 0.9)]
    volume = row("w", "v", data="woven", confusion_human=right(0.8, 3000), blocks=blocks)
    slices = [row("n", str(k), data="nano", confusion_human=right(0.8 + 0.05 * k)) for k in (0, 1, 2)]
    half = [r for d in DOMAINS for r in at(0.95 if d in TRAINED else 0.9, [d])]
    otsu = at(0.6, kind="baseline", model="otsu", model_hash=None)
    runs = [
        stored([*half, *otsu], TRAINED, name="m-battery16"),
        stored(slices, name="m-nano", data="nano"),
        stored([volume], name="m-woven", data="woven"),
        stored(at(0.94), name="m-1-battery16", zoo="runs/m", of_seed=True),
        stored(at(0.98), name="m-3-battery16", zoo="runs/m-3", of_seed=True),
        stored(at(0.91, seed=1), TRAINED, name="m-battery16-masks-1", seed=1),
        stored(at(0.5, model="s"), TRAINED, name="s-battery16", zoo="s"),
    ]
    accuracy, iou, f1, ece, moving = shift(runs)
    assert [cells[:2] for cells in accuracy.lines] == [
        ("m", "Litarion, Electrode_IV_1"),
        ("m-1 (sibling)", "Litarion, Electrode_IV_1"),
        ("m-3 (sibling)", "Litarion, Electrode_IV_1"),
        ("s", "Litarion, Electrode_IV_1"),
        ("Otsu", "nothing"),
    ]
    assert [c.text for c in accuracy.columns[2:]] == [
        "battery16, in (2 domains)", "battery16, out (14 domains)", "n (3 volumes)", "w (1 volume)",
    ]  # fmt: skip
    assert values(accuracy.lines[0][2:]) == pytest.approx([0.95, 0.9, 0.85, 0.8])
    assert [cell.mark for cell in accuracy.lines[0][2:]] == ["", "", "", "†"]
    assert accuracy.lines[0][4].interval == of_mean([0.8, 0.85, 0.9])
    assert [math.isnan(v) for v in values(accuracy.lines[3][2:])] == [False, False, True, True]
    assert values(accuracy.lines[4][2:4]) == pytest.approx([0.6, 0.6])
    assert [cell.mark for cell in ece.lines[0][2:]] == ["", "", "", ""], "what is undefined bears no mark"
    counts = np.array(right(0.8, 3000))
    assert values(f1.lines[0][5:]) == [pytest.approx(float(overlap.f1(counts)[1]))]
    assert values(iou.lines[0][5:]) == [pytest.approx(overlap.miou(counts))]
    out = next(cells for cells in moving.lines if cells[:2] == ("battery16, out (14 domains)", "accuracy"))
    trainings, masks = out[2:6], out[6:]
    assert trainings == (3.0, pytest.approx(np.std([0.9, 0.94, 0.98], ddof=1)), pytest.approx(0.9), pytest.approx(0.98))
    assert masks == (2.0, pytest.approx(np.std([0.9, 0.91], ddof=1)), pytest.approx(0.9), pytest.approx(0.91))
    assert shift([]) == []


def test_a_model_whose_training_domains_are_not_known_is_not_split():
    accuracy, *_ = shift([stored(at(0.9))])
    assert [c.text for c in accuracy.columns[2:]] == ["battery16, all (16 domains)"]
    assert accuracy.lines[0][1] == "unknown"


# --- old rows, and the committed pages


def test_every_kind_of_table_can_be_made_of_rows_that_have_nothing():
    bare = [row(d, d, data="battery16", confusion_truth=right(0.9)) for d in DOMAINS]
    runs = [stored(bare, TRAINED), stored(bare, TRAINED, name="t", samples=0)]
    for name, kind in SHOWS.items():
        if name == "robustness":
            continue  # of another data set
        for sheet in kind.make(runs):
            assert "nan" in page("h", [sheet], []) or name in ("claims", "carry-over", "precisions", "shift")
            assert latex("h", [sheet], [])
            assert comma_separated([sheet])


def test_a_kind_of_table_is_defined_where_it_is_made():
    assert sorted([*SHOWS, *STUDIES, *RECORDS]) == sorted(TableDefinition.model_fields["shows"].annotation.__args__)


def test_the_definition_in_the_docs_is_one():
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "tables.md").read_text(), re.S)
    table = TableDefinition.model_validate(tomllib.loads(text))
    assert (table.shows, table.run[0].data, table.notes[0][:4]) == ("shift", "my-scans", "what")


def test_notes_of_a_definition_stand_on_its_page(tmp_path):
    name = "shift"
    made = make(name, definition(name))
    assert "raw-only has no label" in " ".join(made.notes)
    paths = write(made, tmp_path)
    assert [path.suffix for path in paths] == [".md", ".csv", ".tex"]
    assert "\nNotes:\n\n- every measured set" in paths[0].read_text()


@pytest.mark.parametrize("name", table_names())
def test_the_committed_tables_are_what_is_made_of_the_stored_rows(name, tmp_path):
    for path in write(make(name, definition(name)), tmp_path):
        if path.suffix != ".png":
            committed = home() / "tables" / path.name
            assert committed.read_text() == path.read_text(), f"segbench tables {name} --out evaluate/tables"


@pytest.mark.parametrize("path", sorted((ROOT / "evaluate" / "tables").glob("*.tex")), ids=lambda path: path.name)
def test_a_committed_page_of_latex_is_plain(path: Path):
    text = path.read_text()
    body = "\n".join(one for one in text.splitlines() if not one.startswith("%"))
    assert body.isascii(), sorted(set(re.findall(r"[^\x00-\x7f]", body)))
    assert not re.search(r"(?<!\\)[%#]", body)
    depth = [len(re.findall(r"(?<!\\)" + brace, body.replace("\\\\", ""))) for brace in (r"\{", r"\}")]
    assert depth[0] == depth[1]
    for table in body.split("\\begin{tabular}")[1:]:
        wanted = len(re.findall(r"[lr]|p\{0\.2\\linewidth\}", table.split("\n")[0]))
        rows = [one for one in table.split("\n") if one.endswith(" \\\\")]
        assert rows
        assert {len(re.findall(r"(?<!\\)&", one)) + 1 for one in rows} == {wanted}
