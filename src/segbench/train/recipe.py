"""A training recipe: one TOML file that alone rebuilds the run."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from segbench.data import fib
from segbench.data.augmentation import Augmentation
from segbench.data.randomisation import Family
from segbench.normalisation import Normalisation
from segbench.recipe import Strict

Triple = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]]


def _cube(value: object) -> object:
    return (value,) * 3 if isinstance(value, int) else value


class NetworkRecipe(Strict):
    """Which network, with which options of its constructor."""

    kind: str
    options: dict[str, Any] = {}


class DataRecipe(Strict):
    """Simulated training volumes.

    Attributes:
        domains: Domains of battery16 by name; each gives `volumes_per_domain` volumes.
        volumes_per_domain: Volumes of each named domain.
        randomised: Volumes of randomised domains, none of which is one of the sixteen.
        size: Edge of a volume in voxels.
        first_seed: Seed of the first volume, counting up; the benchmark's own volumes have seed 0.
        labels: Learn from the true phases or from the human-like labels (the study's situation).
        wide: Families of properties that randomised domains draw from wide ranges.
        validation: How many phantoms, volumes of another simulator, are validated on.
    """

    domains: tuple[str, ...] = ()
    volumes_per_domain: int = Field(default=1, ge=1)
    randomised: int = Field(default=0, ge=0)
    size: int = Field(default=96, ge=32)
    first_seed: int = Field(default=1000, ge=1)
    labels: Literal["truth", "human"] = "truth"
    wide: tuple[Family, ...] = ()
    validation: int = Field(default=4, ge=1)


class FibRecipe(Strict):
    """Training slices of battery-fib.

    Attributes:
        source: The data set.
        split: "clean" or "paper"; see `data.fib.split`.
        images: Of the training images only so many, evenly spread; None for all.
        seed: Of the volume.
    """

    source: Literal["battery-fib"]
    split: Literal["clean", "paper"] = "clean"
    images: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)


def _source(value: object) -> str:
    """Which recipe of data is meant: only those of slices name their source."""
    named = "source" in value if isinstance(value, dict) else isinstance(value, FibRecipe)
    return "slices" if named else "volumes"


Data = Annotated[Annotated[DataRecipe, Tag("volumes")] | Annotated[FibRecipe, Tag("slices")], Discriminator(_source)]


class OptimiserRecipe(Strict):
    """Adam or AdamW and its schedule.

    Attributes:
        kind: The optimiser.
        learning_rate: Its highest value.
        weight_decay: Decoupled, AdamW only.
        warmup_steps: Linear rise from zero.
        schedule: "cosine" falls to zero at the last step; "sandia" is exp(0.01 (10 - epoch)) after epoch 10.
        steps_per_epoch: What the sandia schedule counts as an epoch.
        clip_norm: Gradients are clipped to this norm.
        average: Decay of the moving average of the weights that is validated and released; None: the last weights.
    """

    kind: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["cosine", "sandia"] = "cosine"
    steps_per_epoch: int = Field(default=100, ge=1)
    clip_norm: float | None = Field(default=None, gt=0)
    average: float | None = Field(default=None, gt=0, lt=1)


class LossRecipe(Strict):
    """Cross-entropy, weighted against class imbalance, plus soft Jaccard.

    Attributes:
        balance: 0 weighs voxels alike, 1 weighs classes alike. Between them, two classes weigh what lies between by the
            shares of the batch; more classes weigh (share in the training images)^-balance, so that 0.5 is the inverse
            square root.
        jaccard: Weight of the soft Jaccard loss, mean over classes; it does not see imbalance.
    """

    balance: float = Field(default=0.0, ge=0, le=1)
    jaccard: float = Field(default=0.0, ge=0)


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
        validate_every: Steps between validations.
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
        if isinstance(self.data, FibRecipe):
            if self.classes != fib.CLASSES:
                raise ValueError(f"the classes of {self.data.source} are {list(fib.CLASSES)}, not {list(self.classes)}")
            if self.crop[0] != 1:
                raise ValueError(f"a crop of slices is 1 deep, not {self.crop[0]}: crop = [1, Y, X]")
            if self.augmentation.symmetries is True:
                raise ValueError('slices keep their axes: augmentation.symmetries is "flips" or false')
        elif len(self.classes) != 2:
            raise ValueError(f"simulated volumes have two classes, not {len(self.classes)}")
        if self.softmax and self.augmentation.scaled:
            raise ValueError(f"augmentation.scaled rescales labels of two classes, not of {len(self.classes)}")
        if self.softmax and self.calibrate and "calibrate" in self.model_fields_set:
            raise ValueError("calibrate: only a model of two classes is calibrated")
        if not self.softmax and self.mean != "probability":
            raise ValueError("mean: only of a model of more than two classes it may be that of logits")
        return self

    @property
    def softmax(self) -> bool:
        """More than two classes: a logit each. Two classes share one logit, of which the sigmoid is taken."""
        return len(self.classes) > 2
