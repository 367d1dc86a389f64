"""One loop for the small networks of the later stages: resumable, within a budget of processor time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from segbench.train.checkpoint import Record, State, restore, save
from segbench.train.optimisers import learning_rate, make_optimiser
from segbench.train.recipe import OptimiserRecipe

CHECKPOINT = "checkpoint.safetensors"
SAVE_EVERY_S = 20.0  # of processor time
NOTE_EVERY = 20  # steps

Loss = Callable[[int, float], Tensor]
Stepping = Callable[[Record], None]


@dataclass(frozen=True)
class Plan:
    """How a network is fitted.

    Attributes:
        steps: Optimiser steps, at most.
        optimiser: And its schedule, which goes by the larger share of steps and budget used.
        seed: Of what PyTorch draws (dropout).
        key: What a checkpoint belongs to.
        stage: Its name, for records.
        budget_s: Processor time of this process, all sittings together; None for no limit.
    """

    steps: int
    optimiser: OptimiserRecipe
    seed: int
    key: str
    stage: str
    budget_s: float | None = None

    def share(self, state: State) -> float:
        """Of the training that is done, in [0, 1]."""
        used = 0.0 if self.budget_s is None else state.processor_s / self.budget_s
        return min(1.0, max(state.step / self.steps, used))


def fit(network: nn.Module, loss: Loss, plan: Plan, folder: Path, stepping: Stepping | None = None) -> State:
    """Trains, or goes on where the checkpoint in `folder` stands.

    Args:
        network: Left in evaluation mode.
        loss: Of step number `step`, `share` of the training being done.
        plan: How.
        folder: Of the checkpoint.
        stepping: Called with the record of every noted step.
    """
    torch.manual_seed(plan.seed)
    optimiser = make_optimiser(network, plan.optimiser)
    path = folder / CHECKPOINT
    state = restore(path, network, optimiser, plan.key) if path.is_file() else State(0, 0.0, [])
    network.train()
    before, start, saved = state.processor_s, time.process_time(), state.processor_s
    while (share := plan.share(state)) < 1:
        torch.manual_seed((plan.seed << 32) + state.step)  # a step is the same whether it was resumed at or not
        rate = learning_rate(share * plan.steps, plan.steps, plan.optimiser)
        for group in optimiser.param_groups:
            group["lr"] = rate
        value = loss(state.step, share)
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        if plan.optimiser.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), plan.optimiser.clip_norm)
        optimiser.step()
        state.step += 1
        state.processor_s = before + time.process_time() - start
        if state.step % NOTE_EVERY == 0:
            state.history.append({"step": state.step, "loss": float(value.detach()), "learning_rate": rate})
            if stepping is not None:
                stepping(state.history[-1] | {"stage": plan.stage, "share": plan.share(state)})
        if state.processor_s - saved > SAVE_EVERY_S:
            save(path, network, optimiser, state, plan.key)
            saved = state.processor_s
    if state.processor_s > saved or not path.is_file():
        save(path, network, optimiser, state, plan.key)
    network.eval()
    return state
