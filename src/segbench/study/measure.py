"""What is measured of a trained model: rows of every domain of its split, and what its errors look like."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from segbench.data.case import array_hash
from segbench.engines import Engine, start
from segbench.errors import InputError
from segbench.evaluate.cases import DataSet, Labelled, open_data
from segbench.evaluate.eval import evaluate
from segbench.evaluate.findings import Findings, findings
from segbench.evaluate.measured import Measured, Speed, Trained, compact, trained
from segbench.evaluate.naive import Naive, naive_rows
from segbench.evaluate.source import card_hash
from segbench.hardware import processor
from segbench.predict import predict
from segbench.rows import Row
from segbench.study.logits import mean_logits
from segbench.study.task import Task
from segbench.volume import Volume
from segbench.zoo import Model

SEED = 0
"""Of the masks of every evaluation."""
TIMED = (32, 160, 160)
"""Of a test volume, whose prediction is timed: a quarter of its layers is tiled as all of them are, in a quarter of the
time."""


def measure(model: Model, task: Task) -> Measured:
    """Rows of a model by the engine that `auto` takes, with one thread.

    Raises:
        EngineError: There is no engine, or it refuses the model.
        InputError: The data cannot be made.
    """
    engine = start(model, threads=1)
    rows = tuple(_rows(model, engine, task))
    found = _findings(model, engine, task) if task.findings else None
    speed = _speed(model, engine, task) if task.speed else None
    how = trained(task.key, model.card, task.budget_s, task.domains, task.layers)
    return Measured(task.key, compact(rows), how, found, speed)


def scored(task: Task) -> DataSet:
    """What a task is scored on: its data, or as many domains of it and layers of each volume as its scale allows.

    Raises:
        UnknownNameError: There is no such data set.
    """
    data = open_data(task.data)

    def load(domain: str) -> Iterator[Labelled]:
        for case in data.load(domain):
            yield case if task.layers is None else _first_layers(case, task.layers)

    return replace(data, domains=data.domains[: task.domains], load=load)


def _first_layers(case: Labelled, layers: int) -> Labelled:
    image, human = case.image.data[:layers], case.human[:layers]
    truth = None if case.truth is None else case.truth[:layers]
    hash_ = array_hash(part for part in (image, truth, human) if part is not None)
    return replace(case, image=replace(case.image, data=image), human=human, truth=truth, hash=hash_)


def without_network(task: Task, name: Naive) -> Measured:
    """Rows of a method that needs no network.

    Raises:
        InputError: The data does not say what it is trained on, which the method learns from.
    """
    data = scored(task)
    cases = list(data)
    rows = [row for case in cases for row in naive_rows(data, case, None, task.seed, False, [name], divided=True)]
    if len(rows) < len(cases):
        raise InputError(
            f"{task.method}: {task.data} does not say what is trained on, so that {name} has nothing to see"
        )
    how = Trained(
        method=task.method, seed=task.seed, split=task.split, parameters=0, steps=0, processor_s=None, budget_s=None,
        device=processor(), recipe_sha256=None, domains=task.domains, layers=task.layers,
    )  # fmt: skip
    return Measured(task.key, tuple(rows), how)


def _speed(model: Model, engine: Engine, task: Task) -> Speed:
    """Processor time of a part of the first test volume, after a pass that compiles what has to be compiled."""
    case = next(iter(scored(task)))
    deep, high, wide = TIMED
    image = np.asarray(case.image.data[:deep, :high, :wide])
    volume, spent = Volume(image, source=case.image.source), {}
    for samples in (0, 0, task.samples, task.samples):
        start = time.process_time()
        predict(volume, model.card, engine, samples, SEED)
        spent[samples] = time.process_time() - start  # of the second time, in which all is compiled
    return Speed(
        voxels=image.size, single_s=spent[0], sampled_s=spent[task.samples], samples=task.samples,
        engine=f"{engine.name} {engine.version}", device=engine.device,
    )  # fmt: skip


def _rows(model: Model, engine: Engine, task: Task) -> Iterator[Row]:
    """Rows of the model; the baselines of `segbench eval` are the same for all methods, and methods of their own."""
    for row in evaluate(model, engine, scored(task), task.samples, SEED, baselines=False):
        yield row.model_copy(update={"card": card_hash(model.card)})


def _findings(model: Model, engine: Engine, task: Task) -> Findings:
    case = next(iter(scored(task)))
    return findings(mean_logits(case.image, model.card, engine, task.samples, SEED), case.human)
