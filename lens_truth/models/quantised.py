"""Factors taken into the scales of quantised weights. The weights of a group share a scale, so all of a group must get
the same factor; then the numbers stay as they are, and nothing but its scale is rounded once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens_truth.errors import InputError


def of_blocks(factor: Float[Tensor, "R C"], rows: int, columns: int, linear: nn.Module) -> Float[Tensor, "r c"]:
    """The factor of each block of so many rows and columns (the last may be cut off). An InputError refuses blocks of
    which some are to get one factor, and some another."""
    found = factor[::rows, ::columns]
    whole = found.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
    if not torch.equal(whole[: factor.shape[0], : factor.shape[1]], factor):
        raise InputError(
            f"weights of a {type(linear).__name__} that share a scale would need different gates, so the gate cannot "
            "be folded into them: attach it, or fold it into the model in full precision"
        )
    return found


def scaled(x: Float[Tensor, "*shape"], factor: Float[Tensor, "..."]) -> Float[Tensor, "*shape"]:
    """x times factor, rounded once to x's dtype: a factor near 1 would itself be rounded to 1 in half precision."""
    return (x * factor.to(x.device, torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


def shifted(x: Float[Tensor, "*shape"], vector: Float[Tensor, "..."]) -> Float[Tensor, "*shape"]:
    """x plus vector, rounded once to x's dtype."""
    return (x + vector.to(x.device, torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


def replace(linear: nn.Module, name: str, new: Tensor) -> None:
    """Exchanges a parameter, or a buffer, of a layer."""
    old = getattr(linear, name)
    setattr(linear, name, nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new)


Scale = Callable[[Any, Float[Tensor, "outputs inputs"]], None]
"""Takes a factor for each weight into the scales of a layer."""


def scale_of(linear: Any) -> Scale | None:
    """How factors are taken into a layer of quantised weights, by the name of its class or of its weights' class; None
    for other layers."""
    from lens_truth.models import quantised_bnb, quantised_layers, quantised_tensors

    kinds: dict[str, Scale] = {**quantised_bnb.KINDS, **quantised_layers.KINDS, **quantised_tensors.KINDS}
    weight: Any = getattr(linear, "weight", None)
    names = [kind.__name__ for kind in (*type(linear).__mro__, *type(weight).__mro__)]
    return next((kinds[name] for name in names if name in kinds), None)
