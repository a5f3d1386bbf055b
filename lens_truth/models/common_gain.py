"""Layers whose heads can be made stronger only relative to one another: a norm stands behind their projection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.models.batches import pad_rows, random_words
from lens_truth.models.hooks import Hooked, gate_heads, hook_names

_BLIND = 0.05
"""What doubling all heads of a layer may change, as a part of what silencing them changes, where a norm undoes it:
rounding and the norm's epsilon make that much. Without a norm both change about the same."""


def common_gain_acts(model: Hooked) -> tuple[bool, ...]:
    """For each layer, whether one gain for all of its heads changes what it writes to the residual stream.

    Gemma 2 and 3, GLM-4, OLMo 2 and 3, EXAONE 4 and others have a norm behind the output projection, which takes such a
    gain out again: there a gate acts only by the ratios of its values inside the layer. This is measured, in three
    passes over a short row of random words.
    """
    inputs, plain = _residuals(model, 1.0)
    # Each layer is given what it was given in the first pass, so that none sees what the gain did in those before it.
    _, doubled = _residuals(model, 2.0, inputs)
    _, silent = _residuals(model, 0.0, inputs)
    layers = zip(plain, doubled, silent, strict=True)
    return tuple(_change(whole, twice) > _BLIND * _change(whole, none) for whole, twice, none in layers)


def _change(before: Float[Tensor, "... M"], after: Float[Tensor, "... M"]) -> float:
    """At the middle token, since rounding can send single ones to another expert."""
    return float((after - before).square().sum(-1).median()) ** 0.5


def _residuals(model: Hooked, gain: float, inputs: Sequence[Tensor] = ()) -> tuple[list[Tensor], list[Tensor]]:
    """The residual stream before and behind every layer under one gain for all heads; where inputs are given, each
    layer is given those."""
    before, behind = list[Tensor](), list[Tensor]()

    def enter(stream: Tensor, hook: Any) -> Tensor:
        before.append(inputs[len(before)] if inputs else stream.clone())
        return before[-1].clone()

    def leave(stream: Tensor, hook: Any) -> None:
        behind.append(stream.float())

    ids, mask = pad_rows([random_words(model, 12)], model)
    hooks = [(name, enter) for name in hook_names(model, "hook_resid_pre")]
    hooks += [(name, leave) for name in hook_names(model, "hook_resid_post")]
    gate = torch.full((model.cfg.n_layers, model.cfg.n_heads), gain)
    with torch.no_grad(), model.hooks(fwd_hooks=hooks), gate_heads(model, gate):
        model(ids, attention_mask=mask)
    return before, behind
