"""The README: its commands run, its links lead somewhere, and a result comes early.

Commands stand in blocks marked `console`, after `$ `; the commands of a block run in order in one folder, a copy of
the repository with recipes that are seconds long. What would take long, or leave that folder, is run as the short
equivalent that `RULES` names. A command without a rule fails.
"""

import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from segbench.bench.row import read_rows as bench_rows
from segbench.bench.summary import baseline, dense_passes, find, median, ratio
from segbench.data.battery16 import make_case
from segbench.data.domains import DOMAINS
from segbench.evaluate.carry_over import scores
from segbench.evaluate.table import per_domain, viability_gap
from segbench.io import write_tiff
from segbench.metrics.overlap import iou, mean, miou
from segbench.rows import read_rows

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PIP = "python -m pip install --dry-run --quiet --no-deps --no-index --no-build-isolation"
SHORT = "--samples 2 --size 48"
COMPOSITE = ("unet2d-composite-fast", "unet2d-composite", "unet25d-composite", "unet3d-composite")
MINE = "--data mine.toml --root mine --domain all"  # `mine` is the stand-in for a user's own data, see `copy`

# A command of the README, as a whole -> what is run instead; "{}" is the command itself, of repeated options the last
# counts. The first rule that fits is taken.
RULES = {
    r"segbench( \w+)* --help|segbench --version": "{}",
    r"segbench (zoo (list|show|verify)|data list)( .*)?": "{}",
    r"segbench tables( [a-z-]+)*( --list)?": "{}",
    r"segbench data (show|make) .*": "{} --size 48",
    r"segbench data check \S+( --root \S+)?( --json)?": "segbench data check mine.toml --root mine",
    r"segbench eval .*--data battery-fib": "{} --samples 2",  # simulated slices: there is no smaller one
    r"segbench eval .*--data fibre-composite.*": "{} --domain aligned --samples 0",  # likewise
    r"segbench eval .*--data (?!battery16).*": f"{{}} {SHORT} {MINE}",
    r"segbench eval( .*)?": f"{{}} {SHORT} --domain Tesla",
    r"segbench compare .*": "segbench compare runs/int8 runs/int8",  # the release is of the whole benchmark
    r"segbench report .*": "{}",
    r"segbench serve .*": "segbench serve --help",  # tests/test_serve_page.py starts it and asks it, as this block does
    r"segbench client infer .*": "segbench client infer --help",
    r"segbench bench .*": "segbench bench --samples 2 --size 16 --repeats 1 --engine onnxruntime",
    r"segbench predict scan\.tif .*": "{} --samples 2",
    r"segbench view scan\.zarr .*": "{}",
    r"segbench train train/\S+( .*)?": "{} --steps 2",
    r"make eval( ARGS=.*)?": f"make --old-file=.venv/.cpu ARGS='{SHORT} --domain Tesla' eval",
    r"make( help)?": "{}",
    r"make (test|check|format|clean)( ARGS=.*)?": "{} --dry-run",  # they run this file, or what they run is CI itself
    r"pip install (-e |--editable )?'?\.\[[\w,]+\]'?": f"{PIP} .",  # extras are looked up by tests/test_house.py
    r"python3? -m venv \.venv": "python -m venv --without-pip another",  # .venv is this environment, see `copy`
    r"(source|\.) \.venv/bin/activate": "test -f .venv/bin/activate",
    r"git clone https://\S+( segbench)?|cd segbench": "test -f pyproject.toml",  # the copy is the clone
    r"(cat|head|ls) [^-/.]\S*": "{}",
}
OUTSIDE = re.compile(r"(^|[\s=])(/|~|\.\./)(?!shared/real)")  # a path that leaves the copy
SHELL = re.compile(r"[|><;&`$]")


def instead(command: str) -> str:
    """What is run for a command of the README."""
    command = command.removeprefix(".venv/bin/")
    for pattern, short in RULES.items():
        if re.fullmatch(pattern, command):
            own = re.sub(r" --(data|root) \S+", "", command) if MINE in short else command
            wanted = short.replace("{}", own)
            if own in wanted and (OUTSIDE.search(own) or SHELL.search(own)):
                raise ValueError(f"writes or reads outside the folder, or is not one plain command: {command}")
            return wanted
    raise ValueError(f"no rule in tests/test_readme.py for: {command}")


def blocks(text: str) -> list[tuple[int, str, str]]:
    """Fenced blocks as (line of the fence, language, content)."""
    found = re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S)
    return [(text.count("\n", 0, hit.start()) + 1, hit[1].strip(), hit[2]) for hit in found]


def commands(block: str) -> list[str]:
    """Commands of a console block; a line that ends in a backslash goes on."""
    lines = re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.M)
    return [" ".join(re.sub(r"\s#\s.*$", "", line).split()) for line in lines]


