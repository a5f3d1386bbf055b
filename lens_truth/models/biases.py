"""Biases of linear maps in a plain model: what is added to them, and how maps without one get one that a checkpoint is
loaded with. There is no table of architectures: whether a config has a switch for biases is found out by trying."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens_truth.errors import InputError

Names = dict[str, tuple[int, ...]]
"""Parameters of a model, with their shapes."""


def add_to_biases(hf: Any, shifts: Mapping[str, Float[Tensor, " outputs"]]) -> None:
    """Exchanges the bias of each linear map (by its path) for it plus something, summed in double precision and rounded
    once. Where maps have none, the config is changed so that they have, and other maps that it gives one get zeros. The
    old tensors, which other models may share, stay as they are.

    Raises:
        InputError: if no switch in the config gives these maps biases, or weights are not in memory.
    """
    maps = {path: hf.get_submodule(path) for path in shifts}
    if any(its.weight.is_meta for its in maps.values()):
        raise InputError(
            "a shift is folded into weights in memory, and these are offloaded: load the model on one device"
        )
    if any(its.bias is None for its in maps.values()):
        _switch_on(hf, list(maps))
    for path, its in maps.items():
        old = its.bias
        new = (old.double() + shifts[path].to(old.device, torch.float64)).to(old.dtype)
        its.bias = nn.Parameter(new, requires_grad=old.requires_grad)


def _switch_on(hf: Any, paths: list[str]) -> None:
    """Has the config give biases to these maps, and puts zeros where it gives some."""
    plain = _made(hf, hf.config)
    tried: list[tuple[int, str, Any, Names]] = []
    for switch in _switches(hf.config):
        config = copy.deepcopy(hf.config)
        setattr(config.get_text_config(decoder=True), switch, True)
        names = _made(hf, config)
        added = {name: names[name] for name in names.keys() - plain.keys()}
        wanted = {f"{path}.bias" for path in paths if hf.get_submodule(path).bias is None}
        if plain and plain.keys() <= names.keys() and wanted <= added.keys() and all(_fits(hf, name) for name in added):
            tried.append((len(added), switch, config, added))
    if not tried:
        kind = paths[0].rpartition(".")[2]
        raise InputError(
            f"{type(hf).__name__} has no bias on its {kind}, and its config has no switch for one, so a checkpoint "
            "would load without the shift: attach it to the running model"
        )
    _, _, hf.config, added = min(tried, key=lambda its: its[:2])
    for name, shape in added.items():
        owner: Any = hf.get_submodule(name.removesuffix(".bias"))
        zeros = torch.zeros(shape, dtype=owner.weight.dtype, device=owner.weight.device)
        owner.bias = nn.Parameter(zeros, requires_grad=owner.weight.requires_grad)


def _switches(config: Any) -> list[str]:
    """Entries that are named after biases, and off."""
    its = cast("dict[str, Any]", vars(config.get_text_config(decoder=True)))
    return sorted(name for name, value in its.items() if "bias" in name and (value is False or value is None))


def _fits(hf: Any, name: str) -> bool:
    """Whether a parameter is a bias that a linear map of the model lacks."""
    path, _, last = name.rpartition(".")
    try:
        owner: Any = hf.get_submodule(path)
    except AttributeError:
        return False
    return last == "bias" and getattr(owner, "bias", False) is None and getattr(owner, "weight", None) is not None


def _made(hf: Any, config: Any) -> Names:
    """The parameters that a model of this config has, in no memory; none if it cannot be made."""
    try:
        with torch.device("meta"):
            made = type(hf)(copy.deepcopy(config))
    except (RuntimeError, NotImplementedError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {name: tuple(its.shape) for name, its in made.named_parameters()}
