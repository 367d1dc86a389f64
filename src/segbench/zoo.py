"""The model zoo: a folder per model with its card, weights and exported graph, pinned by sha256."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from segbench.errors import InputError, UnknownNameError
from segbench.io.files import file_sha256
from segbench.masks import Site
from segbench.normalisation import Normalisation
from segbench.recipe import Strict, read_toml
from segbench.resources import folder

CARD = "card.toml"
Triple = tuple[int, int, int]


class NetworkCard(Strict):
    """How to build the network in PyTorch."""

    kind: str
    options: dict[str, Any] = {}
    parameters: int


class InputCard(Strict):
    """What the model expects to see.

    Attributes:
        normalisation: Fitted to each volume as a whole.
        core: Useful voxels of a tile (Z, Y, X).
        halo: Voxels read around them, cropped afterwards.
        multiple: Edges of what is read are multiples of this.
        border: What the network's convolutions see past the edge of what is read.
        fixed_tile: The prediction depends on the tile's size (group norm): short axes are padded up, not cut.
    """

    normalisation: Normalisation
    core: Triple
    halo: Triple
    multiple: int = Field(ge=1)
    border: Literal["zero", "replicate"] = "zero"
    fixed_tile: bool = False


class FileCard(Strict):
    """A file beside the card."""

    path: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")  # a plain name: nothing outside the model's folder
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class FilesCard(Strict):
    """Weights for PyTorch, and the graph with inputs `image` and `masks` for every other engine."""

    weights: FileCard
    graph: FileCard


class TrainingCard(Strict):
    """Where the weights come from.

    Attributes:
        recipe: The recipe's text as it was.
        data: In words, with the generator's version.
        domains: Domains of battery16 among it, at other seeds than the benchmark's.
        hours: Wall time on `device`.
        loss: Mean of the last hundred steps.
        validation_accuracy: Of a few samples' mean on held-back simulated volumes.
        validation_miou: Likewise.
    """

    recipe: str
    recipe_sha256: str
    data: str
    domains: tuple[str, ...] = ()
    labels: str
    seed: int
    steps: int
    hours: float
    device: str
    torch: str
    finished: str
    loss: float
    validation_accuracy: float
    validation_miou: float


class Card(Strict):
    """What a zoo model is and how its input must look.

    Attributes:
        classes: Names in the order of their index.
        activation: What turns logits into probabilities; "sigmoid" gives that of class 1.
        threshold: Label 1 where the mean probability exceeds this (sigmoid only).
        dropout: Sites in the order of the masks' columns.
        limits: What the model is known not to do.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str
    title: str
    licence: str
    classes: tuple[str, ...] = Field(min_length=2)
    activation: Literal["sigmoid", "softmax"]
    threshold: float = Field(default=0.5, gt=0, lt=1)
    limits: tuple[str, ...] = ()
    network: NetworkCard
    input: InputCard
    dropout: tuple[Site, ...]
    files: FilesCard
    training: TrainingCard

    @model_validator(mode="after")
    def _binary(self) -> "Card":
        if self.activation == "sigmoid" and len(self.classes) != 2:
            raise ValueError("a sigmoid model has two classes")
        return self


class Model(Strict):
    """A card and the folder that it was read from."""

    card: Card
    path: Path

    @property
    def graph(self) -> Path:
        """The exported ONNX graph."""
        return self.path / self.card.files.graph.path

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.path / self.card.files.weights.path

    @property
    def hash(self) -> str:
        """Changes with the card, the weights or the graph."""
        return file_sha256(self.path / CARD)  # which pins the other files


def names() -> list[str]:
    """Models of the installed zoo."""
    return sorted(path.parent.name for path in folder("model_zoo").glob(f"*/{CARD}"))


def find(name: str) -> Model:
    """The model of that name in the zoo, or in that folder; its files are checked against the card.

    Raises:
        UnknownNameError: Neither a zoo model nor a folder with a card.
        InputError: The card is wrong, or a file is missing or was changed.
    """
    path = folder("model_zoo") / name
    if name not in names():
        path = Path(name)
        if not (path / CARD).is_file():
            raise UnknownNameError("model", name, names())
    model = Model(card=read_toml(path / CARD, Card), path=path)
    verify(model)
    return model


def verify(model: Model) -> None:
    """Checks every file of a model against the hash in its card.

    Raises:
        InputError: Names the first file that is missing or differs.
    """
    for file in (model.card.files.weights, model.card.files.graph):
        found = file_sha256(model.path / file.path)
        if found != file.sha256:
            raise InputError(
                f"{model.path / file.path}: not the file that the card pins "
                f"(sha256 {found[:12]}…, card {file.sha256[:12]}…); restore it, or train and export again"
            )


def page(card: Card) -> str:
    """The README of a model, made from its card alone."""
    sites = "\n".join(
        f"| {site.name} | {site.channels} | "
        + (f"{site.kept}, exactly |" if site.kind == "fixed" else f"each with probability {site.keep_probability} |")
        for site in card.dropout
    )
    clip = card.input.normalisation.clip_percentiles
    clipping = f"values clipped to percentiles {clip[0]} and {clip[1]}, then " if clip else ""
    trained = card.training
    limits = "\n".join(f"- {limit}" for limit in card.limits) or "- none stated"
    return f"""# {card.name} {card.version}

{card.title}.

Made from `card.toml` by `segbench train`; edit the recipe `train/{trained.recipe}`, not this page.

    segbench eval --zoo {card.name} --domain all

- **Classes**: {", ".join(f"{i} {name}" for i, name in enumerate(card.classes))}; class 1 where the mean probability
  exceeds {card.threshold}.
- **Input**: one channel, axes (Z, Y, X); {clipping}z-score of the whole volume.
- **Tile**: core {" x ".join(map(str, card.input.core))}, halo {" x ".join(map(str, card.input.halo))}\
{"; fixed size, because the answer depends on it" if card.input.fixed_tile else ""}.
- **Network**: {card.network.kind}, {card.network.parameters:,} parameters.
- **Licence** of the weights: {card.licence}.

## Dropout

Masks are an input of the graph, made from (seed, sample); sample t is one network over a whole volume.

| site | channels | kept in a sample |
|---|---|---|
{sites}

## Training

{trained.steps} steps in {trained.hours:.2f} h on {trained.device}, seed {trained.seed}, PyTorch {trained.torch}.
Data: {trained.data}; {trained.labels} labels.
On held-back simulated volumes it reached accuracy {trained.validation_accuracy:.4f} and
mIoU {trained.validation_miou:.4f}. Those come from the simulator that it was trained on: they say that
training worked, not that the model carries over.

## Limits

{limits}
"""
