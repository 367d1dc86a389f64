"""The model zoo: a folder per model with its card, weights and exported graph, pinned by sha256."""

import hashlib
from pathlib import Path

from segbench.errors import InputError, UnknownNameError
from segbench.io.files import file_sha256
from segbench.recipe import Strict, read_toml
from segbench.resources import folder
from segbench.zoo.artifact import MODEL, Artifact, is_artifact, read_artifact
from segbench.zoo.card import Card

CARD = "card.toml"


class Model(Strict):
    """A card and the folder that it was read from.

    Attributes:
        card: What the model is.
        path: Folder of the card and its files.
        artifact: What was exported of it, where it was found in an artifact; that lies in the folder above `path`.
    """

    card: Card
    path: Path
    artifact: Artifact | None = None

    @property
    def graph(self) -> Path:
        """The exported ONNX graph."""
        return self.path / self.card.files.graph.path

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.path / self.card.files.weights.path

    @property
    def ranges(self) -> Path | None:
        """The JSON file of activation ranges, if there is one."""
        return self.path / self.card.files.ranges.path if self.card.files.ranges else None

    @property
    def reference(self) -> Path | None:
        """The inputs and outputs that travel with the model, if there are some."""
        return self.path / self.card.files.reference.path if self.card.files.reference else None

    @property
    def foreign(self) -> Path | None:
        """What the training scans look like, if that was fitted."""
        return self.path / self.card.files.foreign.path if self.card.files.foreign else None

    @property
    def doubt(self) -> Path | None:
        """The graph of a cascade's classifier, if it is one."""
        return self.path / self.card.files.doubt.path if self.card.files.doubt else None

    @property
    def local(self) -> Path | None:
        """The graph of a cascade's second network, if it is one."""
        return self.path / self.card.files.local.path if self.card.files.local else None

    @property
    def hash(self) -> str:
        """Changes with the card, the weights or the graph, but not with what was measured of them."""
        # the files are pinned in it; what a card leaves at its default changes nothing, so that cards can grow
        text = self.card.model_dump_json(
            exclude={
                **{"results": True, "seeds": True, "seams": True, "conformal": True, "foreign": True},
                "files": {"reference", "foreign"},
            },
            exclude_defaults=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()


def names() -> list[str]:
    """Models of the installed zoo."""
    return sorted(path.parent.name for path in folder("model_zoo").glob(f"*/{CARD}"))


def find(name: str) -> Model:
    """The model of that name in the zoo, or in that folder, artifact or not; its files are checked against the card.

    Raises:
        UnknownNameError: Neither a zoo model nor a folder with a card.
        InputError: The card is wrong, or a file is missing or was changed.
    """
    path, artifact = folder("model_zoo") / name, None
    if name not in names():
        path = Path(name)
        if is_artifact(path):
            artifact, path = read_artifact(path), path / MODEL
        if not (path / CARD).is_file():
            raise UnknownNameError("model", name, names())
    model = Model(card=read_toml(path / CARD, Card), path=path, artifact=artifact)
    verify(model)
    return model


def verify(model: Model) -> None:
    """Checks every file of a model against the hash in its card.

    Raises:
        InputError: Names the first file that is missing or differs.
    """
    for file in model.card.files.each:
        found = file_sha256(model.path / file.path)
        if found != file.sha256:
            raise InputError(
                f"{model.path / file.path}: not the file that the card pins "
                f"(sha256 {found[:12]}…, card {file.sha256[:12]}…); restore it, or train and export again"
            )
