"""Factors on the inputs or outputs of a linear map, taken into its weights."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lens_truth.errors import InputError
from lens_truth.models.placing import fetched, keep


def scaled(x: Float[Tensor, "*shape"], factor: Float[Tensor, "..."]) -> Float[Tensor, "*shape"]:
    """x times factor, rounded once to x's dtype: a factor near 1 would itself be rounded to 1 in half precision."""
    return (x * factor.to(x.device, torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


def scale_inputs(linear: nn.Module, factor: Float[Tensor, " inputs"]) -> None:
    """Exchanges the weights of a linear map for those times a factor for each input. The old tensors, which others may
    share, stay as they are. An InputError refuses weights that cannot be scaled."""
    _check_plain(linear)
    _scale(linear, "weight", factor[:, None] if isinstance(linear, Conv1D) else factor)


def scale_outputs(linear: nn.Module, factor: Float[Tensor, " outputs"]) -> None:
    """The same with a factor for each output, and for the bias."""
    _check_plain(linear)
    _scale(linear, "weight", factor if isinstance(linear, Conv1D) else factor[:, None])
    if getattr(linear, "bias", None) is not None:
        _scale(linear, "bias", factor)


def _check_plain(linear: Any) -> None:
    kind, weight = type(linear).__name__, getattr(linear, "weight", None)
    if not isinstance(weight, nn.Parameter) or type(weight.data) is not Tensor:
        raise InputError(f"weights of a {kind} are no plain numbers, so no gate can be folded into them: attach it")
    if weight.ndim != 2 or not weight.is_floating_point():
        raise InputError(f"weights of a {kind} are no matrix of floats, so no gate can be folded into them: attach it")


def _scale(linear: nn.Module, name: str, factor: Tensor) -> None:
    old: Any = getattr(linear, name)
    if old.is_meta:
        keep(linear, name, scaled(fetched(linear, name), factor))
    else:
        setattr(linear, name, nn.Parameter(scaled(old, factor), requires_grad=old.requires_grad))
