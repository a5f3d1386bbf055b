"""Where a model's numbers stop being numbers: half precision overflows in some models, and NaN spreads from there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from lens_truth.models.batches import logits_only
from lens_truth.models.hooks import Hooked, hook_names
from lens_truth.models.image_input import image_arguments


def first_not_finite(
    model: Hooked, ids: Int[Tensor, "B T"], mask: Int[Tensor, "B T"], images: Sequence[str]
) -> tuple[int, int] | None:
    """The first layer that gives out NaN or infinity at a token, and the first row of the batch where it does; None if
    all is finite. The number of layers stands for the logits, of which the last column is looked at if no row is
    padded there. images[b] is the image of row b (empty: none)."""
    found: list[tuple[int, int]] = []

    def look(layer: int, value: Tensor, hook: Any = None) -> None:
        bad = ~torch.isfinite(value).all(-1)
        rows = (bad & mask.bool() if bad.shape[-2:] == mask.shape else bad).any(-1).reshape(-1, len(mask)).any(0)
        if rows.any() and not found:
            found.append((layer, int(rows.nonzero()[0])))

    hooks = [(name, partial(look, layer)) for layer, name in enumerate(hook_names(model, "hook_resid_post"))]
    with torch.no_grad(), model.hooks(fwd_hooks=hooks):
        logits = model(ids, attention_mask=mask, **logits_only(model, 1), **image_arguments(model, ids, images))
    if mask[:, -1].all():
        look(model.cfg.n_layers, logits[:, -1:])
    return found[0] if found else None
