"""The BioImage.IO package: its consumers' own test passes, without a network, and can fail."""

import math
import socket
import tomllib
from pathlib import Path

import numpy as np
import pytest

from segbench.errors import EngineError, InputError
from segbench.export import specimen
from segbench.export.artifact import make
from segbench.export.documentation import documentation
from segbench.export.evaluations import by_domain, evaluation
from segbench.export.profile import read_profile
from segbench.export.targets import bioimageio as target
from segbench.zoo import find
from segbench.zoo.artifact import read_artifact

core = pytest.importorskip(
    "bioimageio.core", reason="SKIPPED LOUDLY: no BioImage.IO package is proved: pip install 'segbench[bioimageio]'"
)
pytestmark = [  # what bioimageio.core says of any percentile, and files that it leaves to the collector
    pytest.mark.filterwarnings("ignore:Computed dataset percentiles naively:UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("a test asked for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(specimen, "EDGE", 16)


@pytest.fixture(scope="module")
def artifact(tiny, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bioimageio") / "made"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(specimen, "EDGE", 16)
        make(tiny, "bioimageio", out)
    return out


def examined(package: Path):
    """What `bioimageio test` says of a package."""
    return core.test_description(package / "bioimageio.yaml", expected_type="model")


def test_the_package_passes_its_consumers_test(artifact):
    said = examined(artifact / "package")
    assert said.status == "passed", said.format()
    names = [detail.name for detail in said.details if detail.loc == ("weights", "onnx")]
    assert sum("Reproduce test outputs" in name for name in names) == 1
    assert sum("size parameter n" in name for name in names) == 3


def test_a_package_of_another_network_fails_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(specimen, "stated", lambda image, _: (image / 30000).astype(np.float32))
    make(tiny, "bioimageio", tmp_path / "made")
    said = examined(tmp_path / "made" / "package")
    assert said.status != "passed"
    assert ["Reproduce" in detail.name for detail in said.details if detail.status == "failed"] == [True]


def test_the_artifact_has_all_kinds_and_every_file_is_pinned(artifact):
    found = read_artifact(artifact)
    assert [part.kind for part in found.parts] == ["masked", "deterministic", "seeded", "aggregated"]
    assert {part.path for part in found.parts} == {f"package/{part.kind}.onnx" for part in found.parts}
    assert {"package/bioimageio.yaml", "package/README.md", "package/cover.png"} <= set(found.files)
    assert found.tools["bioimageio.spec"]


def test_the_description_states_axes_normalisation_and_what_is_attached(artifact, tiny):
    from bioimageio.spec import load_model_description

    described = load_model_description(artifact / "package" / "bioimageio.yaml", perform_io_checks=False)
    (image,), (probability,) = described.inputs, described.outputs
    assert [axis.id for axis in image.axes] == ["batch", "channel", "z", "y", "x"]
    multiple, halo = tiny.card.input.multiple, tiny.card.input.halo
    for axis, step, border in zip(image.axes[2:], multiple, halo, strict=True):
        assert axis.size.step == step
        assert axis.size.min % step == 0
        assert axis.size.min > 2 * border
    assert [axis.halo for axis in probability.axes[2:]] == list(halo)
    assert image.pad.mode == "edge"
    assert [step.id for step in probability.postprocessing][:2] == ["scale_linear", "sigmoid"]
    assert {str(file.source) for file in described.attachments} == {
        "masked.onnx", "seeded.onnx", "aggregated.onnx", "card.toml",
    }  # fmt: skip
    assert described.config.segbench["model_hash"] == tiny.hash


def test_the_specimen_is_in_the_format_of_its_card(tiny):
    made = specimen.specimen(tiny)
    assert made.image.shape == made.probability.shape
    assert made.image.dtype == made.probability.dtype == np.float32
    assert np.array_equal(made.image, np.rint(made.image))
    assert 0 <= made.probability.min() < made.probability.max() <= 1
    cover = specimen.cover(made)
    assert cover.size == (512, 256)


def test_a_fixed_tile_is_a_fixed_size(tiny):
    fixed = tiny.card.model_copy(update={"input": tiny.card.input.model_copy(update={"fixed_tile": True})})
    core_, halo = fixed.input.core, fixed.input.halo
    assert specimen.sizes(fixed) == [(c + 2 * h, 0) for c, h in zip(core_, halo, strict=True)]


def test_the_page_says_what_the_format_cannot(tiny):
    made = specimen.Specimen(np.zeros((1, 1, 4, 4, 4), np.float32), np.zeros((1, 1, 4, 4, 4), np.float32), 0.0021)
    inside = tiny.card.input.normalisation.model_copy(update={"exterior": False, "clip_percentiles": None})
    outside = inside.model_copy(update={"exterior": True, "clip_percentiles": (0.1, 99.9)})
    pages = []
    for normalisation in (inside, outside):
        input_ = tiny.card.input.model_copy(update={"normalisation": normalisation})
        pages.append(documentation(tiny.card.model_copy(update={"input": input_}), made, ["masked.onnx"]))
    plain, full = pages
    assert "constant exterior" not in plain
    assert "percentiles" not in plain
    assert "constant exterior" in full
    assert "before it clips" in full
    for page in pages:
        assert "## Validation" in page
        assert "0.002 in probability" in page
        assert "masked.onnx" in page
        assert "seeded.onnx" not in page


def test_evaluations_are_the_cards_means_and_the_stored_rows_by_domain():
    model = find("vnet-battery")
    (result,) = (r for r in model.card.results if (r.data, r.precision) == ("battery16", "f32"))
    assert len(by_domain(model, result)) == 16
    profile, _ = read_profile("bioimageio")
    table = evaluation(model, result, target.Options.model_validate(profile.options).data["battery16"])
    assert len(table.evaluation_factors) == 17
    for row in table.results:
        assert math.isclose(row[0], sum(row[1:]) / 16, rel_tol=1e-9)
    assert "not measured data" in table.results_summary
    other = model.model_copy(update={"card": model.card.model_copy(update={"version": "9"})})
    assert by_domain(other, result) == {}, "rows of another model"


def test_every_data_set_of_the_zoo_has_an_address():
    profile, _ = read_profile("bioimageio")
    for name in ("vnet-battery", "vnet-sandia"):
        assert {result.data for result in find(name).card.results} <= set(profile.options["data"])


def test_what_is_missing_or_wrong_is_one_line(tiny, tmp_path, monkeypatch):
    _, path = read_profile("bioimageio")
    text = path.read_text()
    profile = tmp_path / "mine.toml"
    profile.write_text(text.replace("authors =", "autors ="))
    with pytest.raises(InputError, match="autors"):
        make(tiny, str(profile), tmp_path / "a")
    profile.write_text(text.replace('doi = "10.1109/3DV.2016.79"', 'doi = "none"'))
    with pytest.raises(EngineError, match=r"BioImage.IO refuses this package: .*doi"):
        make(tiny, str(profile), tmp_path / "b")
    assert tomllib.loads(text)["tolerance"].keys() == {"f32"}
    monkeypatch.setattr(target, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"segbench\[bioimageio\]"):
        make(tiny, "bioimageio", tmp_path / "c")
    assert not [entry for entry in tmp_path.iterdir() if entry.name != "mine.toml"], "nothing half-made is left"
