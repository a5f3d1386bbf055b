"""`ADHH`: heads that look away from the image are kept from writing what they take from the text."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import LogitsProcessorList

from lens_truth.decoding.decoder import Decoder
from lens_truth.decoding.forcing import log_probs_of_whole
from lens_truth.errors import InputError
from lens_truth.models.answering_attention import answering_attention, check_attention
from lens_truth.models.hooks import Hooked, name_of
from lens_truth.models.image_input import is_multimodal
from lens_truth.models.prompts import Encoded, PromptTokens
from lens_truth.scoring.directions import best_heads
from lens_truth.scoring.scores import HeadScores

Zeroes = Literal["text", "head"]


@dataclass(frozen=True, eq=False)
class ADHH(Decoder):
    """Adaptive deactivation of hallucination heads (Yang et al. 2025, ICLR): where a head of a list gives the text more
    than a threshold of its attention, at the token from which the next is written, what it takes from there is not
    written.

    As in the published code, the text are all tokens behind the image, of the prompt and of the answer; what stands
    before the image is not (attention that a head has no use for rests on the first token), and the weights on the text
    are set to 0, while those on the image stay as they are. Rows without an image are left alone. The published lists
    hold 20 heads of LLaVA-1.5-7B and 10 of MiniGPT-4; thresholds are .4 and .5.

    >>> lens_truth.ADHH(1.0, heads=[(16, 29), (26, 9)])
    >>> lens_truth.ADHH.from_scores(scores, n=20, threshold=0.4)
    """

    strength: float = 1.0
    """How much of it is kept back: 1 all, 0 nothing."""
    heads: Sequence[tuple[int, int]] = ()
    threshold: float = field(default=0.4, kw_only=True)
    zeroes: Zeroes = field(default="text", kw_only=True)
    """`text`: what the head takes from the text; `head`: all that it writes there."""

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1 or not 0 <= self.threshold <= 1:
            raise InputError(
                f"ADHH has strength {self.strength} and threshold {self.threshold}; both are numbers from 0 to 1"
            )
        if self.zeroes not in get_args(Zeroes):
            raise InputError(f"ADHH can zero {' or '.join(get_args(Zeroes))}, not '{self.zeroes}'")

    @classmethod
    def from_scores(cls, scores: HeadScores, n: int = 20, threshold: float = 0.4) -> ADHH:
        """With the `n` heads that have the highest scores.

        Raises:
            InputError: if there are not so many.
        """
        return cls(1.0, best_heads(scores.values, n), threshold=threshold)

    @property
    def does(self) -> tuple[str, Sequence[Float[Tensor, "..."]]] | None:
        """See `Decoder.does`."""
        if not self.strength:
            return None
        heads = [list(head) for head in self.heads]
        return f"ADHH {self.strength!r} {self.threshold!r} {self.zeroes} {heads}", ()

    def check(self, model: Hooked) -> None:
        """See `Decoder.check`."""
        super().check(model)
        if not is_multimodal(model):
            name = name_of(model) or "the model"
            raise InputError(f"{name} is a text model, and ADHH compares attention to an image with that to the text")
        check_attention(model, self.heads)

    @contextmanager
    def working(
        self, model: Hooked, prompts: Sequence[PromptTokens], others: Sequence[PromptTokens | None], n_new: int
    ) -> Generator[LogitsProcessorList, None, None]:
        """See `Decoder.working`."""
        width = max(len(row.ids) for row in prompts)
        text = torch.zeros(len(prompts), width + n_new, dtype=torch.bool)
        for number, row in enumerate(prompts):
            if row.image_span is not None:
                text[number, width - len(row.ids) + row.image_span[1] :] = True
        with self._deactivating(model, text, torch.full((len(prompts),), width - 1)):
            yield LogitsProcessorList()

    def log_probs(
        self, model: Hooked, rows: Sequence[Encoded], others: Sequence[Encoded | None]
    ) -> Float[Tensor, " B"]:
        """See `Decoder.log_probs`."""
        if self.does is None:
            return super().log_probs(model, rows, others)
        text = torch.zeros(len(rows), max(row.answer[1] for row in rows), dtype=torch.bool)
        for number, row in enumerate(rows):
            if row.image_span is not None:
                text[number, row.image_span[1] : row.answer[1]] = True
        first = torch.tensor([row.continuation - 1 for row in rows])
        with self.acting(model), self._deactivating(model, text, first):
            return log_probs_of_whole(model, rows)

    def _deactivating(
        self, model: Any, text: Bool[Tensor, "B T"], first: Int[Tensor, " B"]
    ) -> AbstractContextManager[None]:
        """While open, heads are deactivated from each row's `first` token on; `text` says which tokens are text."""
        start = int(first.min())

        def act(
            layer: int, weights: Float[Tensor, "B h n K"], values: Float[Tensor, "B h K D"]
        ) -> Float[Tensor, "B h n D"]:
            n, K, device = *weights.shape[2:], weights.device
            of_text = weights * text[:, None, None, :K].to(device)
            begun = torch.arange(K - n, K, device=device) >= first[:, None].to(device)
            on = (of_text.sum(-1) >= self.threshold) & begun[:, None] & text.any(1)[:, None, None].to(device)
            taken = of_text if self.zeroes == "text" else weights
            return (taken * (self.strength * on)[..., None]) @ values.to(weights)

        return answering_attention(model, self.heads, lambda queries, keys: min(queries, keys - start), act)
