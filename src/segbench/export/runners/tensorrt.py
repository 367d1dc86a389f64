"""TensorRT on this machine's card: the engine file as it is."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from segbench.zoo.reference import Array

from segbench.engines.cuda import NoCardError
from segbench.engines.tensorrt import PACKAGES, OnCard
from segbench.export.runners import NotHereError, Run
from segbench.zoo.artifact import Part


def load(folder: Path, part: Part, device: str) -> Run:
    """See `Load`; engines run on the card, whatever `device` says.

    Raises:
        NotHereError: TensorRT or a card is missing here.
        EngineError: It was built for another card or version, or TensorRT refuses it.
    """
    if find_spec(PACKAGES[part.runtime]) is None:
        raise NotHereError(f"{PACKAGES[part.runtime]} is not installed: pip install 'segbench[{part.runtime}]'")
    try:
        engine = OnCard(folder / part.path)
    except NoCardError as error:
        raise NotHereError(f"no card: {error}") from error

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return engine.load({name: array.shape for name, array in inputs.items()})(inputs)

    return run
