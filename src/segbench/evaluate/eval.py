"""Evaluates a model, and the baselines beside it, case by case into rows."""

import time
from collections.abc import Callable, Iterator

from segbench.cascade import Cascade, cascade_of
from segbench.engines import Engine
from segbench.errors import InputError
from segbench.evaluate.blocks import blocks
from segbench.evaluate.bounds import of_bounds
from segbench.evaluate.cases import Labelled, Source
from segbench.evaluate.merging import Merge, curves_without_samples, doubts, fit, without_samples
from segbench.evaluate.naive import naive_rows, of_case, shown_of
from segbench.evaluate.provenance import row_of
from segbench.evaluate.scores import of_foreign, of_references, of_tally, of_thresholds, of_uncertainty, score
from segbench.evaluate.seen import seen
from segbench.foreign import Look, look_of
from segbench.predict import Prediction, predict
from segbench.rows import Row
from segbench.zoo import Model
from segbench.zoo.card import Card

Progress = Callable[[str, float], None]  # (what is being done, share of the case that is done)
Keep = Callable[[Labelled, Prediction], None]
PREDICTED = "normalisation, tiles with their halo, all samples, aggregation; the first case compiles the graph"
OTSU, FOREST = "otsu", "forest"
_shown = shown_of


def evaluate(
    model: Model,
    engine: Engine,
    data: Source,
    samples: int,
    seed: int,
    progress: Progress | None = None,
    keep: Keep | None = None,
    *,
    invert: bool = False,
    calibrated: bool = True,
    merge: str = "",
    baselines: bool = True,
) -> Iterator[Row]:
    """Rows of every case: the model, Otsu's threshold, and a forest that saw one labelled slice.

    Where the data set says which part of it is trained on, the naive methods that learn from it as well.

    Args:
        model: What to evaluate.
        engine: The same model, started.
        data: Labelled volumes.
        samples: Monte-Carlo samples T; 0 for the deterministic twin.
        seed: Of masks and forest.
        progress: Called as tiles are done.
        keep: Called with every prediction, for pictures.
        invert: The images' negatives are segmented, by the baselines too.
        calibrated: Whether logits go through the card's calibration, which a model must have to be run without it.
        merge: Which class of the data each of the model's is, such as "nickel=active,carbon+pore=rest"; "" where they
            are the same by number.
        baselines: Whether the methods without a network are scored beside it.

    Raises:
        InputError: Another number of classes than the data has, a merge that does not fit, or no calibration to leave
            out.
    """
    merged = fit(model.card, data.name, data.classes, merge)
    card = model.card if calibrated else uncalibrated(model.card)
    seeing, second = look_of(model, engine), cascade_of(model, engine)
    for domain in data.domains:
        cases = list(data.cases(domain))
        for number, case in enumerate(cases):
            prediction, seconds = _predict(card, engine, seeing, second, case, samples, seed, progress, invert)
            prediction = prediction if merged is None else merged.of(prediction)
            if keep is not None:
                keep(case, prediction)
            yield _model_row(model.hash, card, engine, data, case, prediction, seconds, calibrated, merged)
            if not baselines:
                continue
            if progress is not None:
                progress(f"{case.domain}: baselines", 1.0)
            other = cases[number - 1] if len(cases) > 1 else None
            yield from naive_rows(data, case, other, seed, invert, of_case(case))


def uncalibrated(card: Card) -> Card:
    """The card without its calibration, and without what was fitted to calibrated probabilities.

    Raises:
        InputError: There is none to leave out.
    """
    if card.calibration is None:
        raise InputError(f"model {card.name!r} has no calibration: leave out --uncalibrated")
    return card.model_copy(update={"calibration": None, "conformal": None})


def _predict(
    card: Card,
    engine: Engine,
    seeing: Look | None,
    second: Cascade | None,
    case: Labelled,
    samples: int,
    seed: int,
    progress: Progress | None,
    invert: bool,
) -> tuple[Prediction, float]:
    def tile(done: int, total: int) -> None:
        if progress is not None:
            progress(case.domain if case.name == case.domain else f"{case.domain}/{case.name}", done / total)

    tile(0, 1)
    start = time.perf_counter()
    prediction = predict(case.image, card, engine, samples, seed, tile, invert=invert, look=seeing, cascade=second)
    return prediction, time.perf_counter() - start


def _model_row(
    model_hash: str,
    card: Card,
    engine: Engine,
    data: Source,
    case: Labelled,
    prediction: Prediction,
    seconds: float,
    calibrated: bool,
    merged: Merge | None,
) -> Row:
    classes = data.classes
    scores, truth, human = score(case, prediction.labels, None, classes)
    threshold = card.threshold if merged is None else 0.5
    tallied, curves = of_tally(case, prediction, threshold, classes)
    uncertain = of_uncertainty(prediction, classes)
    if merged is not None:
        tallied, curves, uncertain = (
            without_samples(tallied),
            curves_without_samples(curves),
            without_samples(uncertain),
        )
    scores |= tallied | uncertain | of_references(case, classes)
    if len(classes) == 2:
        scores |= of_thresholds(case, prediction)
        scores |= of_bounds(case, prediction, card.conformal) if merged is None else {}
    scores |= of_foreign(prediction)
    return row_of(
        case,
        scores,
        (truth, human),
        blocks=blocks(case.reference, prediction.labels, len(classes), case.stack),
        curves=curves,
        kind="case",
        model=card.name,
        model_hash=model_hash,
        engine=engine.name,
        device=engine.device,
        precision=engine.precision,
        threads=engine.threads,
        thin=engine.thin,
        samples=prediction.samples,
        inverted=prediction.inverted,
        calibrated=calibrated,
        merge="" if merged is None else merged.text,
        warnings=(*prediction.warnings, *doubts(card, data.name, classes, merged), *seen(card, data.name, case.domain)),
        seed=prediction.seed,
        wall_s=seconds,
        timed=PREDICTED,
    )
