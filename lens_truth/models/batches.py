"""Batches of token rows, padded, with a mask, and what a forward pass is given beside them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from jaxtyping import Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import image_arguments
from lens_truth.models.placing import device_of


def pad_rows(
    rows: Sequence[Sequence[int]], model: Hooked, side: Literal["left", "right"] = "right"
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Token ids and attention mask on the model's device. What stands under the mask's zeros has no effect.

    An InputError names a token that the model has no embedding for.
    """
    width, n_words = max(map(len, rows)), vocabulary_of(model)
    ids = torch.full((len(rows), width), pad_id(model))
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(width - len(row), None) if side == "left" else slice(len(row))
        ids[i, place] = torch.tensor(row, dtype=torch.long)  # which may be empty
        mask[i, place] = 1
    if width and (last := int(ids.max())) >= n_words:
        token = getattr(model.tokenizer, "convert_ids_to_tokens", str)(last)
        raise InputError(
            f"the tokenizer's token {last} ('{token}') lies beyond the model's embedding of {n_words} tokens: take the "
            "tokenizer that belongs to the model, or resize the embedding (`resize_token_embeddings`) and train it"
        )
    return ids.to(device_of(model)), mask.to(device_of(model))


def pad_id(model: Hooked) -> int:
    """The tokenizer's padding token, or any other token if it has none, or one that was added and has no embedding."""
    for token in ("pad_token_id", "eos_token_id"):
        if (value := getattr(model.tokenizer, token, None)) is not None and value < vocabulary_of(model):
            return value
    return 0


def vocabulary_of(model: Any) -> int:
    """How many tokens a model has an embedding for."""
    hf = getattr(model, "original_model", None)
    return model.cfg.d_vocab if hf is None else hf.config.get_text_config().vocab_size


def random_words(model: Any, length: int, seed: int = 0) -> list[int]:
    """A row of random tokens, none of which stands for images, films or sounds."""
    hf = getattr(model, "original_model", None)
    words = (
        torch.randint(vocabulary_of(model), (length,), generator=torch.Generator().manual_seed(seed)).numpy().tolist()
    )
    others = no_words(hf.config) if hf is not None else []
    return [1 if word in others else word for word in words]


def no_words(config: Any) -> list[int]:
    """Tokens that stand for images, films and sounds."""
    return [
        value
        for name, value in config.to_dict().items()
        if name.startswith(("image", "video", "audio")) and name.endswith(("_token_id", "_token_index"))
    ]


def tokenizer_of(model: Hooked) -> Any:
    """The model's tokenizer; an InputError says if it was loaded without one."""
    if model.tokenizer is None:
        raise InputError("the model has no tokenizer; pass one to `load(model, tokenizer=...)`")
    return model.tokenizer


def check_lengths(lengths: Sequence[int], ids: Sequence[str], model: Hooked) -> None:
    """Raises an InputError that counts the rows which the context limit would cut off."""
    limit = model.cfg.n_ctx
    long = [i for i, length in enumerate(lengths) if length > limit]
    if long:
        raise InputError(
            f"{len(long)} of {len(lengths)} examples are longer than the model's context of {limit} tokens, which "
            f"would cut off their answers (first: example '{ids[long[0]]}' with {lengths[long[0]]} tokens)"
        )


def run_body(
    model: Hooked,
    ids: Int[Tensor, "B T"],
    mask: Int[Tensor, "B T_whole"],
    images: Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
) -> None:
    """A forward pass for its hooks alone: without logits where the model lets us, and without cache, or with what it is
    `given` in place of that and the images (as of rows that have begun already)."""
    more = {**without_cache(model), **image_arguments(model, ids, images)} if given is None else given
    model(ids, attention_mask=mask, return_type=None, **logits_only(model, 1), **more)


def without_cache(model: Hooked) -> dict[str, Any]:
    """The argument that says to keep no keys and values, for a model that would."""
    return {"use_cache": False} if hasattr(model, "original_model") else {}


def logits_only(model: Hooked, wanted: int) -> dict[str, Any]:
    """The argument that asks for the logits of so many last tokens alone; nothing for a model that always computes all
    of them (Qwen2.5-Omni)."""
    return {"logits_to_keep": wanted} if takes(model, "logits_to_keep") else {}


def takes(model: Any, argument: str) -> bool:
    """Whether the forward pass of the Hugging Face model inside has an argument of this name."""
    hf: Any = getattr(model, "original_model", None)
    return hf is not None and argument in inspect.signature(cast("Any", type(hf)).forward).parameters
