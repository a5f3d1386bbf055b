"""`Decoder`: what all ways to decode have in common."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from lens_truth.data.examples import Example
from lens_truth.decoding.greedy import Finite, greedy
from lens_truth.errors import InputError
from lens_truth.gates.rows import Intervention
from lens_truth.models.batches import pad_rows
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.models.image_input import image_arguments
from lens_truth.models.prompts import Encoded, PromptTokens, Wording
from lens_truth.scoring.causal import answer_log_probs

Acts = tuple[str, Float[Tensor, "..."]]


@dataclass(frozen=True, eq=False)
class Decoder:
    """A way to the next token. This one is greedy decoding, under a gate if there is one; every other is made from it.

    Wherever gates are asked under (`Asker.run`, `ask`, `rank`), decoders can stand among them. By hand:

    >>> decoder = lens_truth.ContextAware(1.0)
    >>> decoder.check(model)
    >>> with decoder.opened(model, prompts, others, n_new=16) as processors:
    ...     model.original_model.generate(ids, attention_mask=mask, logits_processor=processors, max_new_tokens=16)
    >>> texts = model.tokenizer.batch_decode(decoder.write(model, prompts, others, n_new=16))
    >>> decoder.log_probs(model, rows, others)
    >>> lens_truth.Decoder(gate=gate).acting(model), decoder.processors(model, prompts, others, n_new=16)
    >>> decoder.distributions(model), decoder.working(model, prompts, others, n_new=16)
    >>> decoder.worded(benchmark.wording), decoder.other(example)
    """

    strength: float = 0.0
    """How far it is from greedy decoding, in its own unit: at 0 it is that, token for token."""
    gate: Intervention | None = field(default=None, kw_only=True)
    """All passes through the model run under it."""

    @property
    def does(self) -> tuple[str, Sequence[Float[Tensor, "..."]]] | None:
        """What tells it from other decoders under the same gate: words with all its numbers, and tensors; None if it
        does nothing."""
        return None

    @property
    def acts(self) -> Acts | None:
        """The same with its gate, as of an intervention: what an answer depends on."""
        gate = None if self.gate is None else self.gate.acts
        if self.does is None:
            return gate
        words, tensors = self.does
        parts = [*tensors, *([] if gate is None else [gate[1]])]
        flat = [part.detach().cpu().double().flatten() for part in parts]
        shapes = [tuple(part.shape) for part in parts]
        return f"{words} {shapes} {gate and gate[0]}", torch.cat([torch.zeros(1, dtype=torch.float64), *flat])

    def check(self, model: Hooked) -> None:
        """Raises an InputError unless it fits the model."""
        inner_model(model)  # which writes
        if self.gate is not None:
            self.gate.check(model)

    def worded(self, wording: Wording) -> Wording:
        """How prompts are put."""
        return wording

    def other(self, example: Example) -> Example | None:
        """What a second pass is shown beside the example, if that differs; None for no second pass of it, or one over
        the same prompt."""
        return None

    def distributions(self, model: Hooked) -> int:
        """How many distributions over all tokens it looks at for each token of a given answer (memory goes by it)."""
        return 0

    def acting(self, model: Hooked) -> AbstractContextManager[Any]:
        """Opened around every pass."""
        return nullcontext() if self.gate is None else self.gate.attach(model)

    @contextmanager
    def opened(
        self, model: Hooked, prompts: Sequence[PromptTokens], others: Sequence[PromptTokens | None], n_new: int
    ) -> Generator[LogitsProcessorList, None, None]:
        """While open, Hugging Face's `generate` of at most `n_new` tokens, given these processors, writes as the
        decoder does: once, after these prompts, padded on the left, in this order. `others[i]` is the prompt of
        `other`."""
        with self.acting(model):
            if self.does is None:
                yield LogitsProcessorList()
            else:
                with self.working(model, prompts, others, n_new) as processors:
                    yield processors

    @contextmanager
    def working(
        self, model: Hooked, prompts: Sequence[PromptTokens], others: Sequence[PromptTokens | None], n_new: int
    ) -> Generator[LogitsProcessorList, None, None]:
        """The same inside of its gate, of a decoder that does something."""
        yield LogitsProcessorList(self.processors(model, prompts, others, n_new))

    def processors(
        self, model: Hooked, prompts: Sequence[PromptTokens], others: Sequence[PromptTokens | None], n_new: int
    ) -> list[LogitsProcessor]:
        """What `working` gives, of a decoder that needs nothing else to be open."""
        return []

    def write(
        self,
        model: Hooked,
        prompts: Sequence[PromptTokens],
        others: Sequence[PromptTokens | None],
        n_new: int,
        watching: Sequence[LogitsProcessor] = (),
    ) -> list[list[int]]:
        """The tokens that are written behind each prompt. Processors that watch see what it chooses from."""
        ids, mask = pad_rows([row.ids for row in prompts], model, side="left")
        check = Finite(partial(check_finite, model=model, ids=ids, mask=mask, rows=prompts))
        with torch.no_grad(), greedy(model), self.opened(model, prompts, others, n_new) as processors:
            shown = image_arguments(model, ids, [row.image for row in prompts])
            every = LogitsProcessorList([check, *processors, *watching])
            more = {"attention_mask": mask, "max_new_tokens": n_new, "logits_processor": every}
            written = inner_model(model).generate(ids, **more, **shown)
        return written[:, ids.shape[1] :].tolist()

    def log_probs(
        self, model: Hooked, rows: Sequence[Encoded], others: Sequence[Encoded | None]
    ) -> Float[Tensor, " B"]:
        """Log-probability of each answer after its prompt, summed over its tokens, as it chooses them."""
        with torch.no_grad():
            return answer_log_probs(model, rows, lambda _: self.acting(model))


def checked_strength(strength: float, what: str) -> None:
    """Raises an InputError unless it is a finite number of 0 or more."""
    if not 0 <= strength < float("inf"):
        raise InputError(f"the strength of {what} is {strength}; it must be a finite number, 0 or more")
