"""The README of a model, made from its card alone."""

from segbench.zoo.card import Card

EMBEDDED = ("battery-fib", "fibre-composite")
"""The data sets that have to be named to `segbench eval`; battery16 it takes by itself."""


def on(card: Card) -> str:
    """The option of `segbench eval` that says what a model was trained on, with a space before it."""
    return next((f" --data {name}" for name in EMBEDDED if name in card.training.data), "")


def page(card: Card) -> str:
    """The README of a model, made from its card alone."""
    how = {"fixed": "{}, exactly", "balanced": "{}, dealt out evenly", "bernoulli": "each with probability {}"}
    how["element"] = "each element with probability {}, drawn from these keys"
    sites = "\n".join(
        f"| {site.name} | {site.channels} | {how[site.kind].format(site.kept or site.keep_probability)} |"
        for site in card.dropout
    )
    clip = card.input.normalisation.clip_percentiles
    clipping = f"values clipped to percentiles {clip[0]} and {clip[1]}, then " if clip else ""
    if card.input.normalisation.exterior:
        clipping = f"a constant exterior left out; {clipping}"
    trained = card.training
    limits = "\n".join(f"- {limit}" for limit in card.limits) or "- none stated"
    return f"""# {card.name} {card.version}

{card.title}.

Made from `card.toml` by `segbench train`; edit the recipe `train/{trained.recipe}`, not this page.

    segbench eval --zoo {card.name} --domain all{on(card)}

- **Classes**: {", ".join(f"{i} {name}" for i, name in enumerate(card.classes))}; {_label(card)}.
- **Input**: one channel, axes (Z, Y, X); {clipping}{_scaled(card)}.
- **Tile**: core {" x ".join(map(str, card.input.core))}, halo {" x ".join(map(str, card.input.halo))}\
{"; fixed size, because the answer depends on it" if card.input.fixed_tile else ""}.
{_seams(card)}- **Network**: {card.network.kind}, {card.network.parameters:,} parameters.
{_cascade(card)}- **Licence** of the weights: {card.licence}.
{_int8(card)}{_reference(card)}{_foreign(card)}
## Dropout

Masks are an input of the graph, made from (seed, sample); sample t is one network over a whole volume.

| site | channels | kept in a sample |
|---|---|---|
{sites}

## Training

{trained.steps} steps in {trained.hours:.2f} h on {trained.device}, seed {trained.seed}, PyTorch {trained.torch}.
{_budget(card)}{_start(card)}Data: {trained.data}; {trained.labels} labels.
On {trained.validation or "phantoms, volumes of another simulator that it never learned from"}, it reached accuracy
{trained.validation_accuracy:.4f} and mIoU {trained.validation_miou:.4f}.
{_second(card)}{_seeds(card)}{_calibration(card)}{_conformal(card)}

## Results

{_results(card)}

## Limits

{limits}
"""


def _label(card: Card) -> str:
    if card.activation == "sigmoid":
        return f"class 1 where the mean probability\n  exceeds {card.threshold}"
    mean = "probability" if card.mean == "probability" else "logit, and probabilities\n  are the softmax of these"
    return f"that of the largest mean {mean}"


def _scaled(card: Card) -> str:
    if card.input.normalisation.mode == "z-score":
        return "z-score of the whole volume"
    return "scaled\n  to the range from -1 to 1 of the whole volume"


def _budget(card: Card) -> str:
    trained = card.training
    if trained.processor_s is None:
        return ""
    seen = "" if trained.epochs is None else f", {trained.epochs:.1f} epochs"
    batch = "" if trained.batch is None else f", {trained.batch} at once"
    stopped = "" if trained.budget_s is None else f" (stopped at a budget of {trained.budget_s:.0f} s)"
    return f"Processor time {trained.processor_s:.0f} s{stopped}{batch}{seen}.\n"


