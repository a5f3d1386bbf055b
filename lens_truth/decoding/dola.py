"""`DoLa`: what the last layer says against what a lower layer would have said."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from lens_truth.decoding.contrast import Contrast, entropies
from lens_truth.decoding.forced import answer_logits, answer_tokens, said
from lens_truth.decoding.lower import lower_logits, lower_states
from lens_truth.errors import InputError
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.models.lens import final_norm
from lens_truth.models.prompts import Encoded, PromptTokens

_DEEP = 40
"""Layers of a model of which the lower or higher half is looked at; of a deeper one as many."""


@dataclass(frozen=True, eq=False)
class DoLa(Contrast):
    """Decoding by contrasting layers (Chuang et al. 2024, arXiv 2309.03883, Section 2): q is what a lower layer says
    through the final norm and the unembedding, of several that one which differs most (Jensen-Shannon divergence) at
    the token. The largest log p - a log q counts.

    The lower layers go through the unembedding together with the last one, so that its weights are read once.

    >>> lens_truth.DoLa(1.0, layers="high").candidates(model)
    (16, 18, 20, 22, 24, 26, 28)
    """

    strength: float = 1.0
    layers: Literal["low", "high"] | Sequence[int] = "low"
    """Whose input is read: every second layer of the lower or of the higher half (of deep models of 20 layers; from
    layer 2 on where the unembedding is the embedding, which would say the last token again), or which."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.layers, str) and self.layers not in ("low", "high"):
            raise InputError(f"DoLa looks at low or high layers, or at those that are numbered, not at '{self.layers}'")

    @property
    def its_own(self) -> str:
        """See `Contrast.its_own`."""
        return repr(self.layers if isinstance(self.layers, str) else list(self.layers))

    def candidates(self, model: Hooked) -> tuple[int, ...]:
        """The layers among which is chosen."""
        if isinstance(self.layers, str):
            n, hf = model.cfg.n_layers, inner_model(model)
            tied = hf.get_input_embeddings().weight is hf.get_output_embeddings().weight
            half = n // 2 if n <= _DEEP else _DEEP // 2
            return tuple(range(2 if tied else 0, half, 2) if self.layers == "low" else range(n - half, n, 2))
        return tuple(self.layers)

    def check(self, model: Hooked) -> None:
        """See `Decoder.check`."""
        super().check(model)
        chosen = self.candidates(model)
        if wrong := [layer for layer in chosen if not 0 <= layer < model.cfg.n_layers]:
            raise InputError(f"there is no layer {wrong[0]} among {model.cfg.n_layers}")
        if not chosen:
            raise InputError("DoLa needs lower layers to contrast with")
        final_norm(model)

    def distributions(self, model: Hooked) -> int:
        """See `Decoder.distributions`."""
        return 1 + len(self.candidates(model))

    @contextmanager
    def working(
        self, model: Hooked, prompts: Sequence[PromptTokens], others: Sequence[PromptTokens | None], n_new: int
    ) -> Generator[LogitsProcessorList, None, None]:
        """See `Decoder.working`."""
        early: list[Float[Tensor, "B K V"]] = []

        def note(lower: Float[Tensor, "B K V"], last: Float[Tensor, "B T V"]) -> Float[Tensor, "B T V"]:
            early[:] = [lower]
            return last

        with lower_logits(model, self.candidates(model), note):
            yield LogitsProcessorList([_Against(lambda scores: self.mixed(scores, self._furthest(scores, early[0])))])

    @staticmethod
    def _furthest(scores: Float[Tensor, "B V"], early: Float[Tensor, "B K V"]) -> Float[Tensor, "B V"]:
        """The candidate whose distribution differs most, by its logits."""
        if early.shape[1] == 1:
            return early[:, 0]
        logits = early.to(scores.device, torch.promote_types(early.dtype, torch.float32))
        p, q = scores.softmax(-1, dtype=logits.dtype)[:, None], logits.softmax(-1)
        entropy = logits.logsumexp(-1) - (q * logits).sum(-1)  # of q
        # Of p it is the same for all, so it does not decide.
        divergence = entropies(q.add_(p).mul_(0.5)) - 0.5 * entropy
        return early[torch.arange(len(early)), divergence.argmax(1)]

    def mix(
        self, log_p: Float[Tensor, "... V"], log_q: Float[Tensor, "... V"], a: float | Float[Tensor, "... 1"]
    ) -> Float[Tensor, "... V"]:
        """See `Contrast.mix`."""
        return log_p - a * log_q

    def log_probs(
        self, model: Hooked, rows: Sequence[Encoded], others: Sequence[Encoded | None]
    ) -> Float[Tensor, " B"]:
        """See `Decoder.log_probs`."""
        if not self.strength:
            return super().log_probs(model, rows, others)
        found = list[Tensor]()
        with lower_states(model, self.candidates(model)) as lower:
            logits = answer_logits(model, rows, lambda: self.acting(model), lower)
        for its, tokens in zip(logits, answer_tokens(rows), strict=True):
            own, early = its[-1], its[:-1].movedim(0, 1)
            found.append(said(self.over_plausible(own, self._furthest(own, early)), tokens))
        return torch.stack(found)


class _Against(LogitsProcessor):
    """Mixes what `generate` chooses from."""

    def __init__(self, mixed: Callable[[Float[Tensor, "B V"]], Float[Tensor, "B V"]]) -> None:
        self._mixed = mixed

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """One step."""
        return self._mixed(scores)
