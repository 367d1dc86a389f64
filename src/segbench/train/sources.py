"""Where training images come from: the part `[data]` of a recipe."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from segbench.data import fib, fibre
from segbench.data.augmentation import Augmentation
from segbench.data.manifest import Split
from segbench.data.randomisation import Family
from segbench.recipe import Strict


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

    def check(self, classes: tuple[str, ...], crop: tuple[int, int, int], how: Augmentation) -> None:
        """Refuses what these data cannot give."""
        if len(classes) != 2:
            raise ValueError(f"simulated volumes have two classes, not {len(classes)}")


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

    def check(self, classes: tuple[str, ...], crop: tuple[int, int, int], how: Augmentation) -> None:
        """Refuses what these data cannot give."""
        _same(self.source, fib.CLASSES, classes)
        if crop[0] != 1:
            raise ValueError(f"a crop of slices is 1 deep, not {crop[0]}: crop = [1, Y, X]")
        if how.symmetries is True:
            raise ValueError('slices keep their axes: augmentation.symmetries is "flips" or false')


class FibreRecipe(Strict):
    """Training layers of fibre-composite.

    Attributes:
        source: The data set.
        domain: Of the volume.
        layers: Of the training layers only so many, side by side, from the middle; None for all.
        validated: Edge of the square, of the first 16 validation layers, that is validated on; None for all of all.
        seed: Of the volume.
    """

    source: Literal["fibre-composite"]
    domain: str = fibre.DOMAINS[0]
    layers: int | None = Field(default=None, ge=1)
    validated: int | None = Field(default=None, ge=16, multiple_of=16)
    seed: int = Field(default=0, ge=0)

    def check(self, classes: tuple[str, ...], crop: tuple[int, int, int], how: Augmentation) -> None:
        """Refuses what these data cannot give."""
        _same(self.source, fibre.CLASSES, classes)
        if self.domain not in fibre.DOMAINS:
            raise ValueError(f"no domain {self.domain!r}: there are {', '.join(fibre.DOMAINS)}")
        if self.layers is not None and self.layers < crop[0]:
            raise ValueError(f"a crop {crop[0]} deep does not fit into {self.layers} training layers")


class ManifestRecipe(Strict):
    """A user's own labelled images, as few as one slice.

    Attributes:
        source: The word "manifest".
        manifest: Its file. It says which values of the labels are which class, and which mean that nobody labelled a
            voxel ("ignore"): that counts neither in the loss nor in scores.
        root: Folder of its files; the manifest's own by default.
        train: Split that is trained on.
        validation: Split that is validated and calibrated on. Where no case has it, a part of the training images is.
        held_back: Which share of their labelled area that is; it is not trained on.
        sha256: Of the data of both splits (`train.labelled.data_hash`); other data is refused. None: any.
    """

    source: Literal["manifest"]
    manifest: str
    root: str | None = None
    train: Split = "train"
    validation: Split = "validation"
    held_back: float = Field(default=0.2, gt=0, lt=1)
    sha256: str | None = None

    def check(self, classes: tuple[str, ...], crop: tuple[int, int, int], how: Augmentation) -> None:
        """Refuses what these data cannot give."""
        if how.scaled:
            raise ValueError("augmentation.scaled: labels of a manifest are not rescaled, a part may have none")
        if how.symmetries is True and (how.flat == 1 or crop[0] == 1):
            raise ValueError('slices keep their plane: augmentation.symmetries is "planar", "flips" or false')


def _same(source: str, theirs: tuple[str, ...], classes: tuple[str, ...]) -> None:
    if classes != theirs:
        raise ValueError(f"the classes of {source} are {list(theirs)}, not {list(classes)}")


_KINDS = {"battery-fib": "slices", "fibre-composite": "layers", "manifest": "labelled"}


def _source(value: object) -> str:
    """Which recipe of data is meant, by its source; that of simulated volumes names none."""
    source = value.get("source") if isinstance(value, dict) else getattr(value, "source", None)
    return "volumes" if source is None else _KINDS.get(str(source), "slices")


Data = Annotated[
    Annotated[DataRecipe, Tag("volumes")]
    | Annotated[FibRecipe, Tag("slices")]
    | Annotated[FibreRecipe, Tag("layers")]
    | Annotated[ManifestRecipe, Tag("labelled")],
    Discriminator(_source),
]
