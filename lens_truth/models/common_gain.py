"""Layers whose heads can be made stronger only relative to one another: a norm stands behind their projection."""

from __future__ import annotations

from itertools import chain
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.models.batches import pad_rows, random_words, run_body
from lens_truth.models.hooks import Hooked, gate_heads, grid_of
from lens_truth.models.layerwise import as_first_row, layer_by_layer

_BLIND = 0.05
"""What doubling all heads of a layer may change, as a part of what silencing them changes, where a norm undoes it:
rounding and the norm's epsilon make that much. Without a norm both change about the same."""


_LOUD = (100.0, 1.0)
"""Gains at which heads are doubled, the first unless half precision overflows there: what the heads of a model that was
hardly trained write is so small that a norm's epsilon hides the norm."""


def common_gain_acts(model: Hooked) -> tuple[bool, ...]:
    """For each layer, whether one gain for all of its heads changes what it writes to the residual stream.

    Gemma 2 and 3, GLM-4, OLMo 2 and 3, EXAONE 4 and others have a norm behind the output projection, which takes such a
    gain out again: there a gate acts only by the ratios of its values inside the layer. This is measured, in one pass
    over a short row of random words under three gains.
    """
    ids, mask = pad_rows([random_words(model, 12)] * 3, model)
    changes: list[tuple[float, float]] = []
    for loud in _LOUD:
        gains = torch.tensor([loud, 2 * loud, 0.0])[:, None, None].expand(3, *grid_of(model))
        with torch.no_grad(), layer_by_layer(model, "hook_resid_post", as_first_row) as seen, gate_heads(model, gains):
            run_body(model, ids, mask, [""] * 3)
        rows = (stream.float() for stream in seen.passed)
        changes = [(_change(plain, doubled), _change(plain, silent)) for plain, doubled, silent in rows]
        if all(map(isfinite, chain.from_iterable(changes))):
            break
    return tuple(doubled > _BLIND * silent for doubled, silent in changes)


def relative_layers(model: Hooked) -> list[int]:
    """Layers in which a common gain does nothing, so that scores of how heads act are relative to one another."""
    return [layer for layer, acts in enumerate(common_gain_acts(model)) if not acts]


def _change(before: Float[Tensor, "... M"], after: Float[Tensor, "... M"]) -> float:
    """At the middle token, since rounding can send single ones to another expert."""
    return float((after - before).square().sum(-1).median()) ** 0.5
