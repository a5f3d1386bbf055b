"""Attention patterns, read while the model runs: a pattern is dropped as soon as what is wanted of it is taken."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from lens_truth.errors import InputError
from lens_truth.models.batches import pad_rows, run_body
from lens_truth.models.hooks import Hooked, hook_names
from lens_truth.models.prompts import PromptTokens

Head = tuple[int, int]
"""Layer and head."""

_ENTRIES = 1 << 27
"""Numbers in one layer's pattern, at most, unless one row alone has more: half a gigabyte in float32."""


def rows_at_once(model: Hooked, width: int) -> int:
    """How many rows of so many tokens may share a forward pass whose patterns are computed."""
    return max(1, _ENTRIES // (model.cfg.n_heads * width**2))


@contextmanager
def reading_patterns(
    model: Hooked, read: Callable[[int, Float[Tensor, "batch H query key"]], None], layers: Sequence[int] | None = None
) -> Generator[None, None, None]:
    """While open, every forward pass hands the patterns of some layers (default: all), each as soon as it is there, to
    `read(layer, pattern)`, and keeps none.

    Only eager attention computes patterns, so the language model is switched to it for the time being; its logits then
    differ by rounding.
    """

    def hand_over(layer: int, pattern: Float[Tensor, "batch H query key"], hook: Any) -> None:
        read(layer, pattern)

    names = hook_names(model, "attn.hook_pattern")
    wanted = range(model.cfg.n_layers) if layers is None else layers
    with _eager_attention(model), model.hooks(fwd_hooks=[(names[at], partial(hand_over, at)) for at in wanted]):
        yield


@contextmanager
def _eager_attention(model: Hooked) -> Generator[None, None, None]:
    if not isinstance(model, TransformerBridge):  # a HookedTransformer has no other
        yield
        return
    hf: Any = model.original_model
    text = hf.config.get_text_config()
    part = next((name for name in hf.config.sub_configs if getattr(hf.config, name, None) is text), None)
    before: str = text._attn_implementation
    hf.set_attn_implementation({part: "eager"} if part else "eager")
    try:
        yield
    finally:
        hf.set_attn_implementation({part: before} if part else before)


def patterns(model: Hooked, row: PromptTokens, heads: Sequence[Head]) -> Float[Tensor, "n T T"]:
    """The whole patterns of some heads on one row of tokens: [head, query, key], each query's weights sum to 1.

    Raises:
        InputError: if no heads are named, or one is not there.
    """
    L, H = model.cfg.n_layers, model.cfg.n_heads
    if not heads:
        raise InputError("no heads were named")
    for layer, head in heads:
        if not (0 <= layer < L and 0 <= head < H):
            raise InputError(f"there is no head {head} in a layer {layer}: the model has {L} layers of {H} heads")
    found: dict[Head, Float[Tensor, "T T"]] = {}

    def read(layer: int, pattern: Float[Tensor, "batch H query key"]) -> None:
        found.update({at: _copied(pattern[0, at[1]]) for at in heads if at[0] == layer})

    ids, mask = pad_rows([row.ids], model)
    with torch.no_grad(), reading_patterns(model, read, sorted({layer for layer, _ in heads})):
        run_body(model, ids, mask, [row.image])
    return torch.stack([found[at] for at in heads])


def query_row(model: Hooked, row: PromptTokens, query: int) -> Float[Tensor, "L H T"]:
    """The attention of every head at one token, to all tokens of the row."""
    layers: list[Float[Tensor, "H T"]] = []
    ids, mask = pad_rows([row.ids], model)
    with torch.no_grad(), reading_patterns(model, lambda layer, pattern: layers.append(_copied(pattern[0, :, query]))):
        run_body(model, ids, mask, [row.image])
    return torch.stack(layers)


def _copied(part: Tensor) -> Tensor:
    """In memory of its own: a view would keep the whole pattern alive."""
    return part.to("cpu", torch.float32, copy=True)
