"""A cascade's second network: its part of a model's reference, and the proof of both networks together.

The reference is what ONNX's own evaluator makes of the two graphs, in NumPy: no runtime that is proved by it has a hand
in it, and PyTorch's layers of these networks are not needed where a model is proved.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segbench.cascade import cascade_of
from segbench.cascade.local import Patches
from segbench.cascade.refine import Second, entropy, softmax
from segbench.engines import RUNTIMES, available, start
from segbench.errors import InputError, SegbenchError
from segbench.export.kinds import precision_of
from segbench.export.parity import compare
from segbench.export.profile import Profile, of_probabilities, tolerance_of
from segbench.volume import Float32
from segbench.zoo import Model
from segbench.zoo.artifact import Check, Part
from segbench.zoo.reference import Array, Reference

if TYPE_CHECKING:
    from segbench.engines.graph import Loaded

ROWS = 64  # of patches and of features that are kept; of patches no more than a batch
NAME = "cascade"


def draw(model: Model, image: Float32, logits: Float32) -> dict[str, Array]:
    """A cascade's arrays of a `Reference`; none for a model without one.

    Args:
        model: Of which doubt and local graph are evaluated.
        image: Normalised (Z, Y, X).
        logits: Of the first network [T, K, Z, Y, X].
    """
    card = model.card.cascade
    if card is None:
        return {}
    assert model.doubt is not None
    assert model.local is not None
    both = Second(model, Evaluated())
    slice_, mean = given(image, logits, both.margin)
    unsure = entropy(softmax(mean[:, 0]))
    rows = np.stack([*mean[:, 0], unsure], axis=-1).reshape(-1, len(mean) + 1)
    features = np.ascontiguousarray(rows[:: -(-len(rows) // ROWS)])
    seen, context = both.shown(slice_[0], mean[:, 0], both.hiding(mean[:, 0], unsure))
    if card.kind == "patch":
        assert isinstance(both.local, Patches)
        at = np.zeros(context[0].size, np.bool_)
        at[:: -(-at.size // ROWS)] = True
        y, x = np.nonzero(at.reshape(context[0].shape))
        filled = both.local.inputs(seen, context, y, x)
        kept = inputs = {name: np.ascontiguousarray(array[: len(y)]) for name, array in filled.items()}
    else:
        inputs = {"image": np.ascontiguousarray(np.moveaxis(seen, -1, 0)[None])}
        kept = {"seen": inputs["image"]}
    whole = both(slice_, mean)
    return {
        "features": features,
        "doubt": evaluate(model.doubt, {"features": features}),
        **kept,
        "local": evaluate(model.local, inputs),
        "refined": whole.probability[:, 0],
        "doubted": whole.doubted[0].astype(np.uint8),
    }


def given(image: Float32, logits: Float32, margin: int) -> tuple[Float32, Float32]:
    """What a cascade is given of the middle slice: image (1, Y, X) and F (K, 1, Y, X), replicated by a margin."""
    z = slice(len(image) // 2, len(image) // 2 + 1)
    around = ((0, 0), (margin, margin), (margin, margin))
    mean = logits[:, :, z].mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.pad(image[z], around, mode="edge"), np.pad(mean, ((0, 0), *around), mode="edge")


class Evaluated:
    """Graphs run by ONNX's own evaluator; see `segbench.cascade.loading.Loads`."""

    threads = 1

    def load(
        self,
        graph: Path,
        shapes: Mapping[str, tuple[int, ...]],
        outputs: Sequence[str],
        threads: int,
        exact: bool = False,
    ) -> "Loaded":
        """See `Loads`."""
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(str(graph))

        def run(inputs: Mapping[str, Float32]) -> list[Float32]:
            fed = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
            return [np.asarray(found, np.float32) for found in evaluator.run(list(outputs), fed)]

        return run


def evaluate(graph: Path, inputs: Mapping[str, Float32]) -> Float32:
    """Logits of a graph by ONNX's own evaluator."""
    return Evaluated().load(graph, {}, ["logits"], 1)(inputs)[0]


def checks(model: Model, reference: Reference, profile: Profile, parts: Sequence[Part]) -> Iterator[Check]:
    """Both networks together on the reference's middle slice, on each runtime of an artifact's parts.

    Args:
        model: As it lies in the artifact.
        reference: Of the model.
        profile: Tolerances by precision.
        parts: Of the artifact; where no runtime of theirs can run a second network, those that are installed do.
    """
    if model.card.cascade is None:
        return
    found = dict.fromkeys((part.runtime, part.precision) for part in parts if part.runtime in RUNTIMES)
    rounded = {name: precision for name, precision in found if precision != "f32"}
    for name in dict.fromkeys(name for name, _ in found) or [name for name in RUNTIMES if name in available()]:
        precision = precision_of(model.card.cascade.kind, rounded.get(name, "f32"))
        try:
            yield _whole(model, reference, profile, name, precision)
        except SegbenchError as error:
            missing = name not in available()
            said = f"{'not run: ' if missing else ''}{error}"
            yield Check(name=NAME, part=name, status="not run" if missing else "failed", said=said)


def _whole(model: Model, reference: Reference, profile: Profile, name: str, precision: str) -> Check:
    if reference.refined is None or reference.doubted is None:
        raise InputError("the reference has no answer of a second network: segbench zoo reference FOLDER makes it")
    engine = start(model, name, precision, thin=False, unverified=True)
    both = cascade_of(model, engine)
    assert both is not None
    found = both(*given(reference.image[0, 0], reference.logits, both.margin))
    tolerance = of_probabilities(tolerance_of(profile, precision))
    apart = compare("probability", found.probability[:, 0], reference.refined, tolerance)
    others = int(np.count_nonzero(found.doubted[0] != reference.doubted))
    numbers = apart.numbers | {"doubted": float(found.doubted.mean()), "doubted_differ": float(others)}
    if others or not apart.passed:
        said = f"other pixels are doubted: {others}; {apart}" if others else f"differs: {apart}"
        return Check(name=NAME, part=name, status="failed", said=said, numbers=numbers)
    said = f"both networks in {precision}, {found.doubted.mean():.0%} of the pixels doubted, the same ones: {apart}"
    return Check(name=NAME, part=name, status="passed", said=said, numbers=numbers)
