"""Numbers that are not finite end a run, with a sentence that says where in the model they begin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.models.batches import logits_only
from lens_truth.models.hooks import Hooked, grid_of, hook_names
from lens_truth.models.image_input import image_arguments
from lens_truth.models.layerwise import batch_first
from lens_truth.models.prompts import PromptTokens

_KINDS = ("attn.hook_z", "hook_resid_post")


def check_finite(
    values: Float[Tensor, "B ..."],
    model: Hooked,
    ids: Int[Tensor, "B T"],
    mask: Int[Tensor, "B T"],
    rows: Sequence[PromptTokens],
) -> None:
    """Raises an InputError unless what was computed for each row of a batch is finite: it names the first layer that
    gives something else, found by another pass (under the gates that are attached), and the row's example."""
    if (row := _first_bad(values)) is not None:
        layer, row = first_not_finite(model, ids, mask, [its.image for its in rows]) or (grid_of(model)[0], row)
        where = "behind the last layer" if layer == grid_of(model)[0] else f"from layer {layer} on"
        raise not_finite(model, rows[row].id, where)


def check_slopes(slopes: Float[Tensor, "B L H"], model: Hooked, rows: Sequence[PromptTokens]) -> None:
    """The same of slopes, which are found from the last layer to the first."""
    if (row := _first_bad(slopes)) is not None:
        layer = int((~torch.isfinite(slopes[row])).any(1).nonzero()[-1])
        raise not_finite(model, rows[row].id, f"on the way back, from layer {layer} on")


def not_finite(model: Any, id: str, where: str) -> InputError:
    """The error about a model whose numbers are not finite, and what helps."""
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    cure = "; it ends at 65,504, so use bfloat16 or float32 (--dtype)" if dtype == "float16" else ""
    return InputError(f"the model's numbers of example '{id}' are not finite {where}, in {dtype}{cure}")


def _first_bad(values: Float[Tensor, "B ..."]) -> int | None:
    bad = ~torch.isfinite(values.detach()).reshape(len(values), -1).all(1)
    return int(bad.nonzero()[0]) if bad.any() else None


def first_not_finite(
    model: Hooked, ids: Int[Tensor, "B T"], mask: Int[Tensor, "B T"], images: Sequence[str]
) -> tuple[int, int] | None:
    """The first layer whose heads or residual stream hold NaN or infinity at a token, and the first row of the batch
    where they do; None if all is finite. The number of layers stands for the logits, of which the last column is looked
    at if no row is padded there. images[b] is the image of row b (empty: none)."""
    found: list[tuple[int, int]] = []

    def look(layer: int, tokens: Int[Tensor, "B t"], values: Float[Tensor, "..."], hook: Any = None) -> None:
        values = batch_first(values, tokens.shape)
        bad = (~torch.isfinite(values).flatten(2).all(-1) & tokens.to(values.device).bool()).any(-1)
        if bad.any():
            found.append((layer, int(bad.nonzero()[0])))

    hooks = [(name, partial(look, at, mask)) for kind in _KINDS for at, name in enumerate(hook_names(model, kind))]
    with torch.no_grad(), model.hooks(fwd_hooks=hooks):
        logits = model(ids, attention_mask=mask, **logits_only(model, 1), **image_arguments(model, ids, images))
    if mask[:, -1].all():
        look(grid_of(model)[0], mask[:, -1:], logits[:, -1:])
    return min(found, default=None)
