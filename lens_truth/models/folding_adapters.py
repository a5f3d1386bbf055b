"""Factors on the inputs or outputs of a linear map that has adapters, taken into the map and into each adapter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens_truth.errors import InputError

Scale = Callable[[nn.Module, Tensor], None]


def scale_adapted(layer: Any, factor: Float[Tensor, " n"], scale: Scale, *, inputs: bool) -> bool:
    """Scales the module and the adapters in one of PEFT's layers with `scale`, and says whether it is one.

    base(x D) + s B A (x D) is the map with D in its columns and in those of A, of every adapter, active or not. DoRA
    divides by the norm of each row, which its magnitude is multiplied with again. (IA)^3 scales what goes in or comes
    out, whatever the order. An InputError refuses other kinds.
    """
    if "peft" not in sys.modules:
        return False
    from peft.tuners.ia3 import IA3Layer
    from peft.tuners.lora import LoraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    kind = cast("type[Any]", type(layer))
    if issubclass(kind, ModulesToSaveWrapper):
        parts = [layer.original_module, *layer.modules_to_save.values()]
    elif issubclass(kind, IA3Layer):
        parts = [layer.base_layer]
    elif issubclass(kind, LoraLayer) and _is_sum(layer):
        parts = [layer.base_layer, *(layer.lora_A if inputs else layer.lora_B).values()]
    elif issubclass(kind, BaseTunerLayer):
        raise InputError(
            f"no gate can be folded beside an adapter of the kind {kind.__module__}: merge it into its base"
        )
    else:
        return False
    norms = _norms(layer)
    if norms and not factor.all() and (not inputs or not factor.any()):
        raise InputError(
            "a gate that leaves nothing of a row cannot be folded beside DoRA, which divides by it: merge it"
        )
    for part in parts:
        scale(part, factor)
    for name, norm in _norms(layer).items():
        magnitude = layer.lora_magnitude_vector[name]
        magnitude.weight = nn.Parameter(magnitude.weight * norm / norms[name], requires_grad=False)
    return True


def _is_sum(layer: Any) -> bool:
    """Whether a layer is its base and plain LoRAs, or DoRAs whose magnitudes belong to the weights as they stand."""
    plain = isinstance(layer.lora_A, nn.ModuleDict) and set(layer.lora_A) == set(layer.lora_B)
    return plain and not (
        layer.lora_variant.keys() - layer.lora_magnitude_vector.keys() or (layer.lora_variant and layer.merged)
    )


def _norms(layer: Any) -> dict[str, Tensor]:
    """By DoRA adapter, the norm of each row of the map with the adapter."""
    from peft.utils.integrations import dequantize_module_weight

    norms: dict[str, Tensor] = {}
    for name, magnitude in getattr(layer, "lora_magnitude_vector", {}).items():
        with torch.no_grad():
            change = layer.lora_B[name].weight @ layer.lora_A[name].weight
            norms[name] = magnitude.get_weight_norm(
                dequantize_module_weight(layer.get_base_layer()).to(change.dtype), change, layer.scaling[name]
            )
    return norms
