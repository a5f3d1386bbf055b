"""`SecondPass`: another pass over each row beside the one that writes, token by token, with keys and values of its
own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor

from lens_truth.models.batches import logits_only
from lens_truth.models.finite import check_finite
from lens_truth.models.image_input import IMAGE_KINDS
from lens_truth.models.prompts import PromptTokens
from lens_truth.models.sharing import Begun, Sharing, shared_families, shares_beginnings

Mixed = Callable[[Float[Tensor, "B V"], Float[Tensor, "B V"]], Float[Tensor, "B V"]]


class SecondPass(LogitsProcessor):
    """Gives `generate` what is mixed of its own logits and those of a second pass over other prompts. Rows without one
    keep their own to the last bit."""

    def __init__(
        self,
        model: Any,
        prompts: Sequence[PromptTokens | None],
        n_new: int,
        mixed: Mixed,
        acting: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        """`acting` is opened around every second pass, inside of what acts on the first."""
        self._model, self._mixed, self._acting, self._n_new = model, mixed, acting, n_new
        self._rows = [i for i, prompt in enumerate(prompts) if prompt is not None]
        self._prompts = [prompt for prompt in prompts if prompt is not None]
        self._parts: list[_Part] | None = None
        if self._rows:
            shares_beginnings(model)  # is measured once, and not while the second pass is something else

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """One step."""
        if not self._rows:
            return scores
        with torch.no_grad(), own_positions(self._model), self._acting():
            if self._parts is None:
                self._parts = list(self._begun())
            else:
                for part in self._parts:
                    part.go_on(input_ids[[self._rows[at] for at in part.at], -1:])
            other = torch.empty_like(scores[: len(self._rows)])
            for part in self._parts:
                logits = part.logits(self._model)
                batch = part.batch
                check_finite(logits.amax(1), self._model, batch.ids, batch.mask, batch.rows)
                other[part.at] = logits.to(other)
        if len(self._rows) == len(scores):
            return self._mixed(scores, other)
        result = scores.clone()
        result[self._rows] = self._mixed(scores[self._rows], other)
        return result

    def _begun(self) -> Generator[_Part, None, None]:
        lengths = [len(prompt.ids) + self._n_new for prompt in self._prompts]
        families = shared_families(self._model, self._prompts, lengths, alone=True)
        sharing = Sharing(self._model, self._prompts, rooms=[self._n_new])
        for batch in sharing.batches(families, [""], len(self._prompts)):
            yield _Part([row for _, row in batch.at], batch)


@dataclass
class _Part:
    """Rows that go on together."""

    at: list[int]
    batch: Begun

    def logits(self, model: Any) -> Float[Tensor, "b V"]:
        """Of the last token."""
        batch = self.batch
        more = {**logits_only(model, 1), **batch.given}
        return model.original_model(batch.rest, attention_mask=batch.mask, **more).logits[:, -1]

    def go_on(self, token: Int[Tensor, "b 1"]) -> None:
        """Takes one more token; where rows kept keys and values, it alone goes through the model next."""
        batch = self.batch
        ids = torch.cat([batch.ids, token.to(batch.ids)], 1)
        mask = torch.cat([batch.mask, torch.ones_like(batch.mask[:, :1])], 1)
        given = dict(batch.given)
        if "past_key_values" not in given:  # every token goes through it again
            for name in IMAGE_KINDS:
                if (kinds := given.get(name)) is not None:
                    given[name] = torch.cat([kinds, torch.zeros_like(kinds[:, :1])], 1)
            self.batch = replace(batch, ids=ids, mask=mask, new=ids.shape[1], given=given)
            return
        if "position_ids" in given:
            given["position_ids"] = given["position_ids"][..., -1:] + 1
        self.batch = replace(batch, ids=ids, mask=mask, new=1, given=given)


@contextmanager
def own_positions(model: Any) -> Generator[None, None, None]:
    """While open, what a model notes about positions behind an image (Qwen-VL) is noted for this pass alone."""
    inner: Any = getattr(model.original_model, "model", None)
    kept = getattr(inner, "rope_deltas", None)
    try:
        yield
    finally:
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = kept
