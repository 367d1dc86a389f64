"""What a card states: how a model is built, what its input must look like, where its weights come from."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from segbench.masks import Site
from segbench.normalisation import Normalisation
from segbench.recipe import Strict
from segbench.zoo.findings import (
    CalibrationCard,
    ConformalCard,
    ForeignCard,
    ResultCard,
    SeamsCard,
    SeedsCard,
    TrainingCard,
)

Triple = tuple[int, int, int]
Positive = Annotated[int, Field(ge=1)]


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
        multiple: Edges of what is read along (Z, Y, X) are multiples of these; one number means all three.
        border: What the network's convolutions see past the edge of what is read.
        fixed_tile: The prediction depends on the tile's size (group norm): short axes are padded up, not cut.
    """

    normalisation: Normalisation
    core: Triple
    halo: Triple
    multiple: tuple[Positive, Positive, Positive]
    border: Literal["zero", "replicate"] = "zero"
    fixed_tile: bool = False

    @field_validator("multiple", mode="before")
    @classmethod
    def _one_for_all(cls, value: object) -> object:
        return (value, value, value) if isinstance(value, int) else value


class FileCard(Strict):
    """A file beside the card."""

    path: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")  # a plain name: nothing outside the model's folder
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class FilesCard(Strict):
    """Weights for PyTorch, and the graph with inputs `image` and `masks` for every other engine.

    Attributes:
        weights: Of PyTorch's network.
        graph: Made of them.
        ranges: Of the graph's activations, which int8 needs; None where they were not measured.
        reference: A small scan and PyTorch's answer; no part of the model's hash.
        foreign: What the training scans look like; no part of the model's hash.
        doubt: Graph of a cascade's classifier: `features` [N, K + 1] to `logits` [N, 1].
        local: Graph of a cascade's second network: see `CascadeCard`.
    """

    weights: FileCard
    graph: FileCard
    ranges: FileCard | None = None
    reference: FileCard | None = None
    foreign: FileCard | None = None
    doubt: FileCard | None = None
    local: FileCard | None = None

    @property
    def each(self) -> tuple[FileCard, ...]:
        """All that there are."""
        each = (self.weights, self.graph, self.ranges, self.reference, self.foreign, self.doubt, self.local)
        return tuple(file for file in each if file is not None)


class CascadeCard(Strict):
    """A second, local network for the pixels that the first one is likely to be wrong about (MatPhase).

    A pixel is doubted where the sigmoid of the doubt classifier exceeds `threshold`; its features are the mean logits F
    (K) of T samples and the entropy of softmax(F) in nats. Doubted pixels get the local network's softmax.

    Attributes:
        kind: "patch": the local graph maps `patches` [N, 1 + K, edge, edge] and `context` [N, K], the pixel's F, to
            `logits` [N, K]. "dense": it maps `image` [Z, 1 + K, Y, X] to `logits` [Z, K, Y, X].
        edge: Of a patch in pixels, odd; of a dense network, what it sees around a pixel.
        threshold, hides: Probability of being wrong above which a pixel is doubted (below 0 all are), and above which
            its class is not shown to the local network (None: the threshold).
        options: The local network's, as built in PyTorch.
        parameters, trained: Of both networks; how, and what it changes on validation images, in words.
    """

    kind: Literal["patch", "dense"] = "patch"
    edge: int = Field(ge=3)
    threshold: float = Field(lt=1, allow_inf_nan=False)
    hides: float | None = Field(default=None, ge=0, lt=1)
    options: dict[str, Any] = {}
    parameters: int
    trained: str = ""


class Card(Strict):
    """What a zoo model is and how its input must look.

    Attributes:
        classes: Names in the order of their index.
        activation: What turns logits into probabilities; "sigmoid" gives that of class 1.
        threshold: Label 1 where the mean probability exceeds this (sigmoid only).
        mean: What T samples have the mean taken of: their probabilities, or (softmax only, as MatPhase does) their
            logits.
        cascade: A second network for doubted pixels (softmax only).
        calibration: Of the logits; None leaves them as they are.
        seeds: The released training among its siblings; no part of the model's hash.
        seams: How much the answer depends on where tiles end; no part of the model's hash.
        conformal: Of the share of class 1 and of masks; no part of the model's hash.
        foreign: When a scan is called foreign; no part of the model's hash.
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
    mean: Literal["probability", "logits"] = "probability"
    limits: tuple[str, ...] = ()
    network: NetworkCard
    input: InputCard
    cascade: CascadeCard | None = None
    calibration: CalibrationCard | None = None
    dropout: tuple[Site, ...]
    files: FilesCard
    training: TrainingCard
    seeds: SeedsCard | None = None
    seams: SeamsCard | None = None
    conformal: ConformalCard | None = None
    foreign: ForeignCard | None = None
    results: tuple[ResultCard, ...] = ()

    @model_validator(mode="after")
    def _binary(self) -> "Card":
        if self.activation == "sigmoid" and len(self.classes) != 2:
            raise ValueError("a sigmoid model has two classes")
        return self

    @model_validator(mode="after")
    def _whole_cascade(self) -> "Card":
        there = {self.cascade is not None, self.files.doubt is not None, self.files.local is not None}
        if len(there) > 1:
            raise ValueError("[cascade], [files.doubt] and [files.local] belong together")
        if self.activation == "sigmoid" and (self.cascade or self.mean != "probability"):
            raise ValueError("only a softmax model has a cascade or a mean of logits")
        return self

    @model_validator(mode="after")
    def _margin_within_halo(self) -> "Card":
        halo = min(self.input.halo[1:])
        if self.cascade is not None and self.cascade.edge // 2 > halo:
            raise ValueError(
                f"cascade.edge is {self.cascade.edge}, so a core needs {self.cascade.edge // 2} pixels around it, and "
                f"input.halo has {halo} along Y or X: widen the halo"
            )
        return self

    @model_validator(mode="after")
    def _bounds_of_two(self) -> "Card":
        if self.conformal is not None and len(self.classes) != 2:
            raise ValueError(
                f"[conformal] bounds the share of class 1 of two, and there are {len(self.classes)} classes"
            )
        return self

    @model_validator(mode="after")
    def _masks_around_labels(self) -> "Card":
        fitted = self.conformal
        if fitted is not None and not fitted.possible <= self.threshold <= fitted.sure:
            raise ValueError(
                f"conformal.possible {fitted.possible:g} and conformal.sure {fitted.sure:g} are to have the threshold "
                f"{self.threshold:g} between them"
            )
        return self

    @model_validator(mode="after")
    def _whole_fit(self) -> "Card":
        if (self.foreign is None) != (self.files.foreign is None):
            raise ValueError("[foreign] and [files.foreign] belong together: run segbench zoo foreign, or remove both")
        return self
