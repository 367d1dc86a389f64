"""TensorRT on this machine's card: the engine file as it is."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from segbench.engines.cuda import NoCardError
from segbench.engines.tensorrt import PACKAGES, OnCard
from segbench.engines.thin import MASKS
from segbench.export.runners import NotHereError, Run
from segbench.zoo.artifact import Part
from segbench.zoo.reference import Array


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
        raise NotHereError(str(error)) from error

    # an engine takes no more samples at once than it was built for
    most = engine.plan.shapes[MASKS][2][0] if MASKS in engine.plan.shapes else 1

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        shares = [dict(inputs)]
        if MASKS in inputs:
            masks = inputs[MASKS]
            shares = [{**inputs, MASKS: masks[first : first + most]} for first in range(0, len(masks), most)]
        made = [engine.load({name: array.shape for name, array in share.items()})(share) for share in shares]
        return {name: np.concatenate([each[name] for each in made]) for name in made[0]}

    return run
