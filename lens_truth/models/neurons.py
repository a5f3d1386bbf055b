"""Where the neurons of a Hugging Face model live: the down projection of every decoder layer's gated MLP, found by
structure as heads are. A neuron is an input of it: what the gate and the up projection make together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens_truth.errors import InputError
from lens_truth.models.cut import in_one, is_cut
from lens_truth.models.folding import check_plain
from lens_truth.models.hooks import Acting, Hooked, inner_model
from lens_truth.models.placing import device_of, fetched
from lens_truth.models.quantised import scaled
from lens_truth.models.structure import (
    attention_in,
    decoder_layers,
    has_experts,
    linear_shape,
    mlp_output,
    modules_of,
)

_GRIDS: WeakKeyDictionary[Any, tuple[int, int]] = WeakKeyDictionary()
"""Of models that were looked through: gates of neurons ask at every batch."""
_AT_ONCE = 256
"""Neurons whose columns are read off a map at once, where it has no plain weight."""


@dataclass(frozen=True)
class Mlp:
    """The gated MLP of one decoder layer."""

    layer: int
    """Counted over all decoder layers."""
    path: str
    """Dotted path of the down projection in the Hugging Face model."""
    width: int
    """How many neurons."""


def mlps(hf: nn.Module) -> tuple[Mlp, ...]:
    """The gated MLP of every decoder layer, with attention or without; of a multimodal model, of its language tower.

    >>> mlps(model.original_model)[0].path
    'model.layers.0.mlp.down_proj'

    Raises:
        InputError: if a layer is a mixture of experts, has no MLP, or one without a gate.
    """
    path, layers = decoder_layers(hf)
    return tuple(_mlp(hf, f"{path}.{number}", number, block) for number, block in enumerate(layers))


def neuron_grid(model: Any) -> tuple[int, int]:
    """Decoder layers, and neurons of the widest; an InputError refuses layers of experts, without an MLP, or with one
    that has no gate.

    >>> lens_truth.neuron_grid(lens_truth.load("zoo:llama-base"))
    (6, 256)
    """
    hf = inner_model(model)
    if hf not in _GRIDS:
        found = mlps(hf)
        _GRIDS[hf] = len(found), max(its.width for its in found)
    return _GRIDS[hf]


def _mlp(hf: Any, path: str, layer: int, block: nn.Module) -> Mlp:
    kind, d_model = type(hf).__name__, hf.config.get_text_config(decoder=True).hidden_size
    if has_experts(block):
        raise InputError(
            f"{kind}: layer {layer} is a mixture of experts, whose neurons work for some tokens only; neurons are read "
            "and scaled in models with one gated MLP a layer (Llama, Mistral, Qwen, Gemma, Phi-3 and their like)"
        )
    inside = attention_in(block, d_model)
    down = mlp_output(block, inside or "\0", d_model)
    if down is None:
        raise InputError(
            f"{kind}: layer {layer} has no MLP that ends in a map to the residual stream, so it has no neurons to read "
            "or scale; take a model with one gated MLP a layer"
        )
    width = (linear_shape(block.get_submodule(down)) or (0, 0))[0]
    into = [size for name, size in _maps(block, inside) if name != down and size[0] == d_model]
    if sum(size[1] // width for size in into if size[1] in (width, 2 * width)) < 2:
        raise InputError(
            f"{kind}: the MLP of layer {layer} ({down}) has no gate, and H-neurons are defined by the input of a gated "
            "MLP's down projection: take a model with gated MLPs (Llama, Mistral, Qwen, Gemma, Phi-3 and their like)"
        )
    return Mlp(layer, f"{path}.{down}", width)


def input_maps(hf: nn.Module, mlp: Mlp) -> tuple[str, ...]:
    """The paths of the maps by which a layer's neurons read the residual stream: gate and up projection, or both as
    one, and those of an MLP beside it that is as wide."""
    root, layers = decoder_layers(hf)
    width: int = cast("Any", hf).config.get_text_config(decoder=True).hidden_size
    block = layers[mlp.layer]
    found = _maps(block, attention_in(block, width))
    sizes = (mlp.width, 2 * mlp.width)
    paths = [(f"{root}.{mlp.layer}.{name}", size) for name, size in found]
    return tuple(path for path, size in paths if path != mlp.path and size[0] == width and size[1] in sizes)


def _maps(block: nn.Module, attention: str | None) -> Iterator[tuple[str, tuple[int, int]]]:
    """The linear maps of a layer outside its attention, not those inside of others (of an adapter)."""
    found: list[str] = []
    for name, module in modules_of(block):
        outside = attention is None or not f"{name}.".startswith(f"{attention}.")
        if outside and (shape := linear_shape(module)) and not any(name.startswith(f"{its}.") for its in found):
            found.append(name)
            yield name, shape


def column_norms(hf: nn.Module, mlp: Mlp) -> Float[Tensor, " M"]:
    """How long what each neuron writes is: the norms of the down projection's columns, in single precision. Of maps
    without a plain weight (quantised ones, those with an adapter) columns are what single neurons bring out."""
    down: Any = hf.get_submodule(mlp.path)
    if is_cut(down.weight if hasattr(down, "weight") else None):
        return cast("Tensor", in_one(down.weight).detach().float().norm(dim=0))
    try:
        check_plain(down)
    except InputError:
        return _measured_norms(down, mlp.width)
    weight: Tensor = fetched(down, "weight") if down.weight.is_meta else down.weight
    by_input = weight.shape[0] == mlp.width and type(down).__name__ == "Conv1D"
    return cast("Tensor", weight.detach().float().norm(dim=1 if by_input else 0))


def _measured_norms(down: Any, width: int) -> Float[Tensor, " M"]:
    example = next(its for its in (*down.parameters(), *down.buffers()))
    dtype = next((its.dtype for its in down.parameters() if its.is_floating_point()), torch.float32)
    found: list[Tensor] = []
    with torch.no_grad():
        nothing = down(torch.zeros(1, width, dtype=dtype, device=example.device))
        for first in range(0, width, _AT_ONCE):
            shown = torch.eye(width, device=example.device)[first : first + _AT_ONCE].to(dtype)
            found.append((down(shown).float() - nothing.float()).norm(dim=1))
    return torch.cat(found)


def scale_neurons(model: Hooked, values: Float[Tensor, "*batch L M"]) -> AbstractContextManager[Any]:
    """While open, each neuron's activation is multiplied by its value at every position, in layers where any value is
    not 1. Values [batch, L, M] give each row of the batch its own; gradients flow to them."""
    values = values.to(device_of(model))
    acts = (values != 1).flatten(0, -3).any(0) if values.ndim > 2 else values != 1
    acting = cast("list[int]", acts.any(-1).nonzero().flatten().tolist())
    return model.hooks(
        fwd_hooks=[
            (f"blocks.{layer}.mlp.hook_post", Acting(values[..., layer, :], 1, _first_of, scaled)) for layer in acting
        ]
    )


def _first_of(values: Tensor, width: int) -> Tensor:
    """To the neurons of a layer that is narrower than others."""
    return values[..., :width]
