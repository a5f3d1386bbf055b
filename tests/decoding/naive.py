"""Decoding as the papers write it down: one row at a time, every token through the model again, in double precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lens_truth.models.image_input import image_arguments
from lens_truth.models.prompts import PromptTokens

Mix = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def logits_of(model: Any, ids: Sequence[int], image: str = "", under: AbstractContextManager[Any] | None = None) -> Any:
    """[token, vocabulary], of one row without a cache."""
    tokens = torch.tensor([list(ids)])
    with torch.no_grad(), under or nullcontext():
        shown = image_arguments(model, tokens, [image])
        found = model.original_model(tokens, attention_mask=torch.ones_like(tokens), use_cache=False, **shown).logits
    return found[0].double().numpy()


def contrast(a: float, plausible: float = 0.0, by_entropy: bool = False) -> Mix:
    def mixed(own: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        log_p, log_q = log_softmax(own), log_softmax(other)
        weight = a * -(np.exp(log_p) * log_p).sum() if by_entropy else a
        found = (1 + weight) * log_p - weight * log_q
        found[np.exp(log_p) < plausible * np.exp(log_p).max()] = -np.inf
        return found

    return mixed


def written(
    model: Any,
    prompt: PromptTokens,
    other: PromptTokens | None,
    n_new: int,
    mixed: Mix,
    under: Callable[[], AbstractContextManager[Any]] = nullcontext,
    second: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> list[int]:
    """Tokens behind a prompt, until one that ends an answer."""
    ends = model.original_model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    made: list[int] = []
    while len(made) < n_new and not (made and made[-1] in ends):
        own = logits_of(model, [*prompt.ids, *made], prompt.image, under())[-1]
        if other is not None:
            with under():
                own = mixed(own, logits_of(model, [*other.ids, *made], other.image, second())[-1])
        made.append(int(own.argmax()))
    return made
