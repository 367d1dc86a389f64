"""The description of a BioImage.IO package, `bioimageio.yaml`, in the types of bioimageio.spec (format 0.5)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from pydantic import Field, ValidationError

from segbench.errors import EngineError
from segbench.export.evaluations import Source, evaluation
from segbench.export.profile import Tolerance
from segbench.export.specimen import EPSILON, sizes
from segbench.recipe import Strict
from segbench.zoo import CARD, Model
from segbench.zoo.card import Card

DESCRIPTION, DOCUMENTATION, WEIGHTS = "bioimageio.yaml", "README.md", "deterministic.onnx"
IMAGE, PROBABILITY = "image", "probability"
SPACE = ("z", "y", "x")
LONGEST = 1024  # characters of a description, by the format


class Citation(Strict):
    """What to cite; one of `doi` and `url`."""

    text: str
    doi: str | None = None
    url: str | None = None


class Options(Strict):
    """What a profile says for a package.

    Attributes:
        authors: Names.
        tags: For whoever searches.
        cite: Publications.
        data: By the name of a data set; what is not named is not reported.
    """

    authors: tuple[str, ...] = Field(min_length=1)
    tags: tuple[str, ...] = ()
    cite: tuple[Citation, ...] = ()
    data: Mapping[str, Source] = {}


def describe(model: Model, options: Options, tolerance: Tolerance, folder: Path, attached: Sequence[str]) -> None:
    """Writes the description of what lies in `folder`, checked as the format asks; no address is looked up.

    Args:
        model: Whose package it is.
        options: Of the profile.
        tolerance: What a runtime's outputs may differ by.
        folder: With weights, tensors, cover and documentation.
        attached: Files beside them that go along.

    Raises:
        EngineError: bioimageio.spec is not installed, or refuses what it is told.
    """
    try:
        from bioimageio.spec import ValidationContext, save_bioimageio_yaml_only
    except ImportError as error:
        raise EngineError(
            f"target 'bioimageio' needs the package {error.name}: pip install 'segbench[bioimageio]'"
        ) from error
    addresses = [data.source for data in options.data.values()] + [cite.url for cite in options.cite if cite.url]
    # the format looks every address up; one that is known is taken as it is
    context = ValidationContext(
        root=folder, known_files=dict.fromkeys(addresses), perform_io_checks=True, log_warnings=False
    )
    try:
        with context:
            made = _model(model, options, tolerance, folder, attached)
            save_bioimageio_yaml_only(made, folder / DESCRIPTION)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise EngineError(f"BioImage.IO refuses this package: {where}: {first['msg']}") from error


def _model(model: Model, options: Options, tolerance: Tolerance, folder: Path, attached: Sequence[str]) -> Any:  # noqa: ANN401
    from bioimageio.spec.generic.v0_3 import Author, CiteEntry
    from bioimageio.spec.model import v0_5

    card = model.card
    file = v0_5.FileDescr
    (opset,) = (each.version for each in onnx.load(folder / WEIGHTS, load_external_data=False).opset_import)
    return v0_5.ModelDescr(
        name=f"segbench {card.name}",
        version=card.version,
        description=f"{card.title}. Deterministic twin; the stochastic graphs are attached."[:LONGEST],
        authors=[Author(name=name) for name in options.authors],
        cite=[CiteEntry(**cite.model_dump(exclude_none=True)) for cite in options.cite],
        license=card.licence,
        tags=list(options.tags),
        covers=[file(source="cover.png")],
        documentation=file(source=DOCUMENTATION),
        attachments=[file(source=name) for name in attached],
        inputs=[_input(card)],
        outputs=[_output(card)],
        weights=v0_5.WeightsDescr(onnx=v0_5.OnnxWeightsDescr(source=WEIGHTS, opset_version=opset)),
        config=_config(model, options, tolerance),
    )


def _input(card: Card) -> Any:  # noqa: ANN401
    from bioimageio.spec.model import v0_5

    clip = card.input.normalisation.clip_percentiles
    cut = [v0_5.ClipDescr(kwargs=v0_5.ClipKwargs(min_percentile=clip[0], max_percentile=clip[1]))] if clip else []
    score = v0_5.ZeroMeanUnitVarianceDescr(kwargs=v0_5.ZeroMeanUnitVarianceKwargs(eps=EPSILON))
    space = [
        v0_5.SpaceInputAxis(
            id=v0_5.AxisId(name),
            size=v0_5.ParameterizedSize(min=least, step=step) if step else least,
            concatenable=True,  # tiles of it may be run one by one
        )
        for name, (least, step) in zip(SPACE, sizes(card), strict=True)
    ]
    return v0_5.InputTensorDescr(
        id=v0_5.TensorId(IMAGE),
        description="Grey values of a whole CT volume; brighter is active material.",
        axes=[v0_5.BatchAxis(size=1), v0_5.ChannelAxis(channel_names=["ct"]), *space],
        data=v0_5.IntervalOrRatioDataDescr(type="float32"),
        pad=v0_5.EdgePadding(mode="edge"),  # left out of the file where it is not given
        preprocessing=[*cut, score],
        test_tensor=v0_5.FileDescr(source="test_input.npy"),
        sample_tensor=v0_5.FileDescr(source="sample_input.tif"),
    )


def _output(card: Card) -> Any:  # noqa: ANN401
    from bioimageio.spec.model import v0_5

    calibration, after = card.calibration, []
    if calibration is not None and (calibration.scale, calibration.shift) != (1.0, 0.0):
        kwargs = v0_5.ScaleLinearKwargs(gain=calibration.scale, offset=calibration.shift)
        after.append(v0_5.ScaleLinearDescr(kwargs=kwargs))
    if card.activation == "sigmoid":
        after.append(v0_5.SigmoidDescr())
    else:
        after.append(v0_5.SoftmaxDescr(kwargs=v0_5.SoftmaxKwargs(axis=v0_5.AxisId("channel"))))
    classes = list(card.classes[1:] if card.activation == "sigmoid" else card.classes)
    space = []
    for name, halo in zip(SPACE, card.input.halo, strict=True):
        size = v0_5.SizeReference(tensor_id=v0_5.TensorId(IMAGE), axis_id=v0_5.AxisId(name))
        axis = v0_5.SpaceOutputAxisWithHalo if halo else v0_5.SpaceOutputAxis
        space.append(axis(id=v0_5.AxisId(name), size=size, **({"halo": halo} if halo else {})))
    return v0_5.OutputTensorDescr(
        id=v0_5.TensorId(PROBABILITY),
        description="Calibrated probability of each class that is named.",
        axes=[v0_5.BatchAxis(size=1), v0_5.ChannelAxis(channel_names=classes), *space],
        data=v0_5.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
        postprocessing=after,
        test_tensor=v0_5.FileDescr(source="test_output.npy"),
        sample_tensor=v0_5.FileDescr(source="sample_output.tif"),
    )


def _config(model: Model, options: Options, tolerance: Tolerance) -> Any:  # noqa: ANN401
    from bioimageio.spec.model import v0_5

    card, trained = model.card, model.card.training
    own = {
        "model_hash": model.hash,
        "card": CARD,
        "threshold": card.threshold,
        "dropout": [site.model_dump(mode="json", exclude_none=True) for site in card.dropout],
        "made_by": "segbench export --to bioimageio",
    }
    bioimageio = v0_5.BioimageioConfig(
        reproducibility_tolerance=[
            v0_5.ReproducibilityTolerance(
                relative_tolerance=tolerance.rtol,
                absolute_tolerance=tolerance.atol,
                mismatched_elements_per_million=round(tolerance.ppm),
            )
        ],
        architecture_type=card.network.kind[:32],
        modality="X-ray computed tomography",
        target_structure=list(card.classes[1:]),
        task="semantic segmentation",
        model_parameter_count=card.network.parameters,
        training=v0_5.TrainingDetails(training_duration=trained.hours),
        bias_risks_limitations=v0_5.BiasRisksLimitations(
            known_biases=f"Trained on: {trained.data}; labels: {trained.labels}.",
            risks="A scan unlike the training data may be segmented wrongly with low uncertainty.",
            limitations="\n".join(f"- {limit}" for limit in card.limits) or None,
            recommendations="Label a slice of your own and compare before relying on numbers.",
        ),
        evaluations=[
            evaluation(model, result, options.data[result.data])
            for result in card.results
            if result.data in options.data and result.precision == "f32"
        ],
    )
    return v0_5.Config(bioimageio=bioimageio, segbench=own)
