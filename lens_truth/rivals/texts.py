"""What a rival does where nothing is asked: the token that it would write next, at places cut out of a neutral text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor

from lens_truth.ablation.side_effects import NeutralText
from lens_truth.decoding.contrast import FAR, Contrast
from lens_truth.decoding.decoder import Decoder
from lens_truth.gates.rows import Intervention
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.hooks import Hooked
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
    prompts = [prompt for number, ids in enumerate(tokens) for prompt in _cut(ids[: text.window], number, text.name)]
    prompts.sort(key=lambda prompt: -len(prompt.ids))
    groups = [prompt.id for prompt in prompts]
    budget = Budget.of(model, batch_size)
    at_once = Budget(min(budget.tokens, 64 * budget.rows(1, model.cfg.d_vocab)))
    bare = _next(model, Decoder(), prompts, at_once)
    found: dict[str, TextEffect] = {}
    for name, rival in rivals.items():
        own = _next(model, decoder_of(rival), prompts, at_once)
        changed = (own.argmax(-1) != bare.argmax(-1)).double().numpy()
        kl = float((bare.exp() * (bare - own)).sum(-1).mean())
        low, high = group_interval(changed, groups, seed)
        # Tokens far below all others have no chance: a divergence would only say how far that is.
        defined = np.isfinite(kl) and not (isinstance(rival, Contrast) and bool((own < -FAR).any()))
        found[name] = TextEffect(len(prompts), float(changed.mean()), (low, high), kl if defined else float("nan"))
    return found


def decoder_of(rival: Intervention | Decoder | None) -> Decoder:
    """Anything that acts on a model, as a way to decode."""
    return rival if isinstance(rival, Decoder) else Decoder(gate=rival)


def _cut(ids: Sequence[int], number: int, name: str) -> list[PromptTokens]:
    stops = {max(1, len(ids) * part // PLACES) for part in range(1, PLACES + 1)}
    return [PromptTokens(list(ids[:stop]), id=f"passage {number} of {name}") for stop in sorted(stops)]


def _next(model: Hooked, decoder: Decoder, prompts: Sequence[PromptTokens], budget: Budget) -> Float[Tensor, "N V"]:
    """Log-probabilities from which the token behind each prompt is chosen."""

    def written(rows: Sequence[PromptTokens]) -> Float[Tensor, "B V"]:
        seen = _First()
        decoder.write(model, rows, [None] * len(rows), 1, [seen])
        return seen.scores.float().log_softmax(-1).cpu()

    made = within_budget(prompts, lambda row, _: len(row.ids), budget, written)
    return torch.cat([log_probs for _, log_probs in made])


class _First(LogitsProcessor):
    """Changes nothing; keeps what the first token is chosen from."""

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        if not hasattr(self, "scores"):
            self.scores = scores
        return scores
