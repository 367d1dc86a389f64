"""Weights as safetensors: convolutions stored in float16 and rounded so, never unpickled, loaded strictly."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segbench.errors import InputError
from segbench.nets.network import Network


def round_weights(network: Network) -> None:
    """Rounds all weights with more than one axis to float16, so that what is stored is what was evaluated."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.copy_(parameter.half().float())


def save(network: Network, path: Path) -> None:
    """Writes the weights of a network that went through `round_weights`."""
    tensors = {name: value.half() if value.dim() > 1 else value for name, value in network.state_dict().items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def load(network: Network, path: Path, logits: tuple[int, int] | None = None, *, flat: bool = False) -> None:
    """Loads weights; every name and shape must match.

    Args:
        network: Takes the weights.
        path: File of them.
        logits: How many the file's network has and how many this one: the layer that makes them stays as it is.
        flat: Kernels of the file are summed along Z where this network's are one voxel long.

    Raises:
        InputError: The file is damaged or belongs to another network.
    """
    try:
        tensors = load_file(path)
        wanted = network.state_dict()
        for name in tensors.keys() & wanted.keys():
            tensors[name] = _fitted(tensors[name], wanted[name], logits, flat)
        network.load_state_dict({k: v.to(wanted[k].dtype) if k in wanted else v for k, v in tensors.items()})
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not the weights of this network ({reason})") from error


def _fitted(given: Tensor, own: Tensor, logits: tuple[int, int] | None, flat: bool) -> Tensor:
    if not given.dim() or not own.dim():
        return given  # a count
    if logits is not None and given.shape[1:] == own.shape[1:] and (len(given), len(own)) == logits:
        return own
    if flat and given.dim() == 5 and own.shape[2] == 1:
        return given.float().sum(dim=2, keepdim=True)
    return given
