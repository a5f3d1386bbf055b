"""What a model would choose from at each token of a given answer: its logits there, whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked
from lens_truth.models.likelihood import token_logits
from lens_truth.models.prompts import Encoded
from lens_truth.models.sharing import Sharing, shared_families

Hidden = Callable[[], Sequence[Float[Tensor, "B T M"]]]


def answer_logits(
    model: Hooked,
    rows: Sequence[Encoded],
    acting: Callable[[], AbstractContextManager[Any]] = nullcontext,
    also: Hidden = lambda: (),
) -> list[Float[Tensor, "K n V"]]:
    """For each row the logits from which the n tokens of its answer are chosen; what prompts have in common goes
    through the model once. `acting` is opened around every pass; `also` as for `token_logits`."""
    rows = [row.shown for row in rows]
    families = shared_families(model, [row.prompt for row in rows], [len(row.ids) for row in rows])
    found: dict[int, Float[Tensor, "K n V"]] = {}
    with torch.no_grad():
        for batch in Sharing(model, rows, lambda _: acting()).batches(families, [""], len(rows)):
            its = [rows[row] for _, row in batch.at]
            spans = [range(e.continuation, e.answer[1]) for e in its]
            places = [(i, p + shift) for i, shift in enumerate(batch.shift) for p in spans[i]]
            row, position = (torch.tensor(at) for at in zip(*places, strict=True))
            with acting():
                logits = token_logits(model, batch.rest, batch.mask, row, position, batch.given, also)
            parts = torch.split(logits, [len(span) for span in spans], dim=1)
            largest = torch.stack([part.amax() for part in parts])
            check_finite(largest, model, batch.ids, batch.mask, batch.rows)
            found |= dict(zip((row for _, row in batch.at), parts, strict=True))
    return [found[row] for row in range(len(rows))]


def answer_tokens(rows: Sequence[Encoded]) -> Iterator[Int[Tensor, " n"]]:
    """The tokens of each row's answer."""
    return (torch.tensor(row.ids[row.continuation : row.answer[1]]) for row in rows)


def said(logits: Float[Tensor, "n V"], tokens: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Log-probability of an answer, summed over its tokens."""
    return logits.log_softmax(-1).gather(1, tokens.to(logits.device)[:, None]).sum()
