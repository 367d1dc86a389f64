"""TensorRT on this machine's card: the engine file as it is."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from segbench.engines.cuda import NoCardError
from segbench.engines.plan import beside
from segbench.engines.tensorrt import PACKAGES, OnCard
from segbench.engines.thin import MASKS
from segbench.export.runners import NotHereError, Run
from segbench.export.seeded import SAMPLE
from segbench.recipe import read_json
from segbench.zoo.artifact import ARTIFACT, Artifact, Part, check_files
from segbench.zoo.reference import Array


def load(folder: Path, part: Part, device: str) -> Run:
    """See `Load`; engines run on the card, whatever `device` says.

    Raises:
        NotHereError: TensorRT or a card is missing here.
        InputError: It is not the file that was exported.
        EngineError: It was built for another card or version, or TensorRT refuses it.
    """
    if find_spec(PACKAGES[part.runtime]) is None:
        raise NotHereError(f"{PACKAGES[part.runtime]} is not installed: pip install 'segbench[{part.runtime}]'")
    # an engine may bring code that runs when it is loaded, so a changed one is not
    pinned = read_json(folder / ARTIFACT, Artifact).files
    check_files(folder, {path: pinned.get(path, "") for path in (part.path, beside(Path(part.path)).as_posix())})
    try:
        engine = OnCard(folder / part.path)
    except NoCardError as error:
        raise NotHereError(str(error)) from error

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        made = [engine.load({name: each.shape for name, each in share.items()})(share) for share in _shares(inputs)]
        return {name: np.concatenate([each[name] for each in made]) for name in made[0]}

    def _shares(inputs: Mapping[str, Array]) -> list[dict[str, Array]]:
        """As many samples as the engine takes at once; what it says of all of them together cannot be shared out."""
        many = [name for name in (MASKS, SAMPLE) if name in inputs and part.kind != "aggregated"]
        if not many:
            return [dict(inputs)]
        most, values = engine.plan.shapes[many[0]][2][0], inputs[many[0]]
        return [{**inputs, many[0]: values[first : first + most]} for first in range(0, len(values), most)]

    return run
