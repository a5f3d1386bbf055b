"""bitsandbytes' layers: 4 bits in blocks of the flattened weight, 8 bits with a scale for each output."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lens_truth.models.quantised import Scale, of_blocks, scaled


def scale_4bit(linear: Any, factor: Float[Tensor, "outputs inputs"]) -> None:
    """NF4 and FP4. Scales that are quantised themselves (double quantisation) become floats, as exact as they were."""
    weight, state = copy.copy(linear.weight), copy.copy(linear.weight.quant_state)
    absmax = state.absmax
    if state.nested:
        absmax = import_module("bitsandbytes.functional").dequantize_blockwise(absmax, state.state2) + state.offset
        state.nested, state.state2, state.offset = False, None, None
    state.absmax = scaled(absmax, of_blocks(factor.reshape(1, -1), 1, state.blocksize, linear)[0])
    weight.quant_state, weight.module = state, linear
    linear.weight, linear.quant_state = weight, state


def scale_8bit(linear: Any, factor: Float[Tensor, "outputs inputs"]) -> None:
    """LLM.int8."""
    linear.state.SCB = scaled(linear.state.SCB, of_blocks(factor, 1, factor.shape[1], linear)[:, 0])


def settle(hf: Any) -> None:
    """Puts bitsandbytes' layers into a state that forward passes no longer change.

    A layer of 8 bits moves its scales at its first pass. A layer of 4 bits is repacked there, on processors with
    bfloat16: then it has no gradient, and `state_dict` gives its scales in the wrong order, the layer's own included.
    """
    for module in hf.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
            _unpack(module.weight)
        elif getattr(getattr(module, "weight", None), "CB", None) is not None:
            module.init_8bit_state()


def _unpack(weight: Any) -> None:
    state = weight.quant_state
    if getattr(state, "packing_format_for_cpu", False):
        state.original_nested = False  # or its scales would be quantised anew, from fewer bits
        unpack: Any = import_module("bitsandbytes.functional")._convert_weight_packed_for_cpu_inverse
        weight.data, _ = unpack(weight.data, state)
    if state is not None and state.absmax.ndim == 2:
        state.absmax = state.absmax.T.reshape(-1).float()


KINDS: dict[str, Scale] = {"Linear4bit": scale_4bit, "Linear8bitLt": scale_8bit}
