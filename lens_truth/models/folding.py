"""Factors on the inputs or outputs of a linear map, taken into its weights."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lens_truth.errors import InputError
from lens_truth.models.cut import is_cut
from lens_truth.models.folding_adapters import scale_adapted
from lens_truth.models.placing import fetched, keep
from lens_truth.models.quantised import replace, scale_of, scaled
from lens_truth.models.structure import linear_shape


def scale_inputs(linear: nn.Module, factor: Float[Tensor, " inputs"]) -> None:
    """Exchanges the weights of a linear map for those times a factor for each input; of quantised weights the scales.
    The old tensors, which others may share, stay as they are. An InputError refuses weights that cannot be scaled."""
    if scale_adapted(linear, factor, scale_inputs, inputs=True):
        return
    if scale := scale_of(linear):
        scale(linear, factor.float().expand(_outputs(linear), -1))
        return
    check_plain(linear)
    _scale(linear, "weight", factor[:, None] if isinstance(linear, Conv1D) else factor)


def scale_outputs(linear: nn.Module, factor: Float[Tensor, " outputs"]) -> None:
    """The same with a factor for each output, and for the bias."""
    if scale_adapted(linear, factor, scale_outputs, inputs=False):
        return
    if scale := scale_of(linear):
        scale(linear, factor.float()[:, None].expand(-1, (linear_shape(linear) or (0, 0))[0]))
    else:
        check_plain(linear)
        _scale(linear, "weight", factor if isinstance(linear, Conv1D) else factor[:, None])
    if getattr(linear, "bias", None) is not None:
        _scale(linear, "bias", factor)


def verify_fold(old: nn.Module, new: nn.Module, factor: Float[Tensor, " n"], *, of_outputs: bool, dtype: Any) -> None:
    """Raises an InputError unless a quantised layer does with its new scales what factors do with the old ones: its
    package may keep something else of the weights. What differs by a tenth is not rounding, of inputs to 8 bits either.
    """
    if scale_of(new) is None:
        return
    device = next(tensor.device for tensor in (*new.parameters(), *new.buffers()))
    row = torch.randn(1, (linear_shape(new) or (0, 0))[0], generator=torch.Generator().manual_seed(0))
    row = row.to(device, dtype)
    wanted = scaled(old.forward(row), factor) if of_outputs else old.forward(scaled(row, factor))
    if not (new.forward(row) - wanted).abs().max() <= wanted.abs().max() / 10:
        raise InputError(
            f"a gate folded into weights of a {type(new).__name__} does not act as it does attached: attach it"
        )


def _outputs(linear: nn.Module) -> int:
    return (linear_shape(linear) or (0, 0))[1]


def check_plain(linear: Any, what: str = "gate") -> None:
    """Raises an InputError unless weights are plain numbers that are used as they are, so that something (`what`) can
    be folded into them."""
    kind, weight = type(linear).__name__, getattr(linear, "weight", None)
    if is_cut(weight):
        raise InputError(
            f"weights of a {kind} are cut over several processes, so no {what} can be folded into them: attach it, or "
            "fold it into the model in one process"
        )
    why = ""
    if not isinstance(weight, nn.Parameter) or type(weight.data) is not Tensor:
        why = "no plain numbers"
    elif weight.ndim != 2 or not weight.is_floating_point():
        why = "no matrix of floats"
    elif not _is_used_as_it_is(linear):
        why = "changed in its forward pass"
    if why:
        raise InputError(
            f"weights of a {kind} are {why}, so no {what} can be folded into them: attach it, or fold it into the "
            "model in full precision"
        )


def _is_used_as_it_is(linear: Any) -> bool:
    """Whether nothing is done to the weight before it is multiplied (as in training for quantisation). Of a class with
    a forward pass of its own (Falcon's), some inputs show it, each of which brings out a column of the weight."""
    own = "forward" in vars(linear) and not hasattr(linear, "_hf_hook")  # accelerate's hooks only move it
    if own:  # compressed-tensors', which a copy may share with the layer that it was copied from
        return False
    if type(linear).forward in (nn.Linear.forward, Conv1D.forward):
        return True
    weight, n_inputs = linear.weight, (linear_shape(linear) or (0, 0))[0]
    if weight.is_meta or weight.shape[1] != n_inputs:
        return False
    columns = [0, n_inputs // 2, n_inputs - 1]
    shown = torch.eye(n_inputs, dtype=weight.dtype, device=weight.device)[columns]
    expected = weight.T[columns]
    with torch.no_grad():
        return torch.equal(linear(shown), expected if linear.bias is None else expected + linear.bias)


def _scale(linear: nn.Module, name: str, factor: Tensor) -> None:
    old: Any = getattr(linear, name)
    if old.is_meta:
        keep(linear, name, scaled(fetched(linear, name), factor))
    else:
        replace(linear, name, scaled(old, factor))
