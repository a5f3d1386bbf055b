"""Layers that hold packed integers and their scales side by side: GPTQ, AWQ, HQQ, and FP8 in blocks."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.models.quantised import Scale, of_blocks, replace, scaled


def scale_packed(linear: Any, factor: Float[Tensor, "outputs inputs"]) -> None:
    """GPTQ and AWQ: scales [groups, outputs], of inputs side by side or, in act-order, as `g_idx` has them."""
    by_input, group = factor.T, linear.group_size
    order = getattr(linear, "g_idx", None)
    if order is not None and len(order) == len(by_input):
        by_input = by_input[order.to(factor.device).argsort(stable=True)]
    blocks = of_blocks(by_input, group if group > 0 else len(by_input), 1, linear)
    replace(linear, "scales", scaled(linear.scales, blocks))
    if "dequantize_weight" in vars(linear):  # compiled, and bound to the layer that this one is a copy of
        del linear.dequantize_weight
        linear.optimized = False
        linear.optimize()


def scale_hqq(linear: Any, factor: Float[Tensor, "outputs inputs"]) -> None:
    """HQQ: the flattened weight in rows (axis 1) or columns (axis 0) of groups, each with a zero, which stays."""
    meta: dict[str, Any] = linear.meta
    if "scale" not in meta:
        raise InputError("the scales of an HQQLinear are quantised or elsewhere, so no gate can be folded: attach it")
    group = meta["group_size"] or factor.shape[1 if meta["axis"] else 0]
    if meta["axis"]:
        blocks = of_blocks(factor.reshape(-1, group), 1, group, linear)
    else:
        blocks = of_blocks(factor.reshape(group, -1), group, 1, linear)
    linear.meta = meta | {"scale": scaled(meta["scale"], blocks)}


def scale_fp8(linear: Any, factor: Float[Tensor, "outputs inputs"]) -> None:
    """Transformers' own FP8: a scale for a block of outputs and inputs, or one for all."""
    rows, columns = linear.block_size or factor.shape
    blocks = of_blocks(factor, rows, columns, linear)
    replace(linear, "weight_scale_inv", scaled(linear.weight_scale_inv, blocks.reshape(linear.weight_scale_inv.shape)))


_PLAIN = (
    *("TorchLinear", "TorchQuantLinear", "TritonV2Linear", "TritonV2QuantLinear"),
    *("AwqTorchLinear", "AwqTorchQuantLinear", "AwqGEMMLinear", "WQLinear_GEMM"),
)
"""GPTQ's and AWQ's layers that leave scales in the order of the file; other kernels reorder them."""
KINDS: dict[str, Scale] = {"HQQLinear": scale_hqq, "FP8Linear": scale_fp8, **dict.fromkeys(_PLAIN, scale_packed)}