CONSOLE = {line: commands(text) for line, language, text in blocks(README) if language == "console"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the repository with recipes that are seconds long, and a user's own data in `mine`."""
    for path in ROOT.iterdir():
        if path.name in {"src", "model_zoo", "tests"}:
            (tmp_path / path.name).symlink_to(path)
        elif path.is_dir() and not path.name.startswith(".") and path.name != "runs":
            shutil.copytree(path, tmp_path / path.name)
        elif path.is_file():
            shutil.copy(path, tmp_path)
    for path in (tmp_path / "train").glob("*.toml"):
        recipe = tomllib.loads(path.read_text())
        data = recipe.get("data", {})
        if "volumes_per_domain" not in data:
            continue  # no block trains on slices; tests/test_train_classes.py does
        data |= {"size": 48, "volumes_per_domain": 1, "validation": 1, "randomised": min(1, data.get("randomised", 0))}
        recipe |= {"batch": 1, "crop": 32}
        path.write_text(tomli_w.dumps(recipe))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    case = make_case(DOMAINS["Tesla"], 48, 0)
    (tmp_path / "mine").mkdir()
    write_tiff(tmp_path / "mine" / "image.tif", case.image)
    write_tiff(tmp_path / "mine" / "label.tif", case.label)
    write_tiff(tmp_path / "scan.tif", case.image)
    manifest = {
        "name": "mine",
        "source": "a test",
        "licence": "none",
        "use": "check only",
        "classes": ["void", "active"],
    }
    files = {"name": "a", "split": "test", "image": "image.tif", "label": "label.tif"}
    domain = {"name": "mine", "labels": {"0": 0, "1": 1}, "case": [files]}
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(manifest | {"domain": [domain]}))
    return tmp_path


def run(command: str, folder: Path, cache: Path) -> None:
    """Runs one plain command as a person would, with this interpreter's commands first."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SEGBENCH_CACHE": str(cache),
        "MAKEFLAGS": "",
    }
    done = subprocess.run(
        shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_readme_shows_commands():
    shown = [command for block in CONSOLE.values() for command in block]
    assert "make eval" in shown
    assert any(command.startswith("segbench eval") for command in shown)


@pytest.mark.parametrize("line", CONSOLE, ids=lambda line: f"line{line}")
def test_the_commands_of_a_block_run(line, copy, cache):
    assert CONSOLE[line], "a console block without a command: mark it `text`"
    for command in CONSOLE[line]:
        for path in re.findall(r"\b(?:train|evaluate|docs|model_zoo)/[\w./-]+\w", command):
            assert (ROOT / path).exists(), f"{command}: there is no {path}"
        run(instead(command), copy, cache)


@pytest.mark.parametrize(
    "command",
    [
        "segbench watch scans --zoo vnet-battery",
        "segbench eval --zoo vnet-battery --out /tmp/eval",
        "segbench eval --zoo vnet-battery | tee log",
        "segbench train recipe.toml",
        "curl https://example.org",
        "make everything",
    ],
)
def test_a_command_without_a_rule_is_refused(command):
    with pytest.raises(ValueError, match=r"no rule|outside"):
        instead(command)


def test_every_block_is_of_a_kind_that_is_checked(copy, cache):
    for line, language, text in blocks(README):
        assert language in {"console", "python", "toml", "text"}, f"line {line}: a block marked {language!r}"
        if language == "toml":
            tomllib.loads(text)
        if language == "python":
            run(shlex.join([sys.executable, "-c", text]), copy, cache)
        if language == "text":
            assert not re.search(r"^\$ ", text, re.M), f"line {line}: a command in a block of text"
    assert not re.search(r"^ {4}(\$ |segbench |make |pip )", README, re.M), "a command outside a console block"


def test_a_result_comes_before_line_40():
    """A row of a table with a number in it, or a picture."""
    first = README.splitlines()[:39]
    assert any(re.match(r"\|.*\d\.\d.*\|", line) or re.search(r"!\[.*\]\(|<img ", line) for line in first)


def test_the_numbers_are_those_of_the_committed_rows():
    """Nothing in the README's results is typed in: rows.json of the run that it shows, rounded."""
    results = ROOT / "evaluate" / "results"
    page = (results / "vnet-battery-battery16" / "table.md").read_text()
    shown = [line for line in page.split("\n## ")[1].splitlines() if line.startswith("|")]
    assert "\n".join(shown) in README
    rows = read_rows(results / "vnet-battery-battery16" / "rows.json")
    for name, shown in (("vnet-battery", r"\*\*vnet-battery\*\*"), ("forest", "random forest"), ("otsu", "Otsu")):
        lines = per_domain(rows, name).values()
        scores = ("accuracy_truth", "miou_truth", "f1_void_truth", "f1_active_truth")
        means = " \\| ".join(f"{mean([line[key] for line in lines]):.3f}" for key in scores)
        assert re.search(rf"^\| {shown}.* \| {means} \|$", README, re.M), (name, means)
    model = list(per_domain(rows, "vnet-battery").values())
    wins, count, r = viability_gap(model)
    assert f"in {wins} of {count} domains" in README
    assert f"(r = {r:.2f})" in README
    assert f"| the human-like label | {mean([line['human_accuracy_truth'] for line in model]):.3f} |" in README
    assert f"took {sum(row.wall_s for row in rows if row.kind == 'case'):.0f} s" in README


