"""Whether hook_z is cut into heads rightly: what one head's query makes reaches that head, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lens_truth.models.batches import pad_rows, random_words, run_body
from lens_truth.models.hooked import HookedModel
from lens_truth.models.layerwise import as_first_row, layer_by_layer
from lens_truth.models.structure import Attention, linear_shape, modules_of

_TOKENS = 8
_ASIDE = 0.05
"""What half precision may turn a vector, as a part of its length; another value turns it far more."""
Turn = tuple[str, int, int]
"""Path of a linear map in every attention, and the outputs from where to where that are turned."""


def shared_by_heads(model: HookedModel) -> float:
    """How much of what a head's query makes reaches other heads, as a part of what reaches the head itself, for the
    first and the last head of every layer: 0 where hook_z is cut right, and where one attention map is taken from
    another (differential attention) about 1.

    Slices of what the attention's linear maps give out are turned, which a norm over all of them does not see, one
    slice in each row of a batch. Where a slice is of a value, the first token shows it; of the others, whichever comes
    closest to moving one head alone is that head's query.
    """
    worst = 0.0
    for members in _alike(model):
        turns = list(_turns(model, members[0]))
        ids, mask = pad_rows([random_words(model, _TOKENS)] * (1 + len(turns)), model)
        with torch.no_grad(), ExitStack() as hooks:
            for attention in members:
                module = model.original_model.get_submodule(attention.path)
                for row, (path, start, stop) in enumerate(turns, start=1):
                    turn = partial(_turn, row, start, stop)
                    hooks.enter_context(module.get_submodule(path).register_forward_hook(turn))
            seen = hooks.enter_context(layer_by_layer(model, "attn.hook_z", as_first_row))
            run_body(model, ids, mask, [""] * len(ids))
        layers = [model.attention_layers.index(attention.layer) for attention in members]
        for head in (0, members[0].n_heads - 1):
            worst = max(worst, *(_share(seen.passed[layer], head) for layer in layers))
    return worst


def _alike(model: HookedModel) -> list[list[Attention]]:
    """Attentions of one make together: layers may differ in theirs (windows and none, wide and narrow heads)."""
    found: dict[Any, list[Attention]] = {}
    for attention in model.attentions:
        found.setdefault((attention.d_head, *_maps(model, attention)), []).append(attention)
    return list(found.values())


def _maps(model: HookedModel, attention: Attention) -> Iterator[tuple[str, int]]:
    """The linear maps of an attention but its last, and how much each gives out."""
    module = model.original_model.get_submodule(attention.path)
    last = attention.projection.removeprefix(f"{attention.path}.")
    inside = f"{last}."
    for name, part in modules_of(module):
        if name and not name.startswith((last, inside)) and (shape := linear_shape(part)):
            inside = f"{name}."  # an adapter calls its own maps with something else
            yield name, shape[1]


def _turns(model: HookedModel, attention: Attention) -> Iterator[Turn]:
    """Slices that may be the query of the first or the last head, however a map's outputs are laid out: queries alone
    or before keys and values, or queries, keys and values head by head or group by group."""
    n_heads, d_head = attention.n_heads, attention.d_head
    for name, width in _maps(model, attention):
        for size in {d_head, width // n_heads}:
            if size and width % size == 0:
                count = width // size
                for at in {0, n_heads - 1, count - 3, count - 2, count - 1}:
                    if 0 <= at < count:
                        yield name, at * size, (at + 1) * size


def _turn(row: int, start: int, stop: int, module: nn.Module, args: Any, output: Tensor) -> Tensor:
    turned = output.clone()
    of_row = turned.view(-1, _TOKENS, output.shape[-1])[row]  # some maps work on tokens without a batch
    of_row[..., start:stop] = of_row[..., start:stop].roll(1, -1)
    return turned


def _share(z: Float[Tensor, "rows T H D"], head: int) -> float:
    """Of the turns that are of a query or a key, the least that reaches other heads beside what reaches this one."""
    changed = (z[1:] - z[0]).double().square().sum((1, 3))
    rounding = torch.finfo(z.dtype).eps ** 2 * float(z[0].double().square().sum())
    own = changed[:, head]
    others = (changed.sum(1) - own).clamp(min=0)
    counted = (own > 4 * rounding) & _leaves_first_token(z)
    return float((others / own.clamp(min=1e-30)).where(counted, torch.inf).min().sqrt())


def _leaves_first_token(z: Float[Tensor, "rows T H D"]) -> Bool[Tensor, " turns"]:
    """Where the first token, which sees itself alone, gets the same from every head, or (beside a sink) more or less
    of the same: so it is under another query or key, and not under another value."""
    first = z[:, 0].double()
    along = (first[1:] * first[0]).sum(-1, keepdim=True) / first[0].square().sum(-1, keepdim=True).clamp(min=1e-30)
    aside = (first[1:] - along * first[0]).square().sum((1, 2))
    return aside < _ASIDE**2 * first[1:].square().sum((1, 2))
