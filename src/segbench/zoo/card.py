"""What a card states: how a model is built, what its input must look like, where its weights come from."""

from typing import Any, Literal

from pydantic import Field, model_validator

from segbench.masks import Site
from segbench.normalisation import Normalisation
from segbench.recipe import Strict

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


class ResultCard(Strict):
    """What an evaluation measured, as means over its domains; added by `segbench zoo add`.

    Attributes:
        data: Name of the data set.
        domains: How many.
        samples: T.
        seed: Of the masks.
        engine: And its version.
        precision: Of the engine.
        device: What it ran on.
        means: Scores by name.
    """

    data: str
    domains: int
    samples: int
    seed: int
    engine: str
    precision: str
    device: str
    means: dict[str, float]


class Card(Strict):
    """What a zoo model is and how its input must look.

    Attributes:
        classes: Names in the order of their index.
        activation: What turns logits into probabilities; "sigmoid" gives that of class 1.
        threshold: Label 1 where the mean probability exceeds this (sigmoid only).
        dropout: Sites in the order of the masks' columns.
        limits: What the model is known not to do.
        results: What evaluations measured; no part of the model's hash.
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
    results: tuple[ResultCard, ...] = ()

    @model_validator(mode="after")
    def _binary(self) -> "Card":
        if self.activation == "sigmoid" and len(self.classes) != 2:
            raise ValueError("a sigmoid model has two classes")
        return self