def test_the_carry_over_table_is_of_the_committed_rows():
    block = re.search(r"<!-- carry-over -->\n(.*?)<!-- /carry-over -->", README, re.S)[1]
    found = []
    for data in ("nmc-nanoct", "woven-composite", "glass-fibre-pa66"):
        rows = read_rows(ROOT / "evaluate" / "results" / f"vnet-battery-{data}" / "rows.json")
        for domain in dict.fromkeys(row.domain for row in rows):
            own = scores([row for row in rows if row.domain == domain and row.kind == "case"])
            others = [
                scores([r for r in rows if r.domain == domain and r.model == m])["f1"] for m in ("otsu", "forest")
            ]
            values = [*(own[key] for key in ("f1", "precision", "recall", "auc")), *others]
            found.append(["" if math.isnan(value) else f"{value:.3f}" for value in values])
    lines = [[cell.strip() for cell in line.split("|")[2:-1]] for line in block.splitlines()[2:]]
    assert lines == found


def test_the_table_of_three_phases_is_of_the_committed_rows():
    block = re.search(r"<!-- matphase -->\n(.*?)<!-- /matphase -->", README, re.S)[1]
    rows = read_rows(ROOT / "evaluate" / "results" / "matphase-battery-battery-fib" / "rows.json")
    cases = {(row.model, row.domain): row.metrics for row in rows}
    found = []
    for domain in ("clean", "specimen-2", "low-dose"):
        own = [
            cases["matphase-battery", domain][f"{key}_human"] for key in ("miou", "f1_pore", "f1_carbon", "f1_nickel")
        ]
        others = [cases[method, domain]["miou_human"] for method in ("forest", "otsu")]
        found.append([f"{value:.3f}" for value in (*own, *others)])
    lines = [[cell.strip() for cell in line.split("|")[2:-1]] for line in block.splitlines()[2:]]
    assert lines == found


def test_the_table_of_composites_is_of_the_committed_rows():
    block = re.search(r"<!-- composite -->\n(.*?)<!-- /composite -->", README, re.S)[1]
    found = []
    for name in COMPOSITE:
        rows = read_rows(ROOT / "evaluate" / "results" / f"{name}-fibre-composite" / "rows.json")
        (own,) = (np.array(row.confusion_truth) for row in rows if (row.model, row.domain) == (name, "aligned"))
        (forest,) = (np.array(r.confusion_truth) for r in rows if (r.model, r.domain) == ("forest", "aligned"))
        found.append([f"{value:.3f}" for value in (miou(own), *iou(own))])
    found.append([f"{value:.3f}" for value in (miou(forest), *iou(forest))])
    lines = [[cell.strip() for cell in line.split("|")[2:-1]] for line in block.splitlines()[2:]]
    assert lines == found


def test_the_share_of_right_pixels_on_measured_slices_is_of_the_committed_rows():
    rows = read_rows(ROOT / "evaluate" / "results" / "matphase-battery-nmc-nanoct" / "rows.json")
    found = {}
    for name in ("matphase-battery", "otsu"):
        lines = per_domain([row for row in rows if row.model == name], name).values()
        found[name] = round(100 * mean([line["accuracy_human"] for line in lines]))
    said = f"right in {found['matphase-battery']} % of the pixels, a threshold in {found['otsu']} %"
    assert said in " ".join(README.split())


def test_the_table_of_speeds_is_of_the_committed_rows():
    block = re.search(r"<!-- bench -->\n(.*?)<!-- /bench -->", README, re.S)[1]
    rows = bench_rows(ROOT / "evaluate" / "results" / "vnet-battery-bench" / "bench.json")
    slow = baseline(rows)
    found = [
        [TITLES[r.kind], r.precision, f"{median(r):.2f}", f"{dense_passes(r, rows):.1f}", f"{ratio(slow, r):.1f}"]
        for r in rows
        if r.kind in TITLES
    ]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()[2:]]
    assert lines == found
    assert find(rows, "segbench", "f32").agreement.largest < 1e-6


TITLES = {"segbench": "**segbench**", "monai-torch": "MONAI, PyTorch", "monai-engine": "MONAI, the same OpenVINO graph",
          "onnxruntime": "ONNX Runtime, sample by sample"}  # fmt: skip


def anchors(text: str) -> set[str]:
    """Headings as GitHub names them in links."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted(
    path for door in ("train", "export", "serve", "evaluate", "model_zoo") for path in (ROOT / door).rglob("*.md")
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_image_leads_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for target in targets:
        if re.match(r"https?://", target):
            continue
        where, _, anchor = target.partition("#")
        path = (page.parent / where).resolve() if where else page
        assert path.is_relative_to(ROOT), f"{target} leaves the repository"
        assert path.exists(), f"there is no {target}"
        if anchor:
            assert anchor in anchors(path.read_text()), f"no heading for {target}"
