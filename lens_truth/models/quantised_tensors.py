"""Weights that are tensors of a class of their own, in an ordinary layer: torchao's and quanto's."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn

from lens_truth.models.quantised import Scale, of_blocks, scaled


def scale_torchao(linear: Any, factor: Float[Tensor, "outputs inputs"]) -> None:
    """Scales of blocks of outputs and inputs, beside integers or 8-bit floats; zero points count in their steps."""
    rows, columns = (min(size, n) for size, n in zip(linear.weight.block_size, factor.shape, strict=True))
    blocks = of_blocks(factor, rows, columns, linear)
    _exchange(linear, scale=scaled(linear.weight.scale, blocks.reshape(linear.weight.scale.shape)))


def scale_quanto(linear: Any, factor: Float[Tensor, "outputs inputs"]) -> None:
    """Scales for each output, or for groups of inputs; a shift in floats (instead of steps) is scaled like them."""
    weight = linear.weight
    size = getattr(weight, "_group_size", None)
    grouped = (
        factor if size is None else import_module("optimum.quanto.tensor.grouped").group(factor, weight.axis, size)
    )
    rows, columns = grouped.shape
    if weight.axis is not None:
        rows, columns = (1, columns) if weight.axis == 0 else (rows, 1)
    blocks = of_blocks(grouped, rows, columns, linear)
    if hasattr(weight, "_scale_shift"):  # [groups of inputs, outputs, 2]
        by_output = blocks.reshape(factor.shape[0], -1).T
        _exchange(linear, _scale_shift=scaled(weight._scale_shift, by_output[..., None]))
        return
    more = {"_scale": scaled(weight._scale, blocks.reshape(weight._scale.shape))}
    if hasattr(weight, "_shift") and weight._shift.is_floating_point():
        more["_shift"] = scaled(weight._shift, blocks.reshape(weight._shift.shape))
    _exchange(linear, **more)


def _exchange(linear: Any, **parts: Tensor) -> None:
    """Gives a layer a weight of the same class that shares all parts but these."""
    weight = linear.weight
    names, about = weight.__tensor_flatten__()
    parts = {name: getattr(weight, name) for name in names} | parts
    new: Any = cast("Any", type(weight)).__tensor_unflatten__(parts, about, weight.size(), weight.stride())
    linear.weight = nn.Parameter(new, requires_grad=False)


_TORCHAO = ("Int8Tensor", "IntxUnpackedToInt8Tensor", "Float8Tensor")
_QUANTO = ("WeightQBytesTensor", "WeightQBitsTensor", "TinyGemmWeightQBitsTensor")
KINDS: dict[str, Scale] = {**dict.fromkeys(_TORCHAO, scale_torchao), **dict.fromkeys(_QUANTO, scale_quanto)}
