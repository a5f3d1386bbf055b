"""Hugging Face's `generate` as everything here uses it: greedy, whatever a checkpoint's own config says."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

from jaxtyping import Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor

from lens_truth.models.batches import pad_id


@contextmanager
def greedy(model: Any) -> Generator[None, None, None]:
    """While open, nothing of a checkpoint's generation config counts but where an answer ends: penalties fall on the
    words of the context, and a run without a cache, or with another kind of cache, cannot go on from a beginning."""
    hf = model.original_model
    own = hf.generation_config
    ends = {"bos_token_id": own.bos_token_id, "eos_token_id": own.eos_token_id, "pad_token_id": pad_id(model)}
    hf.generation_config = GenerationConfig(do_sample=False, use_cache=True, **ends)
    try:
        yield
    finally:
        hf.generation_config = own


def end_tokens(model: Any) -> set[int]:
    """The tokens that end an answer."""
    end: Any = model.original_model.generation_config.eos_token_id
    if end is None:
        return set()
    return set(cast("list[int]", end if isinstance(end, list) else [end]))


class Finite(LogitsProcessor):
    """Changes nothing; has the largest logit of every row checked, which is not finite if any is not."""

    def __init__(self, check: Callable[[Float[Tensor, " B"]], None]) -> None:
        self._check = check

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """The scores, once they are checked."""
        self._check(scores.amax(1))
        return scores
