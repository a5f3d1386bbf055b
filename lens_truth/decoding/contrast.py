"""`Contrast`: what the model says against what it says when something is taken from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LogitsProcessor

from lens_truth.decoding.decoder import Decoder, checked_strength
from lens_truth.decoding.forced import answer_logits, answer_tokens, said
from lens_truth.decoding.second import SecondPass
from lens_truth.errors import InputError
from lens_truth.models.hooks import Hooked
from lens_truth.models.prompts import Encoded, PromptTokens

PLAUSIBLE = 0.1
FAR = 100.0
"""How far below the others tokens stand that are not plausible, in nats."""


@dataclass(frozen=True, eq=False)
class Contrast(Decoder):
    """Of two passes, the model's own p and another q, the next token is the one with the largest
    (1 + a) log p - a log q among those that p finds plausible (Li et al. 2023, contrastive decoding, Section 3.3).

    Given answers are ranked by the distribution that this makes; there, tokens that are not plausible keep log p, since
    an answer with one of them would else be as unlikely as any other. A subclass says what the other pass is.

    >>> isinstance(decoder, lens_truth.Contrast)
    True
    >>> decoder.second_model(model), decoder.second(model), decoder.second_rows(rows, others)
    >>> decoder.mixed(logits, other_logits), decoder.over_plausible(logits, other_logits)
    >>> decoder.mix(log_p, log_q, 0.5)
    """

    strength: float = 1.0
    """a, or what is multiplied by the entropy of p, in nats, at every token."""
    plausible: float = field(default=PLAUSIBLE, kw_only=True)
    """The share of the likeliest token's probability that a token needs; 0 lets all in."""
    by_entropy: bool = field(default=False, kw_only=True)
    """Whether a is the larger the less sure the model is."""

    def __post_init__(self) -> None:
        checked_strength(self.strength, type(self).__name__)
        if not 0 <= self.plausible <= 1:
            raise InputError(f"the share of the likeliest token's probability is {self.plausible}; it is from 0 to 1")

    @property
    def does(self) -> tuple[str, Sequence[Float[Tensor, "..."]]] | None:
        """See `Decoder.does`."""
        if not self.strength:
            return None
        words = f"{type(self).__name__} {self.strength!r} {self.plausible!r} {self.by_entropy}"
        return f"{words} {self.its_own}", self.tensors

    @property
    def its_own(self) -> str:
        """What else tells it from others of its class, in words."""
        return ""

    @property
    def tensors(self) -> Sequence[Float[Tensor, "..."]]:
        """The same in numbers."""
        return ()

    def distributions(self, model: Hooked) -> int:
        """See `Decoder.distributions`."""
        return 2

    def second_model(self, model: Hooked) -> Hooked:
        """The model of the second pass."""
        return model

    def second(self, model: Hooked) -> AbstractContextManager[Any]:
        """Opened around the second pass, inside of the gate."""
        return nullcontext()

    def second_rows(self, rows: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        """What the second pass is over, row by row: other prompts, where there are any."""
        return list(others)

    def processors(
        self, model: Hooked, prompts: Sequence[PromptTokens], others: Sequence[PromptTokens | None], n_new: int
    ) -> list[LogitsProcessor]:
        """See `Decoder.processors`."""
        rows, its = self.second_rows(prompts, others), self.second_model(model)
        return [SecondPass(its, rows, n_new, self.mixed, lambda: self.second(its))]

    def mixed(self, scores: Float[Tensor, "... V"], other: Float[Tensor, "... V"]) -> Float[Tensor, "... V"]:
        """Log-probabilities of both passes, mixed, up to a constant; tokens that are not plausible are far below."""
        return self._far_below(*self._both(scores, other))

    def _far_below(self, log_p: Float[Tensor, "... V"], mixed: Float[Tensor, "... V"]) -> Float[Tensor, "... V"]:
        """Tokens that are not plausible stand so far below all others that none is ever written, in the order of p:
        log-odds between two of them, as between yes and no where an answer begins otherwise, stay p's."""
        implausible = self._implausible(log_p)
        least = mixed.masked_fill(implausible, torch.inf).amin(-1, keepdim=True)
        return torch.where(implausible, log_p + (least - FAR), mixed)

    def over_plausible(self, scores: Float[Tensor, "... V"], other: Float[Tensor, "... V"]) -> Float[Tensor, "... V"]:
        """The same, but tokens that are not plausible keep their log-probability: by this given answers are ranked."""
        log_p, mixed = self._both(scores, other)
        return torch.where(self._implausible(log_p), log_p, mixed)

    def mix(
        self, log_p: Float[Tensor, "... V"], log_q: Float[Tensor, "... V"], a: float | Float[Tensor, "... 1"]
    ) -> Float[Tensor, "... V"]:
        """(1 + a) log p - a log q."""
        return log_p + a * (log_p - log_q)

    def _both(self, scores: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        exact = torch.promote_types(scores.dtype, torch.float32)
        log_p, log_q = (its.log_softmax(-1, dtype=exact) for its in (scores, other.to(scores.device)))
        return log_p, self.mix(log_p, log_q, self._weight(log_p))

    def _weight(self, log_p: Float[Tensor, "... V"]) -> float | Float[Tensor, "... 1"]:
        """a."""
        return self.strength * entropies(log_p.exp())[..., None] if self.by_entropy else self.strength

    def _implausible(self, log_p: Tensor) -> Tensor:
        cut = math.log(self.plausible) if self.plausible else -math.inf
        return log_p < log_p.amax(-1, keepdim=True) + cut

    def log_probs(
        self, model: Hooked, rows: Sequence[Encoded], others: Sequence[Encoded | None]
    ) -> Float[Tensor, " B"]:
        """See `Decoder.log_probs`."""
        seconds = self.second_rows(rows, others)
        at = [i for i, row in enumerate(seconds) if row is not None] if self.strength else []
        if not at:
            return super().log_probs(model, rows, others)
        its = self.second_model(model)

        def acting() -> AbstractContextManager[Any]:
            return self.acting(model)

        own = [logits[0] for logits in answer_logits(model, rows, acting)]
        with acting():
            against = answer_logits(its, [same_answer(rows[i], seconds[i]) for i in at], lambda: self.second(its))
        for i, other in zip(at, against, strict=True):
            own[i] = self.over_plausible(own[i], other[0])
        return torch.stack([said(*its) for its in zip(own, answer_tokens(rows), strict=True)])


def entropies(p: Float[Tensor, "... V"]) -> Float[Tensor, "..."]:
    """In nats."""
    return cast("Tensor", torch.special.entr(p)).sum(-1)


def same_answer(row: Encoded, other: Encoded) -> Encoded:
    """Another prompt with the tokens of a row's answer behind it."""
    ids = other.ids[: other.continuation] + row.ids[row.continuation : row.answer[1]]
    return Encoded(
        ids,
        other.image,
        other.image_span,
        row.id,
        answer=(other.continuation, len(ids)),
        continuation=other.continuation,
    )
