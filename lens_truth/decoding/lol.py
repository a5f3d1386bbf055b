"""`LOL`: a model and a sibling that hallucinates more, contrasted at the last layer and at lower ones together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LogitsProcessorList

from lens_truth.decoding.contrast import same_answer
from lens_truth.decoding.forced import answer_logits, answer_tokens, said
from lens_truth.decoding.lower import lower_logits, lower_states
from lens_truth.decoding.prompted import Prompted
from lens_truth.decoding.second import SecondPass
from lens_truth.decoding.sibling import Sibling
from lens_truth.errors import InputError
from lens_truth.models.hooks import Hooked
from lens_truth.models.lens import final_norm
from lens_truth.models.prompts import Encoded, PromptTokens, Wording


@dataclass(frozen=True, eq=False)
class LOL(Sibling):
    """Lower layers matter (Chen et al. 2024, arXiv 2408.08769): the contrast with a hallucinating sibling is that of
    the last layer and that of lower layers, read through the final norm and the unembedding, fused; and an instruction
    refocuses the model on truth.

    Fused here: log p + a (log p' - log q'), p' in proportion to p times the lower layers' (geometric mean) to the power
    of `lower`, and q' the same of the sibling. At `lower` = 0 this is `Sibling`. What is plausible, p alone says. The
    paper's own weights and layers are for Llama 2; these are ours.

    >>> lol = lens_truth.LOL(1.0, lens_truth.load("zoo:llama-memory"), layers=(2,))
    >>> lol.check(model), lol.lower_layers(model)
    (None, (2,))
    >>> lol.worded(benchmark.wording), lol.second(lol.second_model(model)), lol.distributions(model)
    >>> with lol.opened(model, prompts, others, n_new=16) as processors:
    ...     model.original_model.generate(ids, attention_mask=mask, logits_processor=processors, max_new_tokens=16)
    >>> lol.log_probs(model, rows, others)
    """

    layers: Sequence[int] = ()
    """Whose input is read; by default the one in the middle."""
    lower: float = field(default=0.5, kw_only=True)
    """How much the lower layers weigh beside the last one."""
    instruction: str = field(default="", kw_only=True)
    """What stands before every question, of both passes (`Prompted`); none by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.lower < float("inf"):
            raise InputError(f"the weight of lower layers is {self.lower}; it must be a finite number, 0 or more")

    @property
    def its_own(self) -> str:
        """See `Contrast.its_own`."""
        return f"{super().its_own} {list(self.layers)} {self.lower!r} {self.instruction!r}"

    def lower_layers(self, model: Hooked) -> tuple[int, ...]:
        """The layers that are read."""
        return tuple(self.layers) or (model.cfg.n_layers // 2,)

    def check(self, model: Hooked) -> None:
        """See `Decoder.check`."""
        super().check(model)
        for one in (model, self._sibling):
            if wrong := [layer for layer in self.lower_layers(one) if not 0 <= layer < one.cfg.n_layers]:
                raise InputError(f"there is no layer {wrong[0]} among {one.cfg.n_layers}")
            final_norm(one)

    def worded(self, wording: Wording) -> Wording:
        """With the instruction."""
        return Prompted(instruction=self.instruction).worded(wording) if self.strength and self.instruction else wording

    def distributions(self, model: Hooked) -> int:
        """See `Decoder.distributions`."""
        return 2 * (1 + len(self.lower_layers(model)))

    def _fused(self, lower: Float[Tensor, "... K V"], last: Float[Tensor, "... V"]) -> Float[Tensor, "... V"]:
        """log p', up to a constant."""
        exact = torch.promote_types(last.dtype, torch.float32)
        deep = lower.log_softmax(-1, dtype=exact).mean(-2)
        return last.log_softmax(-1, dtype=exact) + self.lower * deep

    @contextmanager
    def working(
        self, model: Hooked, prompts: Sequence[PromptTokens], others: Sequence[PromptTokens | None], n_new: int
    ) -> Generator[LogitsProcessorList, None, None]:
        """See `Decoder.working`."""
        fused: list[Float[Tensor, "B V"]] = []

        def note(lower: Float[Tensor, "B K V"], last: Float[Tensor, "B T V"]) -> Float[Tensor, "B T V"]:
            fused[:] = [self._fused(lower, last[:, -1])]
            return last

        def mixed(scores: Float[Tensor, "B V"], other: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
            return self._far_below(*self._fused_both(scores, fused[0], other))

        rows = self.second_rows(prompts, others)
        second = SecondPass(self._sibling, rows, n_new, mixed, lambda: self.second(self._sibling))
        with lower_logits(model, self.lower_layers(model), note):
            yield LogitsProcessorList([second])

    def second(self, model: Hooked) -> AbstractContextManager[Any]:
        """While open, the sibling says q'."""
        return lower_logits(
            model, self.lower_layers(model), lambda lower, last: self._fused(lower, last[:, -1])[:, None]
        )

    def _fused_both(self, own: Float[Tensor, "... V"], fused: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Log p, and what it is mixed with log p' and the sibling's log q', which come up to a constant."""
        exact = torch.promote_types(own.dtype, torch.float32)
        log_p, p, q = (its.log_softmax(-1, dtype=exact) for its in (own, fused, other.to(own.device)))
        return log_p, log_p + self._weight(log_p) * (p - q)

    def log_probs(
        self, model: Hooked, rows: Sequence[Encoded], others: Sequence[Encoded | None]
    ) -> Float[Tensor, " B"]:
        """See `Decoder.log_probs`."""
        if not self.strength:
            return super().log_probs(model, rows, others)
        found = list[Tensor]()
        with lower_states(model, self.lower_layers(model)) as lower:
            own = answer_logits(model, rows, lambda: self.acting(model), lower)
        with lower_states(self._sibling, self.lower_layers(self._sibling)) as lower:
            against = answer_logits(
                self._sibling,
                [same_answer(row, other) for row, other in zip(rows, self.second_rows(rows, others), strict=True)],
                also=lower,
            )
        for its, other, tokens in zip(own, against, answer_tokens(rows), strict=True):
            p, q = (self._fused(each[:-1].movedim(0, -2), each[-1]) for each in (its, other))
            log_p, mixed = self._fused_both(its[-1], p, q)
            found.append(said(torch.where(self._implausible(log_p), log_p, mixed), tokens))
        return torch.stack(found)