def _cascade(card: Card) -> str:
    second = card.cascade
    if second is None:
        return ""
    kind = second.options.get("kind", second.kind)
    asked = f"pixels that are wrong with a probability above {second.threshold:.3f}"
    sees = second.options.get("sees")
    return (
        f"- **Second network**: {kind}, {second.parameters:,} parameters with the classifier of doubt; it decides\n"
        f"  {asked if second.threshold >= 0 else 'every pixel'}, and sees {second.edge} x {second.edge} pixels around"
        f" each{' (' + ', '.join(sees) + ')' if sees else ''}.\n"
    )


def _int8(card: Card) -> str:
    pinned = card.files.ranges
    return f"- **int8**: activations are rounded within the ranges of `{pinned.path}`.\n" if pinned else ""


def _reference(card: Card) -> str:
    pinned = card.files.reference
    if pinned is None:
        return ""
    return f"- **Reference**: `{pinned.path}`, a small scan and PyTorch's answer; `segbench zoo verify` compares.\n"


def _foreign(card: Card) -> str:
    fitted = card.foreign
    if fitted is None:
        return ""
    seen = f"grey values and {fitted.features} channels of the bottleneck" if fitted.features else "grey values"
    share = f"{100 * fitted.threshold:.4g} % of the training scans"
    return (
        f"- **Foreign input**: warned of where more than {share} are nearer to\n"
        f"  the usual one, in {seen}\n  ({fitted.on}).\n"
    )


def _seams(card: Card) -> str:
    found = card.seams
    if found is None:
        return ""
    return (
        f"- **Seams**: with twice the halo {found.labels_per_million:.0f} labels per million change, the mean entropy\n"
        f"  by {found.entropy:.1e} nats ({found.on}).\n"
    )


def _start(card: Card) -> str:
    return f"It started from the weights of {card.training.start}.\n" if card.training.start else ""


def _second(card: Card) -> str:
    return f"\nSecond network: {card.cascade.trained}\n" if card.cascade and card.cascade.trained else ""


def _seeds(card: Card) -> str:
    if card.seeds is None:
        return ""
    each = ", ".join(f"{s}: {v:.4f}" for s, v in zip(card.seeds.seeds, card.seeds.validation_miou, strict=True))
    return f"Released as the best of its seeds by that mIoU (seed: mIoU; {each}).\n"


def _calibration(card: Card) -> str:
    fitted = card.calibration
    if fitted is None:
        return ""
    return (
        f"Its logits are calibrated on {fitted.on}: scale {fitted.scale:.3f}, shift {fitted.shift:+.3f};\n"
        f"negative log-likelihood there {fitted.nll_before:.4f} before, {fitted.nll_after:.4f} after.\n"
    )


def _conformal(card: Card) -> str:
    fitted = card.conformal
    if fitted is None:
        return ""
    one, outwards = card.classes[1], "outwards" if fitted.widen >= 0 else "inwards"
    return (
        f"\nOn {fitted.on}, with T = {fitted.samples}:\n\n"
        f"- **Interval** of the share of {one}, {fitted.level:.0%}: percentiles 5 and 95 of the samples, moved\n"
        f"  {outwards} by {abs(fitted.widen):.3f} times (their standard deviation + {fitted.floor:g}).\n"
        f"- **Masks** that miss at most {fitted.risk:.0%} of a class on the mean: possibly {one} from a mean\n"
        f"  probability of {fitted.possible:.3f} up, surely above {fitted.sure:.3f}.\n\n"
        "Both promise something of the mean over blocks like those, and nothing of other scans.\n"
    )


def _results(card: Card) -> str:
    if not card.results:
        return "None measured yet."
    lines = ["Means over the domains of each data set.", ""]
    for result in card.results:
        how = f"{result.domains} domains, T = {result.samples}, seed {result.seed}"
        lines += [f"**{result.data}** ({how}; {result.engine} {result.precision} on {result.device})", ""]
        lines += ["| score | mean |", "|---|---:|"]
        lines += [f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in result.means.items()]
        lines.append("")
    return "\n".join(lines).rstrip()
