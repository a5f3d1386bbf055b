"""Greedy answers of one model under many gates at once; what prompts have in common is computed once."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList

from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.prefixes import Family, prompt_families, rows_of
from lens_truth.gates.gate import UNGATED, Gates, attach_rows
from lens_truth.models.batches import check_batch_size, length_batches, logits_only, pad_id, pad_rows, tokenizer_of
from lens_truth.models.hooks import inner_model, sliding_windows
from lens_truth.models.image_input import image_arguments
from lens_truth.models.prompts import PromptTokens


def generate(
    model: Any,
    prompts: Sequence[PromptTokens],
    n_new: int,
    batch_size: int,
    gates: Gates = UNGATED,
    margins: bool = False,
    known: Collection[tuple[str, int]] = (),
) -> Iterator[tuple[str, int, Answer]]:
    """(gate, prompt number, answer) by Hugging Face's own greedy `generate`, as soon as each batch is done.

    All gates run together, each in rows of its own. The tokens that prompts share (a few-shot instruction, a scene or
    an image with several questions) go through the model once a gate, and every prompt continues from a copy of their
    keys and values. Answers are those of one gate and one prompt at a time: at most `n_new` tokens, with the log-odds
    of yes against no where `margins` are wanted. A forward pass has at most `batch_size` rows (gates x prompts).

    Batches of which every (gate, prompt number) is `known` are passed over. The others are as they would be if nothing
    were known, so that a run which goes on gives the same numbers to the last bit.
    """
    check_batch_size(batch_size)
    runner = _Runner(model, n_new, gates, _yes_no_tokens(tokenizer_of(model)) if margins else None, known)
    longest = max((len(prompt.ids) for prompt in prompts), default=0) + n_new
    if any(window is not None and longest > window for window in sliding_windows(model)):
        # A sliding window counts the padding between a shared beginning and what follows it as tokens.
        families = [Family((row,), 0) for row in range(len(prompts))]
    else:
        families = prompt_families(prompts)
    names = list(gates)
    for start in range(0, len(names), batch_size):
        chunk = names[start : start + batch_size]
        at_once = max(1, batch_size // len(chunk))
        for begun, shown in product((True, False), (True, False)):
            some = [f for f in families if (f.length > 0) == begun and bool(prompts[f.rows[0]].image) == shown]
            for batch in length_batches([len(prompts[family.rows[0]].ids) for family in some], at_once):
                if runner.wanted(chunk, [row for i in batch for row in some[i].rows]):
                    yield from runner.answers(prompts, [some[i] for i in batch], chunk, at_once)


class _Runner:
    """What all batches of one call share."""

    def __init__(
        self,
        model: Any,
        n_new: int,
        gates: Gates,
        yes_no: tuple[list[int], list[int]] | None,
        known: Collection[tuple[str, int]],
    ) -> None:
        self._known = known
        self._model, self._hf, self._tokenizer = model, inner_model(model), tokenizer_of(model)
        self._n_new, self._gates, self._yes_no = n_new, gates, yes_no

    def wanted(self, names: Sequence[str], rows: Sequence[int]) -> bool:
        """Whether an answer to one of these prompts under one of these gates is not known yet."""
        return any(at not in self._known for at in product(names, rows))

    def answers(
        self, prompts: Sequence[PromptTokens], families: Sequence[Family], names: Sequence[str], at_once: int
    ) -> Iterator[tuple[str, int, Answer]]:
        """Answers to some families under some gates; all have a beginning or none has, and so it is with images."""
        with torch.no_grad():
            firsts = [prompts[family.rows[0]] for family in families for _ in names]
            lengths = [family.length for family in families for _ in names]
            begun = [first.ids[:length] for first, length in zip(firsts, lengths, strict=True)]
            images = [first.image for first in firsts]
            ids, mask = pad_rows(begun, self._model, side="right")
            shared = self._prefill(ids, mask, images, [*names] * len(families)) if ids.shape[1] else None
            asked = [(number, row) for number, family in enumerate(families) for row in family.rows]
            rest = [prompts[row].ids[families[number].length :] for number, row in asked]
            for batch in length_batches([len(tokens) for tokens in rest], at_once):
                if not self.wanted(names, [asked[i][1] for i in batch]):
                    continue
                begun_in = [asked[i][0] * len(names) + g for i in batch for g in range(len(names))]
                tail, tail_mask = pad_rows([rest[i] for i in batch for _ in names], self._model, side="left")
                whole = torch.cat([ids[begun_in], tail], 1), torch.cat([mask[begun_in], tail_mask], 1)
                if shared is None:
                    more = image_arguments(self._model, whole[0], [images[row] for row in begun_in])
                else:
                    cache, shift = shared
                    positions = (whole[1].cumsum(1) - 1).clamp(min=0) + shift[begun_in]
                    copied = rows_of(cache, begun_in, tail.shape[1] + self._n_new)
                    more = {"past_key_values": copied, "position_ids": positions}
                said = self._continue(*whole, more, [*names] * len(batch))
                for i, answer in enumerate(said):
                    yield names[i % len(names)], asked[batch[i // len(names)]][1], answer

    def _prefill(
        self, ids: Int[Tensor, "B T"], mask: Int[Tensor, "B T"], images: Sequence[str], names: Sequence[str]
    ) -> tuple[DynamicCache, Int[Tensor, "B 1"]]:
        """Keys and values of beginnings, and what is added to the positions of all tokens behind them."""
        cache, shown = DynamicCache(), image_arguments(self._model, ids, images)
        with attach_rows(self._model, [self._gates[name] for name in names]):
            more = {**logits_only(self._model, 1), **shown}
            self._hf(ids, attention_mask=mask, past_key_values=cache, use_cache=True, **more)
        # Qwen's positions count an image by its sides, not by its tokens; how much less that is, the model has noted.
        shift = getattr(self._hf.model, "rope_deltas", None) if shown else None
        return cache, ids.new_zeros(len(ids), 1) if shift is None else shift.to(ids)

    def _continue(
        self, ids: Int[Tensor, "B T"], mask: Int[Tensor, "B T"], more: dict[str, Any], names: Sequence[str]
    ) -> list[Answer]:
        first = _FirstMargin(*self._yes_no) if self._yes_no else None
        with attach_rows(self._model, [self._gates[name] for name in names]), _greedy(self._model):
            more = {**more, "attention_mask": mask, "max_new_tokens": self._n_new}
            output = self._hf.generate(ids, logits_processor=LogitsProcessorList([first] if first else []), **more)
        texts = self._tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
        margins = first.margins if first else [None] * len(texts)
        return [Answer(text, margin) for text, margin in zip(texts, margins, strict=True)]


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


def _yes_no_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that begin with yes and with no, as a sentence or a word would begin with them."""

    def begun(word: str) -> set[int]:
        forms = product((" ", ""), (word, word.capitalize(), word.upper()))
        return {tokenizer.encode(space + form, add_special_tokens=False)[0] for space, form in forms}

    yes, no = begun("yes"), begun("no")
    if not (yes - no and no - yes):
        raise InputError("the tokenizer begins yes and no with the same token, so they have no margin")
    return sorted(yes - no), sorted(no - yes)
