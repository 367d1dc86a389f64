"""The recipe of a cascade: everything that the paper does not state is chosen here, and said in train/matphase.toml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from segbench.recipe import Strict
from segbench.train.recipe import OptimiserRecipe, Recipe
from segbench.train.sources import FibRecipe

Seen = Literal["image", "classes", "logits"]
Share = Annotated[float, Field(gt=0, lt=0.5)]
Order = Literal["usi", "reversed", "random"]


class DoubtRecipe(Strict):
    """The first network's answers on the training images, and the classifier of its errors (HCL-IDK).

    Attributes:
        samples: T, of the mean logits that are learned from.
        images: Of the training images only so many, evenly spread; None for all.
        on: "train": the images that the first network was trained on. "validation": those it was not; all decisions
            are then made on the last half of them, and the first half, apart in depth, is learned from.
        widths: Hidden layers of the classifier.
        epochs: Draws, as a multiple of the pixels that there are.
        batch: Pixels a step.
        optimiser: Of the classifier.
        recall: Share of the first network's errors on validation images that are to be doubted.
        most: Share of the validation pixels that are doubted at most: each costs time.
        shares: Of a budget for the later stages, the parts of the first network's answers and of the classifier; the
            local network has the rest.
    """

    samples: int = Field(default=16, ge=1)
    images: int | None = Field(default=None, ge=1)
    on: Literal["train", "validation"] = "train"
    widths: tuple[int, ...] = (32, 32)
    epochs: float = Field(default=15, gt=0)
    batch: int = Field(default=1024, ge=2)
    optimiser: OptimiserRecipe = OptimiserRecipe()
    recall: float = Field(default=0.9, gt=0, le=1)
    most: float = Field(default=0.15, gt=0, le=1)
    shares: tuple[Share, Share] = (0.2, 0.1)


class LocalRecipe(Strict):
    """The local network, and the order in which it meets pixels (HCL-USI).

    Attributes:
        kind: "lcgar", "resnet18" or "unet".
        edge: Of a patch in pixels (not of a U-Net).
        widths: Of the levels of a U-Net.
        sees: What it is given; zeros stand for the rest.
        pixels: What it learns from: the doubted pixels, or all.
        all_pixels: It decides every pixel, not the doubted ones alone.
        order: "usi": certain pixels first; "reversed": uncertain ones first; "random": no order.
        pace: "grow": batches are drawn from a pool that grows in that order; "sort": each epoch goes through the pixels
            in strict order.
        start: Share of the pixels that are in the pool at the beginning.
        full: Share of the training after which all pixels are in it.
        epochs: As a multiple of the pixels that it learns from; of a U-Net, of the images.
        batch: Pixels a step.
        slices: Images a step (U-Net).
        optimiser: Of the local network.
        balance: 0 weighs pixels alike, 1 weighs classes alike, 0.5 by the inverse square root of a class's share.
        precision: Of the forward pass in training; bf16 takes half the time where the processor has it.
    """

    kind: Literal["lcgar", "resnet18", "unet"] = "lcgar"
    edge: int = Field(default=11, ge=3)
    widths: tuple[int, ...] = (16, 32, 64)
    sees: tuple[Seen, ...] = ("image", "classes", "logits")
    pixels: Literal["doubted", "all"] = "doubted"
    all_pixels: bool = False
    order: Order = "usi"
    pace: Literal["grow", "sort"] = "grow"
    start: float = Field(default=0.2, gt=0, le=1)
    full: float = Field(default=0.5, gt=0, le=1)
    epochs: float = Field(default=15, gt=0)
    batch: int = Field(default=1024, ge=2)
    slices: int = Field(default=4, ge=1)
    optimiser: OptimiserRecipe = OptimiserRecipe()
    balance: float = Field(default=0.0, ge=0, le=1)
    precision: Literal["f32", "bf16"] = "f32"


class MatPhaseRecipe(Strict):
    """Everything that decides a cascade.

    Attributes:
        name: Of the model in the zoo.
        title: One line for people.
        version: Of the model.
        licence: Of the weights.
        limits: What the model is known not to do; one sentence each.
        seed: Of the later stages; the first network has its own.
        first: The first network, with the images that all stages learn from.
        doubt: What it is likely wrong about.
        local: The second network.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    version: str = "0.1.0"
    licence: str = "MIT"
    limits: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0)
    first: Recipe
    doubt: DoubtRecipe = DoubtRecipe()
    local: LocalRecipe

    @model_validator(mode="after")
    def _slices(self) -> "MatPhaseRecipe":
        if not isinstance(self.first.data, FibRecipe):
            raise ValueError('first.data: a cascade is trained on slices: state source = "battery-fib"')
        return self

    @property
    def data(self) -> FibRecipe:
        """The images that all stages learn from."""
        assert isinstance(self.first.data, FibRecipe)
        return self.first.data
