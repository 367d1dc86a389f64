"""What is measured of a trained model: rows of every domain of its split, and what its errors look like."""

from collections.abc import Iterator

from segbench.engines import Engine, start
from segbench.evaluate.cases import open_data
from segbench.evaluate.eval import evaluate
from segbench.evaluate.findings import Findings, findings
from segbench.evaluate.measured import Measured, compact, trained
from segbench.evaluate.source import card_hash
from segbench.rows import Row
from segbench.study.logits import mean_logits
from segbench.study.task import DOMAINS, Task
from segbench.zoo import Model

SEED = 0
"""Of the masks of every evaluation."""


def measure(model: Model, task: Task) -> Measured:
    """Rows of a model by the engine that `auto` takes, with one thread.

    Raises:
        EngineError: There is no engine, or it refuses the model.
        InputError: The data cannot be made.
    """
    engine = start(model, threads=1)
    rows = tuple(row for domain in DOMAINS[task.split] for row in _rows(model, engine, task, domain))
    found = _findings(model, engine, task) if task.findings else None
    return Measured(task.key, compact(rows), trained(task.key, model.card, task.budget_s), found)


def _rows(model: Model, engine: Engine, task: Task, domain: str) -> Iterator[Row]:
    for row in evaluate(model, engine, open_data(task.data, domain), task.samples, SEED):
        if row.kind != "case":
            return  # the baselines of `segbench eval` are the same for all methods: they are not computed again
        yield row.model_copy(update={"card": card_hash(model.card)})


def _findings(model: Model, engine: Engine, task: Task) -> Findings:
    domain = DOMAINS[task.split][0]
    case = next(iter(open_data(task.data, domain).cases(domain)))
    return findings(mean_logits(case.image, model.card, engine, task.samples, SEED), case.human)
