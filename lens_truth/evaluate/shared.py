"""Rows under many gates at once: what rows have in common at their beginning goes through the model once a gate."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache

from lens_truth.evaluate.prefixes import Family, prompt_families, rows_of
from lens_truth.gates.gate import Gates, attach_rows
from lens_truth.models.batches import check_batch_size, length_batches, logits_only, pad_rows, rows_at_once
from lens_truth.models.hooks import inner_model, sliding_windows
from lens_truth.models.image_input import image_arguments
from lens_truth.models.prompts import PromptTokens

Place = tuple[str, int]
"""A gate's name and the number of a row under it."""
LOGITS_AT_ONCE = 1 << 25
"""Numbers in the logits of one forward pass, of which a few copies are made: 128 MB each in float32."""


@dataclass(frozen=True)
class Limits:
    """How much goes through the model at once."""

    batch_size: int
    """The most rows (gates x prompts), fewer if they are long."""
    new_tokens: int = 0
    """What will be written behind a row."""
    known: Collection[Place] = ()
    """Batches that hold nothing else are passed over. The others are as they would be if nothing were known, so that a
    run which goes on gives the same numbers to the last bit."""

    def wanted(self, gates: Sequence[str], rows: Sequence[int]) -> bool:
        """Whether something is not known yet."""
        return any(place not in self.known for place in product(gates, rows))

    def rows(self, longest: int, vocabulary: int) -> int:
        """Of at most so many tokens, of each of which the logits of one are wanted at once."""
        return max(1, min(rows_at_once(longest, self.batch_size), LOGITS_AT_ONCE // vocabulary))


@dataclass(frozen=True)
class Begun:
    """Some rows, padded on the left, each under a gate; the beginning has gone through the model."""

    at: tuple[Place, ...]
    """Gate and number of each row."""
    rows: tuple[PromptTokens, ...]
    """As they were given."""
    ids: Int[Tensor, "B T"]
    """Beginnings too."""
    mask: Int[Tensor, "B T"]
    new: int
    """So many tokens at the end have not gone through the model."""
    more: dict[str, Any]
    """What the model wants to be given beside ids and mask: the cache and positions, or the images."""

    @property
    def gates(self) -> list[str]:
        """Of each row."""
        return [gate for gate, _ in self.at]


def begun_batches(
    model: Any, rows: Sequence[PromptTokens], prompts: Sequence[PromptTokens], gates: Gates, limits: Limits
) -> Iterator[Begun]:
    """Every row under every gate, once. `prompts[i]` is that beginning of `rows[i]` whose tokens but the last may go
    through the model beforehand, with others that begin so (an instruction, a scene or an image with several questions,
    a question with several answers)."""
    check_batch_size(limits.batch_size)
    longest = max((len(row.ids) for row in rows), default=0) + limits.new_tokens
    windows = [window for window in sliding_windows(model) if window is not None]
    if not inner_model(model)._supports_default_dynamic_cache() or longest > min(windows, default=longest):
        # MiniMax wants a cache of its own, whose rows cannot be copied. A sliding window counts the padding between a
        # shared beginning and what follows it as tokens.
        families = [Family((row,), 0) for row in range(len(rows))]
    else:
        families = prompt_families(prompts)
    names, most = list(gates), limits.rows(longest, model.cfg.d_vocab)
    for start in range(0, len(names), most):
        chunk = names[start : start + most]
        sharer = _Sharer(model, {name: gates[name] for name in chunk}, limits, max(1, most // len(chunk)))
        for begun, shown in product((True, False), (True, False)):
            some = [f for f in families if (f.length > 0) == begun and bool(prompts[f.rows[0]].image) == shown]
            for batch in length_batches([len(prompts[family.rows[0]].ids) for family in some], sharer.at_once):
                if limits.wanted(chunk, [row for i in batch for row in some[i].rows]):
                    yield from sharer.batches(rows, [some[i] for i in batch])


@dataclass(frozen=True)
class _Sharer:
    """What all batches under the same gates share."""

    model: Any
    gates: Gates
    limits: Limits
    at_once: int
    """Rows of one gate."""

    def batches(self, rows: Sequence[PromptTokens], families: Sequence[Family]) -> Iterator[Begun]:
        """Some families; all have a beginning or none has, and so it is with images."""
        names = list(self.gates)
        firsts = [rows[family.rows[0]] for family in families for _ in names]
        lengths = [family.length for family in families for _ in names]
        begun = [first.ids[:length] for first, length in zip(firsts, lengths, strict=True)]
        images = [first.image for first in firsts]
        ids, mask = pad_rows(begun, self.model, side="right")
        shared = self._prefill(ids, mask, images, names * len(families)) if ids.shape[1] else None
        asked = [(number, row) for number, family in enumerate(families) for row in family.rows]
        rest = [rows[row].ids[families[number].length :] for number, row in asked]
        for batch in length_batches([len(tokens) for tokens in rest], self.at_once):
            if not self.limits.wanted(names, [asked[i][1] for i in batch]):
                continue
            begun_in = [asked[i][0] * len(names) + g for i in batch for g in range(len(names))]
            tail, tail_mask = pad_rows([rest[i] for i in batch for _ in names], self.model, side="left")
            whole = torch.cat([ids[begun_in], tail], 1), torch.cat([mask[begun_in], tail_mask], 1)
            if shared is None:
                more = image_arguments(self.model, whole[0], [images[row] for row in begun_in])
            else:
                cache, shift = shared
                positions = (whole[1].cumsum(1) - 1).clamp(min=0) + shift[begun_in]
                copied = rows_of(cache, begun_in, tail.shape[1] + self.limits.new_tokens)
                more = {"past_key_values": copied, "position_ids": positions}
            at = tuple((name, asked[i][1]) for i in batch for name in names)
            yield Begun(at, tuple(rows[row] for _, row in at), *whole, tail.shape[1], more)

    def _prefill(
        self, ids: Int[Tensor, "B T"], mask: Int[Tensor, "B T"], images: Sequence[str], names: Sequence[str]
    ) -> tuple[DynamicCache, Int[Tensor, "B 1"]]:
        """Keys and values of beginnings, and what is added to the positions of all tokens behind them."""
        hf, cache, shown = inner_model(self.model), DynamicCache(), image_arguments(self.model, ids, images)
        with torch.no_grad(), attach_rows(self.model, [self.gates[name] for name in names]):
            more = {**logits_only(self.model, 1), **shown}
            hf(ids, attention_mask=mask, past_key_values=cache, use_cache=True, **more)
        # Qwen's positions count an image by its sides, not by its tokens; how much less that is, the model has noted.
        shift = getattr(hf.model, "rope_deltas", None) if shown else None
        return cache, ids.new_zeros(len(ids), 1) if shift is None else shift.to(ids)
