"""Answers of one model to many questions under a decoder: written, or given answers ranked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

from lens_truth.decoding.decoder import Decoder
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.generate import FirstMargin, Questions, yes_no_of
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.prompts import Encoded, PromptTokens

Others = Sequence[PromptTokens | None]
"""For each row, what the decoder's second pass is shown."""


def decoded(
    model: Any,
    asked: Sequence[Questions],
    others: Sequence[Others],
    decoder: Decoder,
    *,
    budget: Budget,
    known: Collection[tuple[int, int]] = (),
) -> Iterator[tuple[tuple[int, int], Answer]]:
    """The answer to each question of each set (by their numbers), as soon as a batch is done, as `answered` gives them.
    Of batches of which every answer is `known` none is made."""
    yes_no = yes_no_of(model, asked)
    for number, (its, seconds) in enumerate(zip(asked, others, strict=True)):
        lengths = [
            max(len(row.ids), len(other.ids) if other else 0) + its.n_new
            for row, other in zip(its.rows, seconds, strict=True)
        ]
        at_once = _rows_at_once(model, decoder, its, budget)

        def made(
            some: Sequence[int], its: Questions = its, seconds: Others = seconds, number: int = number
        ) -> list[Answer]:
            if all((number, row) in known for row in some):
                return []
            rows, against = [its.rows[row] for row in some], [seconds[row] for row in some]
            if not its.n_new:
                return _ranked(model, decoder, rows, against)
            return _written(model, decoder, its, rows, against, yes_no)

        # Rows of one question lie side by side, so that what they share goes through the model once.
        order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], its.rows[row].prompt.ids, row))
        for start in range(0, len(order), at_once):
            chunk = order[start : start + at_once]
            for some, answers in within_budget(chunk, lambda row, _, its=lengths: its[row], budget, made):
                yield from (((number, row), answer) for row, answer in zip(some, answers, strict=False))


def _rows_at_once(model: Any, decoder: Decoder, its: Questions, budget: Budget) -> int:
    """As many as whose logits fit: of one token of each that writes, of a whole answer of each that ranks."""
    if its.n_new:
        return budget.rows(1, model.cfg.d_vocab * max(1, decoder.distributions(model)))
    longest = max(cast("Encoded", row).n_answer_tokens for row in its.rows)
    return budget.rows(1, model.cfg.d_vocab * max(1, decoder.distributions(model) * longest))


def _written(
    model: Any,
    decoder: Decoder,
    its: Questions,
    rows: Sequence[PromptTokens],
    others: Others,
    yes_no: tuple[list[int], list[int]] | None,
) -> list[Answer]:
    first = FirstMargin(*yes_no) if yes_no and its.margins else None
    written = decoder.write(model, rows, others, its.n_new, [first] if first else [])
    texts = tokenizer_of(model).batch_decode(written, skip_special_tokens=True)
    said = zip(texts, first.margins if first else [None] * len(texts), strict=True)
    return [Answer(text, margin) for text, margin in said]


def _ranked(model: Any, decoder: Decoder, rows: Sequence[PromptTokens], others: Others) -> list[Answer]:
    encoded, against = cast("list[Encoded]", list(rows)), cast("list[Encoded | None]", list(others))
    return [Answer("", value) for value in cast("list[float]", decoder.log_probs(model, encoded, against).tolist())]
