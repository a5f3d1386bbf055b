"""What a rival does where nothing is asked: the token that it would write next, at places cut out of a neutral text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor

from lens_truth.ablation.side_effects import NeutralText
from lens_truth.decoding.contrast import FAR, Contrast
from lens_truth.decoding.decoder import Decoder
from lens_truth.gates.rows import Intervention
from lens_truth.models.batches import pad_rows, tokenizer_of, without_cache
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked
from lens_truth.models.likelihood import token_logits
from lens_truth.models.prompts import PromptTokens
from lens_truth.rivals.rows import TextEffect
from lens_truth.stats.paired import group_interval

PLACES = 8
"""Of a passage, evenly over it."""


def text_effects(
    model: Hooked,
    rivals: Mapping[str, Intervention | Decoder],
    text: NeutralText,
    *,
    batch_size: int | None = None,
    seed: int = 0,
) -> dict[str, TextEffect]:
    """By the rivals' names. Every passage is cut at the same places for all; up to there it is the prompt."""
    tokens = tokenizer_of(model)(list(text.passages), verbose=False)["input_ids"]
    passages = [_Passage(ids[: text.window], f"passage {number} of {text.name}") for number, ids in enumerate(tokens)]
    passages.sort(key=lambda its: -len(its.ids))
    groups = [its.name for its in passages for _ in its.stops]
    budget = Budget.of(model, batch_size)
    at_once = Budget(min(budget.tokens, 64 * budget.rows(1, PLACES * model.cfg.d_vocab)))
    bare = _next(model, Decoder(), passages, at_once)
    found: dict[str, TextEffect] = {}
    for name, rival in rivals.items():
        own = _next(model, decoder_of(rival), passages, at_once)
        changed = (own.argmax(-1) != bare.argmax(-1)).double().numpy()
        kl = float((bare.exp() * (bare - own)).sum(-1).mean())
        low, high = group_interval(changed, groups, seed)
        # Tokens far below all others have no chance: a divergence would only say how far that is.
        defined = np.isfinite(kl) and not (isinstance(rival, Contrast) and bool((own < -FAR).any()))
        found[name] = TextEffect(len(groups), float(changed.mean()), (low, high), kl if defined else float("nan"))
    return found


def decoder_of(rival: Intervention | Decoder | None) -> Decoder:
    """Anything that acts on a model, as a way to decode."""
    return rival if isinstance(rival, Decoder) else Decoder(gate=rival)


@dataclass(frozen=True)
class _Passage:
    """A text, and where it is cut: up to there it is a prompt."""

    ids: Sequence[int]
    name: str

    @property
    def stops(self) -> list[int]:
        return sorted({max(1, len(self.ids) * part // PLACES) for part in range(1, PLACES + 1)})

    @property
    def prompts(self) -> list[PromptTokens]:
        return [PromptTokens(list(self.ids[:stop]), id=self.name) for stop in self.stops]


def _next(model: Hooked, decoder: Decoder, passages: Sequence[_Passage], budget: Budget) -> Float[Tensor, "N V"]:
    """Log-probabilities from which the token behind each prompt is chosen."""

    def written(some: Sequence[tuple[PromptTokens, int]]) -> Float[Tensor, "B V"]:
        seen = _First()
        decoder.write(model, [row for row, _ in some], [None] * len(some), 1, [seen])
        return seen.scores.float().log_softmax(-1).cpu()

    def passed(some: Sequence[_Passage]) -> Float[Tensor, "B V"]:
        """The same of a gate, which a pass over a whole passage shows at all its places."""
        ids, mask = pad_rows([its.ids for its in some], model)
        places = [(i, stop) for i, its in enumerate(some) for stop in its.stops]
        row, position = torch.tensor(places).T
        with decoder.acting(model):
            logits = token_logits(model, ids, mask, row, position, without_cache(model))[0]
            parts = torch.split(logits, [len(its.stops) for its in some])
            largest = torch.stack([part.amax() for part in parts])
            check_finite(largest, model, ids, mask, [its.prompts[-1] for its in some])
        return logits.float().log_softmax(-1).cpu()

    if decoder.does is None:
        made = within_budget(passages, lambda its, _: len(its.ids), budget, passed)
        return torch.cat([log_probs for _, log_probs in made])
    prompts = [(prompt, at) for at, prompt in enumerate(row for its in passages for row in its.prompts)]
    prompts.sort(key=lambda its: -len(its[0].ids))
    made = within_budget(prompts, lambda its, _: len(its[0].ids), budget, written)
    found = torch.cat([log_probs for _, log_probs in made])
    return found[torch.tensor([at for _, at in prompts]).argsort()]


class _First(LogitsProcessor):
    """Changes nothing; keeps what the first token is chosen from."""

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        if not hasattr(self, "scores"):
            self.scores = scores
        return scores
