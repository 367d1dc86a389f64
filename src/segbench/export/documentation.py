"""The documentation of a BioImage.IO package: what is in it, and what the format cannot state."""

from collections.abc import Sequence

from segbench.export.specimen import DOMAIN, EPSILON, SEED, Specimen
from segbench.zoo.card import Card

GRAPHS = {
    "masked.onnx": "`image`, `masks[T, channels]` → `logits[T, K, Z, Y, X]`: masks are made by the caller, as in "
    "`segbench.masks`; they are 1 / keep probability for kept channels and 0 for the others",
    "seeded.onnx": "`image`, `seed[1]`, `samples[T]` (int32) → `logits[T, K, Z, Y, X]`, `masks`: the same masks, made "
    "in the graph by integer arithmetic",
    "aggregated.onnx": "`image`, `seed[1]`, `samples[T]` (int32) → `mean` probability, its `entropy` and the "
    "`mutual_information` in nats, `masks`",
}


def documentation(card: Card, made: Specimen, attached: Sequence[str]) -> str:
    """README.md of a package.

    Args:
        card: Of the model.
        made: What it is tested on.
        attached: Files that lie beside the weights.
    """
    limits = "\n".join(f"- {limit}" for limit in card.limits) or "None are stated."
    return f"""# {card.name}

{card.title}. Version {card.version}, licence {card.licence}, exported by segbench.

The weights are the *deterministic twin*: one pass, no dropout. Model and uncertainty are in the attached graphs, which
are ONNX as well. The twin has scores of its own; the evaluations here are those of the stochastic model.

## Input

One channel of CT grey values, axes (z, y, x), of a whole volume. Brighter is {card.classes[-1]}: invert scans in which
it is dark. {_size(card)}

{_normalisation(card, made)}
## Output

{_output(card)}

## Uncertainty

{_stochastic(card, attached)}
## Validation

The test tensors are a simulated scan (battery16, domain {DOMAIN}, seed {SEED}; not measured data) and what PyTorch
makes of it, so `bioimageio test` compares ONNX Runtime with PyTorch. With segbench, `segbench verify` on the folder
above this package proves more: masks, samples, accuracy and calibration.
On scans of your own: label some slices by hand, predict, and compare intersection over union and calibration; a mean
probability of 0.8 should be right four times in five.

## Limits

{limits}

## Training

{card.training.data}; labels: {card.training.labels}; {card.training.steps} steps, {card.training.hours:.1f} h on
{card.training.device}. `card.toml` states everything, the recipe's hash included.
"""


def _size(card: Card) -> str:
    input_ = card.input
    if input_.fixed_tile:
        return "The size is fixed: the network normalises over what it sees, so the answer depends on the tile."
    return (
        f"Larger volumes go through in tiles; {' x '.join(map(str, input_.halo))} voxels at each border belong to the "
        "neighbours and are cropped. The normalisation belongs to the whole volume, not to a tile."
    )


def _normalisation(card: Card, made: Specimen) -> str:
    normalisation = card.input.normalisation
    clip = normalisation.clip_percentiles
    stated = f"values outside percentiles {clip[0]:g} and {clip[1]:g} are clipped; then " if clip else ""
    lines = [
        f"As stated in `bioimageio.yaml`: {stated}z-score of the whole volume. segbench itself differs in this, which "
        "the format cannot state:\n",
        f"- The format adds {EPSILON:g} to the standard deviation, segbench nothing: give grey values whose spread is "
        "well above that, not floats of 0.001.",
    ]
    if clip:
        lines.append(
            "- bioimageio.core measures mean and standard deviation before it clips, segbench after: hot pixels and "
            "metal set the scale in the one and not in the other.\n"
            "- segbench's percentiles are values of the volume (of at most about 16.8 million voxels of it); "
            "bioimageio.core interpolates between two."
        )
    if normalisation.exterior:
        lines.append(
            "- segbench leaves a constant exterior (a round field of view, a mask) out of percentiles, mean and "
            "standard deviation and sets it to -1. The format counts it as material: **crop it away, or normalise as "
            "segbench does** (`segbench.normalisation`) and leave the preprocessing out."
        )
    lines.append(
        "\nOn the test image, which has neither hot pixels nor an exterior, the two ways differ by at most "
        f"{made.apart:.1g} in probability.\n"
    )
    return "\n".join(lines)


def _output(card: Card) -> str:
    how = "a sigmoid" if card.activation == "sigmoid" else "a softmax"
    calibrated = "a scale and a shift fitted on phantoms, then " if card.calibration else ""
    last = f"; label {card.classes[-1]} where it exceeds {card.threshold:g}" if card.activation == "sigmoid" else ""
    return f"`probability` of {_named(card)}: {calibrated}{how}{last}."


def _named(card: Card) -> str:
    return card.classes[-1] if card.activation == "sigmoid" else ", ".join(card.classes)


def _stochastic(card: Card, attached: Sequence[str]) -> str:
    if not card.dropout:
        return "This model has no dropout.\n"
    sites = ", ".join(f"{site.name} ({site.channels})" for site in card.dropout)
    lines = [
        "Dropout stays alive because its masks are data: no graph here holds a random or training-mode node, which "
        f"runtimes delete, freeze or redraw. Sites and channels: {sites}. Sample t is one network for all tiles of a "
        "volume; their mean is the prediction, its entropy the uncertainty, and the mutual information the part of it "
        "that is the model's own.\n",
        *(f"- `{name}`: {GRAPHS[name]}." for name in attached if name in GRAPHS),
        "\nTheir images are normalised already, and their logits not calibrated yet; `aggregated.onnx` calibrates.\n",
    ]
    return "\n".join(lines)
