"""A training recipe: one TOML file that alone rebuilds the run."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from segbench.data.augmentation import Augmentation
from segbench.normalisation import Normalisation
from segbench.recipe import Strict
from segbench.train.sources import Data

Triple = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]]


def _cube(value: object) -> object:
    return (value,) * 3 if isinstance(value, int) else value


class NetworkRecipe(Strict):
    """Which network, with which options of its constructor."""

    kind: str
    options: dict[str, Any] = {}


class OptimiserRecipe(Strict):
    """The optimiser and its schedule.

    Attributes:
        kind: The optimiser; AdaBelief is rectified, with an epsilon of 1e-14, as the tomo2seg study has it.
        learning_rate: Its highest value.
        weight_decay: Decoupled, AdamW only.
        warmup_steps: Linear rise from zero.
        schedule: "cosine" falls to zero at the last step; "sandia" is exp(0.01 (10 - epoch)) after epoch 10;
            "constant-then-linear" is constant for half of the steps, then falls to a tenth.
        steps_per_epoch: What the sandia schedule counts as an epoch.
        clip_norm: Gradients are clipped to this norm.
        average: Decay of the moving average of the weights that is validated and released; None: the last weights.
    """

    kind: Literal["adam", "adamw", "adabelief"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["cosine", "sandia", "constant-then-linear"] = "cosine"
    steps_per_epoch: int = Field(default=100, ge=1)
    clip_norm: float | None = Field(default=None, gt=0)
    average: float | None = Field(default=None, gt=0, lt=1)


class LossRecipe(Strict):
    """Cross-entropy, weighted against class imbalance, plus soft Jaccard; or Jaccard2 alone.

    Attributes:
        kind: "jaccard2" has squared probabilities in its union, and neither balance nor jaccard.
        per_class: Jaccard2 of each class, and their mean; otherwise one of all classes together.
        balance: 0 weighs voxels alike, 1 weighs classes alike. Between them, two classes weigh what lies between by the
            shares of the batch; more classes weigh (share in the training images)^-balance, so that 0.5 is the inverse
            square root.
        jaccard: Weight of the soft Jaccard loss, mean over classes; it does not see imbalance.
    """

    kind: Literal["cross-entropy", "jaccard2"] = "cross-entropy"
    per_class: bool = False
    balance: float = Field(default=0.0, ge=0, le=1)
    jaccard: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _of_its_kind(self) -> "LossRecipe":
        if self.kind == "jaccard2" and (self.balance or self.jaccard):
            raise ValueError("jaccard2 stands alone: balance and jaccard are of cross-entropy")
        if self.kind == "cross-entropy" and self.per_class:
            raise ValueError("per_class is of jaccard2")
        return self


class TileRecipe(Strict):
    """How the trained model is tiled: voxels along (Z, Y, X)."""

    core: tuple[int, int, int]
    halo: tuple[int, int, int]


class Recipe(Strict):
    """Everything that decides a training run.

    Attributes:
        name: Of the model in the zoo.
        title: One line for people.
        version: Of the model.
        licence: Of the weights.
        limits: What the model is known not to do; one sentence each.
        start: Model, of the zoo or a folder, whose weights the first step starts from; None: random ones.
        seed: Of initial weights, crops, augmentation and masks.
        steps: Optimiser steps.
        batch: Boxes a step.
        crop: Voxels of a box along (Z, Y, X); one number for a cube.
        precision: Of the forward pass.
        calibrate: Fit a scale and a shift of the logits on the validation volumes; published models have none. Of two
            classes only.
        mean: What T samples have the mean taken of, see `zoo.card.Card`; of more than two classes only.
        validate_every: Steps between validations; more than `steps` for one after the training alone.
        checkpoint_every: Steps between checkpoints.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    version: str = "0.1.0"
    licence: str = "MIT"
    limits: tuple[str, ...] = ()
    start: str | None = None
    seed: int = 0
    steps: int = Field(ge=1)
    batch: int = Field(default=2, ge=1)
    crop: Annotated[Triple, BeforeValidator(_cube)] = (64, 64, 64)
    precision: Literal["f32", "bf16"] = "f32"
    calibrate: bool = True
    mean: Literal["probability", "logits"] = "probability"
    validate_every: int = Field(default=500, ge=1)
    checkpoint_every: int = Field(default=250, ge=1)
    classes: tuple[str, ...] = ("void", "active")
    network: NetworkRecipe
    data: Data
    normalisation: Normalisation = Normalisation()
    augmentation: Augmentation = Augmentation()
    optimiser: OptimiserRecipe = OptimiserRecipe()
    loss: LossRecipe = LossRecipe()
    tile: TileRecipe

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        self.data.check(self.classes, self.crop, self.augmentation)
        if self.softmax and self.augmentation.convention:
            raise ValueError(f"augmentation.convention is how two classes are labelled, not {len(self.classes)}")
        if self.softmax and self.calibrate and "calibrate" in self.model_fields_set:
            raise ValueError("calibrate: only a model of two classes is calibrated")
        if not self.softmax and self.mean != "probability":
            raise ValueError("mean: only of a model of more than two classes it may be that of logits")
        return self

    @property
    def softmax(self) -> bool:
        """More than two classes: a logit each. Two classes share one logit, of which the sigmoid is taken."""
        return len(self.classes) > 2
