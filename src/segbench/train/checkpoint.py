"""A run's whole state in one safetensors file, replaced as a whole: kill -9 leaves the old one or the new one."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from segbench.errors import InputError
from segbench.train.average import Average

Record = dict[str, float | int | str | None]


@dataclass
class State:
    """What a run carries from step to step, besides network and optimiser.

    Attributes:
        step: Optimiser steps done.
        seconds: Wall time of the steps done, over all sittings.
        history: One record for each logged step.
        processor_s: Processor time of the steps done, in seconds, over all sittings and threads.
    """

    step: int
    seconds: float
    history: list[Record]
    processor_s: float = 0.0


def save(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: State,
    run: str,
    average: Average | None = None,
) -> None:
    """Writes the state; `run` is the hash of the recipe that it belongs to."""
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{k}": v for k, v in average.state().items()}
    for number, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{k}": torch.as_tensor(v) for k, v in values.items()}
    # PyTorch's own optimisers count the steps of each tensor, others those of a group
    counted = {str(n): group["step"] for n, group in enumerate(optimiser.param_groups) if "step" in group}
    metadata = {
        "run": run,
        "step": str(state.step),
        "seconds": str(state.seconds),
        "processor_s": str(state.processor_s),
        "history": json.dumps(state.history),
    } | ({"group_steps": json.dumps(counted)} if counted else {})
    temporary = path.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def restore(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, run: str, average: Average | None = None
) -> State:
    """Loads the state into network, optimiser and average.

    Raises:
        InputError: The file is damaged, or belongs to another recipe.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged checkpoint ({error}); remove it to begin anew") from error
    if metadata.get("run") != run:
        raise InputError(f"{path}: belongs to another recipe; choose another --out or remove it to begin anew")
    network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
    if average is not None:
        average.network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("average.")})
    slots: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".", 2)
            slots.setdefault(int(number), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    for number, steps in json.loads(metadata.get("group_steps", "{}")).items():
        groups[int(number)]["step"] = steps
    optimiser.load_state_dict({"state": slots, "param_groups": groups})
    return State(
        int(metadata["step"]),
        float(metadata["seconds"]),
        json.loads(metadata["history"]),
        float(metadata.get("processor_s", 0)),
    )
