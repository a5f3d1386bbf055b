"""Greedy answers of one model under many gates at once; what prompts have in common is computed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.shared import Limits, Place, begun_batches
from lens_truth.gates.gate import UNGATED, Gates, attach_rows
from lens_truth.models.batches import pad_id, tokenizer_of
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import inner_model
from lens_truth.models.prompts import PromptTokens


def generate(
    model: Any,
    prompts: Sequence[PromptTokens],
    n_new: int,
    batch_size: int,
    gates: Gates = UNGATED,
    margins: bool = False,
    known: Collection[Place] = (),
) -> Iterator[tuple[str, int, Answer]]:
    """(gate, prompt number, answer) by Hugging Face's own greedy `generate`, as soon as each batch is done.

    All gates run together, each in rows of its own, and every prompt continues from a copy of the keys and values of
    its beginning (`begun_batches`). Answers are those of one gate and one prompt at a time: at most `n_new` tokens,
    with the log-odds of yes against no where `margins` are wanted. A forward pass has at most `batch_size` rows.
    Batches of which every (gate, prompt number) is `known` are passed over, and the others are as if nothing were.
    """
    hf, tokenizer = inner_model(model), tokenizer_of(model)
    yes_no = yes_no_tokens(tokenizer) if margins else None
    if yes_no and not all(yes_no):
        raise InputError("the tokenizer begins yes and no with the same token, so they have no margin")
    for batch in begun_batches(model, prompts, prompts, gates, Limits(batch_size, n_new, known)):
        first = _FirstMargin(*yes_no) if yes_no else None
        finite = _Finite(partial(check_finite, model=model, ids=batch.ids, mask=batch.mask, rows=batch.rows))
        watching = LogitsProcessorList([finite, *([first] if first else [])])
        with torch.no_grad(), attach_rows(model, [gates[name] for name in batch.gates]), _greedy(model):
            more = {**batch.more, "attention_mask": batch.mask, "max_new_tokens": n_new}
            output = hf.generate(batch.ids, logits_processor=watching, **more)
        texts = tokenizer.batch_decode(output[:, batch.ids.shape[1] :], skip_special_tokens=True)
        said = zip(batch.at, texts, first.margins if first else [None] * len(texts), strict=True)
        yield from ((name, row, Answer(text, margin)) for (name, row), text, margin in said)


@contextmanager
def _greedy(model: Any) -> Generator[None, None, None]:
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


class _Finite(LogitsProcessor):
    """Changes nothing; has the largest logit of every row checked, which is not finite if any is not."""

    def __init__(self, check: Callable[[Float[Tensor, " B"]], None]) -> None:
        self._check = check

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        self._check(scores.amax(1))
        return scores


class _FirstMargin(LogitsProcessor):
    """Changes nothing; notes the log-odds of yes against no at the first new token."""

    def __init__(self, yes: list[int], no: list[int]) -> None:
        self._yes, self._no = yes, no
        self.margins: list[float | None] = []

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        if not self.margins:
            logits = scores.float()
            margin = logits[:, self._yes].logsumexp(1) - logits[:, self._no].logsumexp(1)
            # Rounded to what other batch sizes leave the same.
            self.margins = [round(value, 3) for value in cast("list[float]", margin.tolist())]
        return scores


def yes_no_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that begin with yes and with no, as a sentence or a word would begin with them; none where both begin
    with the same."""

    def begun(word: str) -> set[int]:
        forms = product((" ", ""), (word, word.capitalize(), word.upper()))
        return {tokenizer.encode(space + form, add_special_tokens=False)[0] for space, form in forms}

    yes, no = begun("yes"), begun("no")
    return sorted(yes - no), sorted(no - yes)
