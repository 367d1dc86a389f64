"""The zoo's own models: what their cards promise holds for the files that lie there."""

import itertools

import numpy as np
import pytest
import torch
from conftest import blobs

from segbench import nets
from segbench.bench.work import halo_cost
from segbench.engines import start
from segbench.engines.channels import UnthinnableError
from segbench.errors import InputError
from segbench.export.lint import check
from segbench.export.verify import verify_model
from segbench.masks import masks, ones
from segbench.nets import weights
from segbench.predict import predict
from segbench.recipe import validate
from segbench.volume import Volume
from segbench.zoo import find, names
from segbench.zoo.card import InputCard
from segbench.zoo.reference import read_reference

MODELS = ("vnet-battery", "vnet-sandia")
COMPOSITE = ("unet2d-composite", "unet2d-composite-fast", "unet25d-composite", "unet3d-composite")


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return find(request.param)


@pytest.fixture(scope="module", params=(*MODELS, *COMPOSITE))
def every(request):
    return find(request.param)


def image_of(model):
    return read_reference(model.reference).image


def test_a_reference_changes_no_hash(model):
    bare = model.card.files.model_copy(update={"reference": None})
    assert model.model_copy(update={"card": model.card.model_copy(update={"files": bare})}).hash == model.hash
    assert model.reference.stat().st_size < 600_000


def test_the_zoo_holds_what_it_should():
    assert {*MODELS, *COMPOSITE} <= set(names())


def test_cards_fit_their_networks(every):
    card = every.card
    network = nets.build(card.network.kind, **card.network.options)
    assert card.network.parameters == network.parameter_count()
    assert card.dropout == network.sites
    assert (card.input.multiple, card.input.border, card.input.fixed_tile) == (
        network.stride,
        network.border,
        network.fixed_tile,
    )
    assert _halo_cost(every) <= 2.5, "the halo costs at most 2.5 times the useful voxels"
    assert card.results, "what the model reaches stands in its card"
    assert card.limits


def _halo_cost(model) -> float:
    """In operations for a useful voxel: of a thin sample no more is computed than the core needs."""
    try:
        return halo_cost(model, 4)
    except UnthinnableError:
        need = model.card.input
        return np.prod([c + 2 * h for c, h in zip(need.core, need.halo, strict=True)]) / np.prod(need.core)


@pytest.mark.parametrize(("written", "meant"), [(8, (8, 8, 8)), ([8, 8, 8], (8, 8, 8)), ([1, 8, 8], (1, 8, 8))])
def test_one_multiple_means_all_three_axes(written, meant):
    """Older cards hold one number."""
    card = {"normalisation": {}, "core": [8, 8, 8], "halo": [0, 0, 0]}
    need = validate(card | {"multiple": written}, InputCard, "card")
    assert need.multiple == meant
    assert validate(need.model_dump(mode="json"), InputCard, "card") == need
    for wrong in (0, [8, 8], [8, 0, 8], "all"):
        with pytest.raises(InputError, match="card: multiple"):
            validate(card | {"multiple": wrong}, InputCard, "card")


def test_graphs_are_alive_repeatable_and_the_network_of_the_weights(every):
    check(every.graph)
    made = verify_model(every)
    assert {each.status for each in made if each.name != "lint"} == {"passed"}
    (alive,) = (each for each in made if each.name == "liveness")
    assert min(alive.numbers.values()) > 0.01


def test_bit_for_bit_at_one_and_four_threads(model):
    # ONNX Runtime shares out some sizes by the number of threads (24^3, 48^3): there the last bit differs
    image = blobs((32, 32, 32))[None, None]
    drawn = masks(model.card.dropout, 0, range(2))
    results = [start(model, "onnxruntime", threads=threads).bind(drawn)(image) for threads in (1, 4, 4)]
    for a, b in itertools.pairwise(results):
        np.testing.assert_array_equal(a, b)
    other = start(model, "onnxruntime", threads=4).bind(masks(model.card.dropout, 1, range(2)))(image)
    assert np.abs(other - results[0]).mean() > 0.01


def test_all_ones_is_the_deterministic_network_in_pytorch(model):
    """Probabilities within 1e-5 of the network as it was trained, nothing folded."""
    network = nets.build(model.card.network.kind, **model.card.network.options)
    weights.load(network, model.weights)
    whole = ones(model.card.dropout)
    with torch.inference_mode():
        expected = torch.sigmoid(network.eval()(torch.from_numpy(image_of(model)), torch.from_numpy(whole))).numpy()
    logits = start(model, "onnxruntime").bind(whole)(image_of(model))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_default_model_labels_a_slice_alike_however_often_it_is_repeated(engine):
    """A 2-D image is a volume of depth 1, replicated."""
    model = find("vnet-battery")
    runtime = start(model, engine)
    data = np.repeat(blobs((1, 40, 48), seed=3), 1, axis=0)
    single = predict(Volume(data), model.card, runtime, samples=2)
    for times in (8, 16, 32):
        repeated = predict(Volume(np.repeat(data, times, axis=0)), model.card, runtime, samples=2)
        np.testing.assert_allclose(repeated.probability, np.repeat(single.probability, times, axis=0), atol=1e-4)
        doubtful = np.abs(single.probability - 0.5) < 1e-4
        same = (repeated.labels == single.labels) | doubtful
        assert same.all()
        assert doubtful.mean() < 0.01
