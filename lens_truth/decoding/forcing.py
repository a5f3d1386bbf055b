"""How likely given answers are under what acts on each token differently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from lens_truth.decoding.greedy import greedy
from lens_truth.models.batches import pad_rows, without_cache
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import inner_model
from lens_truth.models.image_input import image_arguments
from lens_truth.models.likelihood import token_log_probs
from lens_truth.models.prompts import Encoded


def log_probs_of_whole(model: Any, rows: Sequence[Encoded]) -> Float[Tensor, " B"]:
    """Log-probability of each answer, summed over its tokens, from one pass over whole rows, padded on the right."""
    shown = [row.shown for row in rows]
    ids, mask = pad_rows([row.ids for row in shown], model)
    places = [(i, at) for i, row in enumerate(rows) for at in range(row.continuation, row.answer[1])]
    row, position = (torch.tensor(its) for its in zip(*places, strict=True))
    given = {**without_cache(model), **image_arguments(model, ids, [its.image for its in rows])}
    with torch.no_grad():
        of_tokens = token_log_probs(model, ids, mask, row, position, given)
        summed = of_tokens.new_zeros(len(rows)).index_add(0, row.to(of_tokens.device), of_tokens)
        check_finite(summed, model, ids, mask, shown)
    return summed


def forced_log_probs(
    model: Any, rows: Sequence[Encoded], opened: Callable[[int], AbstractContextManager[LogitsProcessorList]]
) -> Float[Tensor, " B"]:
    """The same token by token, as if the model had written the answers: for what is decided at each token anew.
    `opened` is `Decoder.opened` of the prompts, for so many tokens."""
    prompts = [row.prompt for row in rows]
    answers = [row.ids[row.continuation : row.answer[1]] for row in rows]
    n = max(map(len, answers))
    ids, mask = pad_rows([row.ids for row in prompts], model, side="left")
    forced = _Forced(answers)
    with torch.no_grad(), greedy(model), opened(n) as processors:
        shown = image_arguments(model, ids, [row.image for row in prompts])
        every = LogitsProcessorList([*processors, forced])
        more = {"attention_mask": mask, "max_new_tokens": n, "logits_processor": every}
        inner_model(model).generate(ids, **more, **shown)
    check_finite(forced.sums, model, ids, mask, prompts)
    return forced.sums


class _Forced(LogitsProcessor):
    """Has `generate` choose given tokens, and sums how likely they were."""

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        n = max(map(len, answers))
        self._answers: Int[Tensor, "B n"] = torch.tensor([[*its, *[its[-1]] * (n - len(its))] for its in answers])
        self._lengths = torch.tensor([len(its) for its in answers])
        self._step = 0
        self.sums: Float[Tensor, " B"] = torch.zeros(len(answers))

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """One token."""
        token = self._answers[:, self._step, None].to(scores.device)
        log_prob = scores.log_softmax(-1, dtype=torch.float32).gather(1, token)[:, 0]
        counts = (self._step < self._lengths).to(scores.device)
        self.sums = self.sums.to(scores.device) + torch.where(counts, log_prob, 0.0)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)
