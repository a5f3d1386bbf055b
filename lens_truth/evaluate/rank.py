"""Log-probabilities of answers under many gates at once; what a question's answers have in common is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lens_truth.evaluate.shared import Limits, begun_batches
from lens_truth.gates.gate import Gates, attach_rows
from lens_truth.models.batches import logits_only
from lens_truth.models.hooks import inner_model
from lens_truth.models.prompts import Encoded, PromptTokens


def log_probs(
    model: Any, encoded: Sequence[Encoded], batch_size: int, gates: Gates
) -> Iterator[tuple[str, int, float]]:
    """(gate, row, log-probability of the row's answer after its prompt, summed over its tokens), as soon as each batch
    is done. A forward pass has at most `batch_size` rows (gates x answers)."""
    hf = inner_model(model)
    prompts = [PromptTokens(e.ids[: e.continuation], e.image, e.image_span) for e in encoded]
    # The last token of an answer is predicted, and nothing is predicted from it.
    rows = [PromptTokens(e.ids[: e.answer[1] - 1], e.image, e.image_span) for e in encoded]
    lengths = [n_answer_tokens(e) for e in encoded]
    # Few rows with a long answer must not make all batches small, so rows of like length go together.
    for some in _alike(lengths):
        wanted = max(lengths[i] for i in some)
        limits = Limits(batch_size, logits=wanted)
        for batch in begun_batches(model, [rows[i] for i in some], [prompts[i] for i in some], gates, limits):
            answers = [encoded[some[row]] for _, row in batch.at]
            tokens = [answer.ids[answer.continuation : answer.answer[1]] for answer in answers]
            keep = min(batch.new, max(map(len, tokens)))
            positions = batch.more.get("position_ids")
            if positions is None and "past_key_values" not in batch.more and not answers[0].image:
                positions = (batch.mask.cumsum(1) - 1).clamp(min=0)
            more = {**batch.more, **logits_only(model, keep)}
            if positions is not None:
                more["position_ids"] = positions[:, -batch.new :]
            with torch.no_grad(), attach_rows(model, [gates[name] for name in batch.gates]):
                shown = batch.ids[:, -batch.new :]
                logits = hf(shown, attention_mask=batch.mask, use_cache="past_key_values" in more, **more).logits
            found = logits[:, -keep:].log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
            for at, (its, (name, row)) in enumerate(zip(tokens, batch.at, strict=True)):
                of_tokens = found[at, -len(its) :].gather(1, torch.tensor(its, device=found.device)[:, None])
                yield name, some[row], float(of_tokens.double().sum())


def n_answer_tokens(encoded: Encoded) -> int:
    """Tokens whose probability is that of the answer."""
    return encoded.answer[1] - encoded.continuation


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Rows by the length of their answers, to the next power of two."""
    by_size: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        by_size.setdefault((length - 1).bit_length(), []).append(row)
    return [by_size[size] for size in sorted(by_size, reverse=True)]
