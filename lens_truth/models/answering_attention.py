"""What some heads attend to at the last tokens of a pass, whatever computes their attention (SDPA, eager, flash): the
weights of these heads and queries alone, from the queries and keys that the attention function is given."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lens_truth.errors import InputError
from lens_truth.models.batches import pad_rows, random_words, run_body
from lens_truth.models.cut import check_in_one
from lens_truth.models.hooks import check_heads, grid_of, inner_model
from lens_truth.models.structure import attentions

_NAME = "lens_truth_answering"
Head = tuple[int, int]
"""Layer (of those with heads) and head."""
Act = Callable[[int, Float[Tensor, "B h n K"], Float[Tensor, "B h K D"]], Float[Tensor, "B h n D"] | None]
"""Given layer, weights and values of its heads, may say what is to be taken from their outputs."""


@dataclass
class _Acting:
    """What is done at one layer."""

    layer: int
    heads: list[int]
    kind: str
    """The attention function that the model has."""
    queries: Callable[[int, int], int]
    act: Act


@contextmanager
def answering_attention(
    model: Any, heads: Sequence[Head], queries: Callable[[int, int], int], act: Act
) -> Generator[None, None, None]:
    """While open, each pass hands what the named heads attend to, at so many of its last tokens, to `act`.

    Only the layers of these heads are asked, and only they get another attention function, which calls the model's own
    first: so outputs are its own, to the last bit, but for what `act` takes from them.

    Args:
        queries: from numbers of queries and of keys in a pass to how many of the last queries are looked at.
    """
    hf = inner_model(model)
    found = getattr(model, "attentions", None) or attentions(hf)
    AttentionInterface.register(_NAME, _attention)
    with ExitStack() as stack:
        for layer, its in by_layer(heads).items():
            module = hf.get_submodule(found[layer].path)
            if not hasattr(module, "config"):
                raise InputError(_unreachable(module))
            own = module.config
            stack.callback(setattr, module, "config", own)
            changed = copy.copy(own)
            kind = own._attn_implementation or "eager"
            changed.__dict__["_attn_implementation_internal"] = _NAME
            changed.__dict__["lens_truth_acting"] = _Acting(layer, its, kind, queries, act)
            module.config = changed
        yield


def by_layer(heads: Sequence[Head]) -> Mapping[int, list[int]]:
    """The heads of each layer that has any."""
    found: dict[int, list[int]] = {}
    for layer, head in sorted(set(heads)):
        found.setdefault(layer, []).append(head)
    return found


def check_attention(model: Any, heads: Sequence[Head]) -> None:
    """Raises an InputError unless these heads are there and what they attend to can be seen, which is tried."""
    if not heads:
        raise InputError("no heads were named whose attention is to be looked at")
    check_heads(grid_of(model), heads)
    check_in_one(inner_model(model), "what single heads attend to is seen in one alone")
    seen: set[int] = set()

    def see(layer: int, weights: Tensor, values: Tensor) -> None:
        seen.add(layer)

    ids, mask = pad_rows([random_words(model, 3)], model)
    with torch.no_grad(), answering_attention(model, heads, lambda q, k: 1, see):
        run_body(model, ids, mask)
    if missing := sorted(by_layer(heads).keys() - seen):
        found = getattr(model, "attentions", None) or attentions(inner_model(model))
        raise InputError(_unreachable(inner_model(model).get_submodule(found[missing[0]].path)))


def _unreachable(module: Any) -> str:
    return (
        f"what heads attend to cannot be seen in a {type(module).__name__}: it calls none of Transformers' attention "
        "functions"
    )


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *args: Any, **how: Any
) -> tuple[Tensor, Tensor | None]:
    acting: _Acting = module.config.lens_truth_acting
    if acting.kind == "eager":
        function: Any = sys.modules[type(module).__module__].eager_attention_forward
    else:
        function = cast("Any", ALL_ATTENTION_FUNCTIONS)[acting.kind]
    given: tuple[Tensor, Tensor | None] = function(module, query, key, value, attention_mask, *args, **how)
    output, pattern = given
    n = acting.queries(query.shape[2], key.shape[2])
    if n > 0:
        groups = query.shape[1] // key.shape[1]
        of = [head // groups for head in acting.heads]
        q, k, v = query[:, acting.heads, -n:], key[:, of], value[:, of]
        weights = _weights(q, k, attention_mask, acting.heads, **how)
        if (taken := acting.act(acting.layer, weights, v)) is not None:
            rest = output[:, -n:, acting.heads]
            output = output.clone()
            output[:, -n:, acting.heads] = (rest - taken.transpose(1, 2)).to(output.dtype)
    return output, pattern


def _weights(
    q: Float[Tensor, "B h n D"],
    k: Float[Tensor, "B h K D"],
    mask: Shaped[Tensor, "..."] | None,
    heads: list[int],
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    s_aux: Float[Tensor, " H"] | None = None,
    **others: Any,
) -> Float[Tensor, "B h n K"]:
    exact, n, K = torch.promote_types(q.dtype, torch.float32), q.shape[2], k.shape[2]
    scores = q.to(exact) @ k.to(exact).mT * (q.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is None or mask.ndim == 2:  # the function knows by itself what a token does not see
        key = torch.arange(K, device=q.device)
        query = key[K - n :, None]
        hidden = key > query
        if sliding_window is not None:
            hidden = hidden | (key <= query - sliding_window)
        if mask is not None:
            hidden = hidden | ~mask[:, None, None, :K].bool()
        scores = scores.masked_fill(hidden, -torch.inf)
    else:
        of_these = mask[:, :, -n:, :K] if mask.shape[1] == 1 else mask[:, heads, -n:, :K]
        if of_these.dtype == torch.bool:
            # a query under padding sees nothing: its weights are never looked at, and must not be NaN
            scores = scores.masked_fill(~of_these, torch.finfo(exact).min)
        else:
            scores = scores + of_these.to(exact)
    if s_aux is None:
        return scores.softmax(-1)
    sinks = s_aux[heads].to(scores)[:, None, None].expand(len(scores), -1, n, 1)  # which take a part of the weights
    return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
