"""TransformerLens's own bridge, which computes attention itself and has every hook."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformers import PreTrainedTokenizerBase

from lens_truth.errors import InputError, first_line


def hook_stock(hf: nn.Module, tokenizer: PreTrainedTokenizerBase | None, name: str) -> TransformerBridge:
    """Wraps `hf` in place with TransformerLens's own adapter: slower, equal to rounding only, but (where it has it)
    with `hook_result`, every head's contribution to the residual stream."""
    config: Any = hf.config
    try:
        with _unembedding_kept(hf):
            bridge = build_bridge_from_module(
                hf, type(hf).__name__, hf_config=config, tokenizer=tokenizer, model_name=name
            )
        bridge.set_use_attn_result(True)
    except (ValueError, NotImplementedError, ImportError) as error:  # some of its adapters want torchvision
        raise InputError(
            f"{type(hf).__name__} has no hook_result in TransformerLens ({first_line(error)}); gate z instead"
        ) from error
    return bridge


@contextmanager
def _unembedding_kept(hf: Any) -> Generator[None, None, None]:
    """TransformerLens before 4.0 gives an unembedding without bias one of zeros: another set of weights."""
    head = hf.get_output_embeddings()
    bias = getattr(head, "bias", None)
    try:
        yield
    finally:
        if head is not None:
            head.bias = bias
