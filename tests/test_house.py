"""The repository as a whole: what lies where, what it may hold, and what travels in the wheel."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import segbench
from segbench import zoo
from segbench.evaluate.cases import open_data
from segbench.resources import FOLDERS
from segbench.train.run import read_recipe
from segbench.zoo.page import page

ROOT = Path(__file__).parent.parent
DOORS = ("train", "export", "serve", "evaluate", "model_zoo")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
DEPENDENCIES = {
    re.split(r"[^\w-]", line)[0] for lines in (PROJECT["project"]["dependencies"], *EXTRAS.values()) for line in lines
} - {"segbench"}
MODULES = sorted((ROOT / "src").rglob("*.py"))
CARDS = sorted((ROOT / "model_zoo").glob(f"*/{zoo.CARD}"))
LINES = 350
MB = 10**6
DISTRIBUTION = {
    "skimage": "scikit-image", "sklearn": "scikit-learn", "PIL": "pillow", "mpl_toolkits": "matplotlib",
    "nrrd": "pynrrd", "google": "protobuf", "bioimageio": "bioimageio-core",
    "grpc": "grpcio",
}  # fmt: skip


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def files() -> list[Path]:
    """What a clone holds: files that git tracks, or would."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [path for line in sorted(set(listed.stdout.split("\0"))) if line and (path := ROOT / line).is_file()]


def test_no_file_names_a_folder_of_the_machine_it_was_written_on():
    """Graphs too: PyTorch's exporter writes the path of every source line into the nodes unless it is stopped."""
    slash = "/"
    places = [f"{slash}{folder}/".encode() for folder in ("root", "work", "Users", r"home/[a-z]\w*")]
    pattern = re.compile(rb"(?<![\w.~-])(" + b"|".join(places) + rb")[\w.]|File \"" + slash.encode())
    found = {name(path): hit.group() for path in files() if (hit := pattern.search(path.read_bytes()))}
    assert not found


def test_nothing_large_or_generated_is_kept():
    large = {name(path): path.stat().st_size for path in files() if path.stat().st_size > 8 * MB}
    assert not large
    generated = re.compile(r"(^|/)(__pycache__|runs|\.venv|build|dist)/|\.(pyc|nbc|nbi|pkl|pickle|pt|pth|ckpt)$")
    assert not [name(path) for path in files() if generated.search(name(path))]


@pytest.mark.parametrize("door", DOORS)
def test_every_front_door_says_what_belongs_there_and_holds_no_code(door):
    assert (ROOT / door / "README.md").read_text().startswith(f"# {door}\n")
    code = [name(path) for path in files() if path.suffix == ".py" and name(path).startswith(f"{door}/")]
    assert not [path for path in code if not path.startswith("serve/clients/")]  # examples, for people to copy


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_is_and_can_be_read_in_five_minutes(path):
    text = path.read_text()
    assert (ast.get_docstring(ast.parse(text)) or "").strip(), "no docstring"
    assert len(text.splitlines()) <= LINES


def test_every_module_is_drawn_in_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawn = set(re.findall(r"`([a-z0-9_.]+)`", page))
    there = {".".join(p.relative_to(ROOT / "src/segbench").with_suffix("").parts) for p in MODULES}
    there = {module for module in there if not module.endswith("__init__")}
    missing = there - drawn
    assert not missing, "these have no line in docs/architecture.md"
    gone = {module for module in re.findall(r"^\| (`.+?) \|", page, re.M) for module in re.findall(r"`(.+?)`", module)}
    source = ROOT / "src/segbench"
    packages = {".".join(path.parent.relative_to(source).parts) for path in source.rglob("__init__.py")}
    assert not gone - there - packages, "in docs/architecture.md and not in src"


def test_what_the_code_imports_is_declared():
    declared = {dependency.replace("-", "_") for dependency in DEPENDENCIES}
    imported = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    outside = imported - set(sys.stdlib_module_names) - {"segbench"}
    assert not {DISTRIBUTION.get(module, module).replace("-", "_") for module in outside} - declared


def test_constraints_name_every_direct_dependency():
    pinned = set(re.findall(r"^([\w-]+)==\d", (ROOT / "constraints.txt").read_text(), re.M))
    assert pinned == DEPENDENCIES


def test_the_changelog_has_a_place_for_the_next_change_and_for_this_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(r"\d+\.\d+\.\d+", segbench.__version__)
    assert PROJECT["project"]["dynamic"] == ["version"]  # __version__ is the only place


def test_extras_that_pages_name_exist():
    pages = " ".join(path.read_text() for path in files() if path.suffix == ".md" or path.name == "Makefile")
    named = {extra for group in re.findall(r"(?:segbench|'\.)\[([\w,]+)\]", pages) for extra in group.split(",")}
    assert named <= set(EXTRAS)


@pytest.mark.parametrize("path", sorted((ROOT / "train").glob("*.toml")), ids=name)
def test_every_recipe_reads_and_bears_its_name(path):
    assert read_recipe(path).name in (path.stem, f"{path.stem}-battery")


def test_the_default_model_is_there():
    assert "vnet-battery" in [card.parent.name for card in CARDS]


@pytest.mark.parametrize("card", CARDS, ids=name)
def test_a_model_is_its_card_its_files_and_its_page(card):
    model = zoo.find(card.parent.name)
    assert model.card.name == card.parent.name
    assert model.path == card.parent
    pinned = {file.path for file in model.card.files.each}
    assert {path.name for path in card.parent.iterdir()} == {zoo.CARD, "README.md", *pinned}
    assert (card.parent / "README.md").read_text() == page(model.card)
    assert (ROOT / "train" / model.card.training.recipe).is_file()


@pytest.mark.parametrize("card", CARDS, ids=name)
def test_a_models_page_names_data_of_its_classes(card):
    (command,) = re.findall(r"(?m)^    segbench eval (.*)$", (card.parent / "README.md").read_text())
    data = re.search(r"--data (\S+)", command)
    assert open_data(data[1] if data else "battery16").classes == zoo.find(card.parent.name).card.classes


def test_the_zoo_is_small_enough_to_travel():
    sizes = {name(path): path.stat().st_size for path in (ROOT / "model_zoo").rglob("*") if path.is_file()}
    assert max(sizes.values()) < 8 * MB
    assert sum(sizes.values()) < 60 * MB


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_code_and_resources_and_nothing_else(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    there = [path for path in (ROOT / "src/segbench").rglob("*.*") if path.suffix in (".html", ".css", ".js")]
    beside = {name(path).removeprefix("src/") for path in there}
    assert len(beside) == 7  # of view and report three each, and their common style
    code = {name(path).removeprefix("src/") for path in MODULES} | {"segbench/py.typed"} | beside
    resources = {
        f"segbench/_resources/{name(path)}"
        for path in files()
        if name(path).split("/")[0] in FOLDERS and path.name != "README.md"
    }
    information = {path for path in held if path.startswith(f"segbench-{segbench.__version__}.dist-info/")}
    assert held - information == code | resources
    assert any(path.endswith("entry_points.txt") for path in information)


def test_an_installed_wheel_finds_its_resources(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    script = (
        "import segbench\nfrom segbench import zoo\nfrom segbench.evaluate.printed import sandia\n"
        "print(segbench.__file__, sandia().of('Tesla') and 'printed', *zoo.names())\n"
        "for name in zoo.names():\n    zoo.find(name)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    where, *there = done.stdout.split()
    assert Path(where).is_relative_to(tmp_path)
    assert there == ["printed", *(card.parent.name for card in CARDS)]
