"""Where the parts of a model are: on several devices, or kept by accelerate on the CPU or the disk until they run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lens_truth.errors import InputError
from lens_truth.models.structure import modules_of


def device_of(model: Any) -> torch.device:
    """Where a model wants its tokens: where its embedding computes."""
    hf = getattr(model, "original_model", model)
    embedding = hf.get_input_embeddings() if hasattr(hf, "get_input_embeddings") else hf
    computes = (getattr(hook, "execution_device", None) for hook in _hooks(embedding))
    device = next((its for its in computes if its is not None), None)
    return next(embedding.parameters()).device if device is None else torch.device(device)


def devices_of(hf: nn.Module) -> list[str]:
    """Names of all devices that hold weights, `offloaded` for those that lie elsewhere until they are used."""
    names = ("offloaded" if weight.is_meta else str(weight.device) for weight in hf.parameters())
    return list(dict.fromkeys(names))


def fetched(hf: nn.Module, name: str) -> Tensor:
    """An offloaded tensor, by its name in a module, from where it is kept until it is used."""
    owner, _, own = name.rpartition(".")
    for hook in _keeping(hf.get_submodule(owner)):
        return hook.weights_map[own]
    raise InputError(f"the weights of '{name}' are not in memory, nor where accelerate keeps what is offloaded")


def keep(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Has another tensor, in memory, put in the place of an offloaded one when the module runs. What the module shares
    with others is left as it is."""
    for hook in _keeping(module):
        hook.weights_map = {**{each: hook.weights_map[each] for each in module.state_dict()}, name: tensor}


def shared_by_copies(hf: nn.Module) -> list[Any]:
    """What is kept elsewhere, which a copy of the modules must not copy."""
    hooks = [hook for _, module in modules_of(hf) for hook in _keeping(module)]
    return [part for hook in hooks for part in (hook.weights_map, hook.tied_params_map)]


def _keeping(module: nn.Module) -> list[Any]:
    return [hook for hook in _hooks(module) if getattr(hook, "weights_map", None) is not None]


def _hooks(module: Any) -> list[Any]:
    """Accelerate's hooks on a module: of one, or of several in a row."""
    hook = getattr(module, "_hf_hook", None)
    return [] if hook is None else getattr(hook, "hooks", [hook])
