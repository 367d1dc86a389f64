"""Methods that a study trains, as data: recipe, options, seeds, which first network is shared, what it may cost."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from segbench.errors import UnknownNameError
from segbench.evaluate.naive import Naive
from segbench.recipe import Strict, read_toml
from segbench.resources import folder

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
SplitName = Literal["clean", "paper"]
SPLITS: tuple[SplitName, ...] = ("clean", "paper")


class Scale(Strict):
    """What trainings and evaluations may cost.

    Attributes:
        budget_s: Processor seconds of every network that is trained by itself; None: as recipes say.
        later_s: Processor seconds of all that is trained upon another method's network: doubt and local network.
        samples: T of the evaluation.
        seeds: At most so many seeds of a method; None for all.
        splits: Which splits are trained on.
        domains: On at most so many of the data's domains it is evaluated; None for all.
        layers: At most so many layers of every volume are scored, and timed; None for all.
        options: Set over the recipe of every network, by dotted keys.
        stored: Whether rows may be kept in `evaluate/results`.
    """

    budget_s: float | None = Field(default=None, gt=0)
    later_s: float | None = Field(default=None, gt=0)
    samples: int = Field(ge=1)
    seeds: int | None = Field(default=None, ge=1)
    splits: tuple[SplitName, ...] = SPLITS
    domains: int | None = Field(default=None, ge=1)
    layers: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = {}
    stored: bool = True


class Method(Strict):
    """How one line of a table is made: trained by a recipe, made of another method's model by its card, or no network.

    Attributes:
        name: Unique; of its models too.
        title: What a reader sees.
        recipe: In the folder train, without its ending; None where it is made of another method.
        part: The table of the recipe that is trained alone, as a recipe of its own.
        first: Method whose network, of the same seed and split, is taken as the first one.
        of: Method whose model, of the same seed and split, it is, but for `card`.
        naive: The method without a network that it is.
        options: Set over the recipe, by dotted keys.
        card: Set over the card of `of`, by dotted keys.
        seeds: Of trainings on the clean split.
        paper_seeds: Of trainings on the paper's split.
        budgets: How many times the scale's budget it has.
        findings: Whether its errors are looked at pixel by pixel (`evaluate.findings`).
        speed: Whether its model is timed.
    """

    name: Name
    title: str
    recipe: Name | None = None
    part: str | None = None
    first: Name | None = None
    of: Name | None = None
    naive: Naive | None = None
    options: dict[str, Any] = {}
    card: dict[str, Any] = {}
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(1,), min_length=1)
    paper_seeds: tuple[Annotated[int, Field(ge=0)], ...] = ()
    budgets: float = Field(default=1.0, gt=0)
    findings: bool = False
    speed: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> "Method":
        if sum(one is not None for one in (self.recipe, self.of, self.naive)) != 1:
            raise ValueError(f"{self.name}: either a recipe, or of: another method whose model it is, or naive")
        if self.naive is not None and (self.options or self.first or self.part or self.findings or self.speed):
            raise ValueError(f"{self.name}: what needs no network has no options, first, part, findings or speed")
        if self.of is not None and (self.options or self.first or self.part):
            raise ValueError(f"{self.name}: what is made of another model has no options, first or part")
        if self.of is None and self.card:
            raise ValueError(f"{self.name}: a card is changed only of another method's model; name it with of")
        return self

    def seeds_on(self, split: SplitName) -> tuple[int, ...]:
        """Seeds of its trainings on a split."""
        return self.seeds if split == "clean" else self.paper_seeds


class Study(Strict):
    """Methods on one data set, and the scales at which they can be trained.

    Attributes:
        title: One line.
        data: Data set that is evaluated on.
        paper: The same in the paper's split; None where the data has one split alone, of which recipes say nothing.
        scale: By name.
        method: All methods; one that another needs stands before it.
    """

    title: str
    data: str
    paper: str | None = None
    scale: dict[str, Scale]
    method: tuple[Method, ...]

    @model_validator(mode="after")
    def _whole(self) -> "Study":
        before: dict[str, Method] = {}
        for method in self.method:
            if method.name in before:
                raise ValueError(f"method {method.name} is defined twice")
            other = method.first or method.of
            if other is not None:
                if other not in before:
                    raise ValueError(f"{method.name} needs {other}, which has to stand before it")
                for split in SPLITS:
                    if set(method.seeds_on(split)) - set(before[other].seeds_on(split)):
                        raise ValueError(f"{method.name} has seeds on the {split} split that {other} has not")
            if self.paper is None and method.paper_seeds:
                raise ValueError(f"{method.name} has seeds on the paper's split: say with paper which data that is")
            before[method.name] = method
        return self

    def data_of(self, split: SplitName) -> str:
        """Data set that what was trained on a split is evaluated on."""
        return self.paper if split == "paper" and self.paper is not None else self.data

    def named(self, name: str) -> Method:
        """The method of that name.

        Raises:
            UnknownNameError: There is none.
        """
        found = {method.name: method for method in self.method}
        if name not in found:
            raise UnknownNameError("method", name, list(found))
        return found[name]

    def scale_named(self, name: str) -> Scale:
        """The scale of that name.

        Raises:
            UnknownNameError: There is none.
        """
        if name not in self.scale:
            raise UnknownNameError("scale", name, list(self.scale))
        return self.scale[name]

    def with_needs(self, names: Sequence[str]) -> tuple[Method, ...]:
        """These methods and those that they need, in the study's order, each once."""
        wanted: set[str] = set()
        todo = list(names)
        while todo:
            method = self.named(todo.pop())
            wanted.add(method.name)
            todo += [other for other in (method.first, method.of) if other is not None]
        return tuple(method for method in self.method if method.name in wanted)


def study(name: str) -> Study:
    """The study that `evaluate/methods` defines by that name.

    Raises:
        UnknownNameError: There is none.
        InputError: Its definition is wrong.
    """
    place = folder("evaluate") / "methods"
    known = sorted(path.stem for path in place.glob("*.toml"))
    if name not in known:
        raise UnknownNameError("study", name, known)
    return read_toml(place / f"{name}.toml", Study)
