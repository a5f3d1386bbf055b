"""Answers of one model to many questions under many gates at once; what they have in common is computed once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from lens_truth.decoding.greedy import Finite, greedy
from lens_truth.engines.passes import batches
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer
from lens_truth.gates.rows import UNGATED, Gates, attach_rows
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.budget import Budget
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import inner_model
from lens_truth.models.prefixes import Family
from lens_truth.models.prompts import Encoded, PromptTokens
from lens_truth.models.sharing import Begun, Place, Sharing, shared_families
from lens_truth.scoring.causal import batch_log_probs

Asked = tuple[int, str, int]
"""Number of a set of questions, name of a gate, number of the question in it."""


@dataclass(frozen=True)
class Questions:
    """What a model is asked in one way: to write at most so many tokens, or (0) how likely a given answer is."""

    rows: Sequence[PromptTokens]
    """Prompts; to be ranked, prompts with their answers (`Encoded`)."""
    n_new: int
    margins: bool = False
    """Whether the log-odds of yes against no are wanted."""


def answered(
    model: Any, asked: Sequence[Questions], gates: Gates = UNGATED, *, budget: Budget, known: Collection[Asked] = ()
) -> Iterator[tuple[Asked, Answer]]:
    """The answer to each question of each set under each gate, by Hugging Face's own greedy `generate`, as soon as a
    batch is done; of a given answer its log-probability after its prompt, summed over its tokens, stands as margin.

    All gates run together, each in rows of its own, and what prompts have in common (an instruction, a scene, an image,
    the question that is put in several ways) goes through the model once a gate. Answers are those of one gate and one
    question at a time. Of batches of which every answer is `known` none is made; the others are as if nothing were, so
    that a run which goes on gives the same numbers to the last bit.
    """
    inner_model(model)  # which writes
    yes_no = yes_no_of(model, asked)
    kinds = [kind for kind, its in enumerate(asked) for _ in its.rows]
    numbers = [number for its in asked for number in range(len(its.rows))]
    rows = [row.shown for its in asked for row in its.rows]
    prompts = [row.prompt for its in asked for row in its.rows]
    lengths = [len(row.ids) + asked[kind].n_new for row, kind in zip(rows, kinds, strict=True)]
    families = shared_families(model, prompts, lengths, alone=True)
    names = list(gates)

    def attach(places: Sequence[Place]) -> AbstractContextManager[Any]:
        return attach_rows(model, [gates[name] for name, _ in places])

    def wanted(some: Collection[str], of: Collection[int]) -> bool:
        return any((kinds[row], name, numbers[row]) not in known for name, row in product(some, of))

    sharing = Sharing(model, rows, attach, kinds, [its.n_new for its in asked])

    def answers_of(some: Sequence[Family]) -> list[tuple[Asked, Answer]]:
        longest = max(lengths[row] for family in some for row in family.rows)
        at_once, made = budget.rows(longest, model.cfg.d_vocab), list[tuple[Asked, Answer]]()
        for chunk in (names[start : start + at_once] for start in range(0, len(names), at_once)):
            if not wanted(chunk, [row for family in some for row in family.rows]):
                continue
            for batch in sharing.batches(some, chunk, at_once):
                if not wanted(chunk, {row for _, row in batch.at}):
                    continue
                its = asked[kinds[batch.at[0][1]]]
                with attach(batch.at):
                    if its.n_new:
                        found = _written(model, batch, its.n_new, yes_no if its.margins else None)
                    else:
                        found = _ranked(model, batch)
                at = [(kinds[row], name, numbers[row]) for name, row in batch.at]
                made += zip(at, found, strict=True)
        return made

    def cost(family: Family, before: Family | None) -> int:
        return max(lengths[row] for row in family.rows)

    families.sort(key=lambda family: -cost(family, None))
    with torch.no_grad():
        for _, made in batches(model, families, cost, budget, answers_of, max(1, len(names))):
            yield from made


def _written(model: Any, batch: Begun, n_new: int, yes_no: tuple[list[int], list[int]] | None) -> list[Answer]:
    hf, tokenizer = inner_model(model), tokenizer_of(model)
    first = FirstMargin(*yes_no) if yes_no else None
    finite = Finite(partial(check_finite, model=model, ids=batch.ids, mask=batch.mask, rows=batch.rows))
    watching = LogitsProcessorList([finite, *([first] if first else [])])
    with greedy(model):
        more = {**batch.more, "attention_mask": batch.mask, "max_new_tokens": n_new}
        output = hf.generate(batch.ids, logits_processor=watching, **more)
    texts = tokenizer.batch_decode(output[:, batch.ids.shape[1] :], skip_special_tokens=True)
    said = zip(texts, first.margins if first else [None] * len(texts), strict=True)
    return [Answer(text, margin) for text, margin in said]


def _ranked(model: Any, batch: Begun) -> list[Answer]:
    rows = cast("tuple[Encoded, ...]", batch.rows)
    return [Answer("", value) for value in cast("list[float]", batch_log_probs(model, batch, rows).tolist())]


_SURE = 100.0
"""Log-odds, in nats, where only one of yes and no has a chance."""


class FirstMargin(LogitsProcessor):
    """Changes nothing; notes the log-odds of yes against no at the first new token."""

    def __init__(self, yes: list[int], no: list[int]) -> None:
        self._yes, self._no = yes, no
        self.margins: list[float | None] = []

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """The scores as they are."""
        if not self.margins:
            logits = scores.float()
            margin = logits[:, self._yes].logsumexp(1) - logits[:, self._no].logsumexp(1)
            # A model may leave one of them no chance, or neither, and a contrast one of them; a log has no place for
            # infinity.
            margin = margin.nan_to_num(0.0).clamp(-_SURE, _SURE)
            # Rounded to what other batch sizes leave the same.
            self.margins = [round(value, 3) for value in cast("list[float]", margin.tolist())]
        return scores


def yes_no_of(model: Any, asked: Sequence[Questions]) -> tuple[list[int], list[int]] | None:
    """The tokens whose log-odds are wanted of some set; an InputError says if there are none."""
    yes_no = yes_no_tokens(tokenizer_of(model)) if any(its.margins for its in asked) else None
    if yes_no and not all(yes_no):
        raise InputError("the tokenizer begins yes and no with the same token, so they have no margin")
    return yes_no


def yes_no_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that begin with yes and with no, as a sentence or a word would begin with them; none where both begin
    with the same."""

    def begun(word: str) -> set[int]:
        forms = product((" ", ""), (word, word.capitalize(), word.upper()))
        return {tokenizer.encode(space + form, add_special_tokens=False)[0] for space, form in forms}

    yes, no = begun("yes"), begun("no")
    return sorted(yes - no), sorted(no - yes)
