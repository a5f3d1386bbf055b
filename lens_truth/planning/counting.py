"""A model's sizes by counting: its class is made on PyTorch's meta device, where tensors have shapes and no bytes, so
that every weight is counted and none is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import torch
import transformers
from torch import nn

from lens_truth.models.structure import (
    attentions,
    decoder_layers,
    heads_of,
    is_multimodal_config,
    linear_shape,
    modules_of,
)
from lens_truth.planning.llama import LLAVA_TOKENS
from lens_truth.planning.shape import DTYPES, DtypeName, ModelShape, Vision

_EXPERTS = re.compile(r"(^|\.)experts(\.|$)")
_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "num_selected_experts")
"""What configs call the number of experts that a token goes through."""


def made_empty(config: Any) -> nn.Module:
    """The model of a config, without weights."""
    auto: Any = transformers.AutoModelForCausalLM
    if is_multimodal_config(config):
        auto = transformers.AutoModelForImageTextToText
    with torch.device("meta"):
        return auto.from_config(_plain(config))


def _plain(config: Any) -> Any:
    """Without a word of quantisation, whose packages need not be here."""
    config = deepcopy(config)
    parts: list[Any] = [config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", {}))]
    for its in parts:
        if hasattr(its, "quantization_config"):
            del its.quantization_config
    return config


def counted(
    name: str, config: Any, own: DtypeName | None = None, bits: int | None = None, *, has_tokenizer: bool = False
) -> ModelShape:
    """The sizes of a config's model. `own` is the number format of its weights, if not the config's."""
    hf: Any = made_empty(config)
    text = config.get_text_config(decoder=True)
    heads, (path, layers) = heads_of(hf), decoder_layers(hf)
    per_token = sum(per_token_weights(block, text) for block in layers)
    output = hf.get_output_embeddings()
    width, vocabulary = linear_shape(output) or (text.hidden_size, text.vocab_size)
    stated: Any = getattr(text, "intermediate_size", None)
    dtype = own or str(getattr(config, "dtype", None) or getattr(text, "dtype", None) or "float32").removeprefix(
        "torch."
    )
    linear = sum(weights_in(block) for block in layers)
    positions = getattr(text, "max_position_embeddings", None)
    return ModelShape(
        name=name,
        n_layers=len(attentions(hf)),
        d_model=text.hidden_size,
        n_heads=heads.n_heads,
        n_kv_heads=heads.n_kv_heads,
        d_head=heads.d_head,
        d_ff=stated if isinstance(stated, int) else 4 * text.hidden_size,
        n_vocab=vocabulary,
        n_parameters=sum(weight.numel() for weight in hf.parameters()),
        n_per_token=per_token,
        n_logits=width * vocabulary,
        dtype=dtype if dtype in DTYPES else "bfloat16",  # pyright: ignore[reportArgumentType] (a key of DTYPES)
        bits=bits,
        n_quantised=linear if bits is not None else 0,
        n_positions=positions if isinstance(positions, int) else None,
        vision=_vision(hf, config, path) if is_multimodal_config(config) else None,
        has_tokenizer=has_tokenizer,
    )


def per_token_weights(block: nn.Module, text_config: Any) -> int:
    """Weights of a layer that multiply one token: all matrices, and of experts those that a token goes through."""
    every, of_experts = 0, dict[int, int]()
    for path, weight in block.named_parameters():
        if weight.ndim < 2 or path.endswith("bias"):  # of experts, biases have two dimensions
            continue
        if not _EXPERTS.search(path):
            every += weight.numel()
            continue
        n = weight.shape[0] if weight.ndim > 2 else _n_listed(block, path)
        of_experts[n] = of_experts.get(n, 0) + weight.numel()
    return every + sum(total * min(n, _chosen(text_config, n)) // n for n, total in of_experts.items())


def weights_in(block: nn.Module) -> int:
    """Numbers in the matrices of a layer, of all experts."""
    return sum(weight.numel() for weight in block.parameters() if weight.ndim > 1)


def _n_listed(block: nn.Module, path: str) -> int:
    """How many experts the list has that a weight's expert is in."""
    owner = path[: _EXPERTS.search(path).end()].rstrip(".")  # pyright: ignore[reportOptionalMemberAccess] (it was found)
    return max(1, len([name for name, _ in block.get_submodule(owner).named_children()]))


def _chosen(text_config: Any, n: int) -> int:
    """How many of `n` experts a token goes through; all if the config does not tell."""
    return _stated(text_config, _CHOSEN) or n


def _vision(hf: Any, config: Any, decoder: str) -> Vision:
    """The tower of a multimodal model: its matrices that are neither the decoder's nor embeddings."""
    inside = {id(its) for its in hf.get_submodule(decoder).parameters()}
    inside |= {id(its) for its in hf.get_output_embeddings().parameters()}
    linear = [module for _, module in modules_of(hf) if linear_shape(module)]
    weights = {id(module.weight): module.weight.numel() for module in linear}
    n = sum(size for key, size in weights.items() if key not in inside)
    its = config.vision_config
    width, depth = (_stated(its, names) for names in (("hidden_size", "embed_dim"), ("num_hidden_layers", "depth")))
    side, patch = (_stated(its, (name,)) for name in ("image_size", "patch_size"))
    patches = (side // patch) ** 2 + 1 if side and patch else 4 * LLAVA_TOKENS
    return Vision(n, patches, depth, width, _stated(config, ("image_seq_length",)) or LLAVA_TOKENS)


def _stated(config: Any, names: Iterable[str]) -> int:
    """The first of some entries that is a whole number; 0 if none is."""
    return next((its for name in names if isinstance(its := getattr(config, name, None), int)), 0)
