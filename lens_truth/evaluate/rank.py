"""Log-probabilities of answers under many gates at once; what a question's answers have in common is computed once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

import torch

from lens_truth.evaluate.shared import Limits, Place, begun_batches
from lens_truth.gates.gate import Gates, attach_rows
from lens_truth.models.batches import without_cache
from lens_truth.models.finite import check_finite
from lens_truth.models.likelihood import token_log_probs
from lens_truth.models.prompts import Encoded, PromptTokens


def log_probs(
    model: Any, encoded: Sequence[Encoded], batch_size: int, gates: Gates, known: Collection[Place] = ()
) -> Iterator[tuple[str, int, float]]:
    """(gate, row, log-probability of the row's answer after its prompt, summed over its tokens), as soon as each batch
    is done. A forward pass has at most `batch_size` rows (gates x answers); those of `known` ones alone are passed
    over."""
    prompts = [PromptTokens(e.ids[: e.continuation], e.image, e.image_span) for e in encoded]
    rows = [PromptTokens(e.ids[: e.answer[1]], e.image, e.image_span, e.id) for e in encoded]
    for batch in begun_batches(model, rows, prompts, gates, Limits(batch_size, known=known)):
        ids, lengths = batch.ids[:, -batch.new :], [encoded[row].n_answer_tokens for _, row in batch.at]
        row = torch.tensor([i for i, n in enumerate(lengths) for _ in range(n)])
        position = torch.tensor([batch.new - n + k for n in lengths for k in range(n)])
        more = batch.more
        if "past_key_values" in more:
            more = {**more, "position_ids": more["position_ids"][:, -batch.new :]}
        else:
            more = {**more, **without_cache(model)}
        with torch.no_grad(), attach_rows(model, [gates[name] for name in batch.gates]):
            found = token_log_probs(model, ids, batch.mask, row, position, [], more)
            sums = torch.zeros(len(lengths), dtype=torch.float64).index_add(0, row, found.cpu().double())
            check_finite(sums, model, batch.ids, batch.mask, batch.rows)
        values = cast("list[float]", sums.tolist())
        yield from ((name, at, value) for (name, at), value in zip(batch.at, values, strict=True))
