"""Rows that begin alike: what they have in common goes through the model once, and each goes on from a copy of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache

from lens_truth.models.batches import logits_only, pad_rows, random_words, takes, without_cache
from lens_truth.models.budget import PASS
from lens_truth.models.hooks import attention_layers, sliding_windows
from lens_truth.models.image_input import image_arguments
from lens_truth.models.prefixes import Family, prompt_families, rows_of
from lens_truth.models.prompts import PromptTokens

Place = tuple[str, int]
"""The name of what a row runs under (a gate's), and the row's number."""
_SHARES: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


@dataclass(frozen=True)
class Begun:
    """Some rows, each under its name, whose common beginnings have gone through the model."""

    at: tuple[Place, ...]
    """Of each row."""
    rows: tuple[PromptTokens, ...]
    """As they were given."""
    ids: Int[Tensor, "B T"]
    """Beginnings too."""
    mask: Int[Tensor, "B T"]
    new: int
    """So many tokens at the end have not gone through the model."""
    shift: tuple[int, ...]
    """What is added to the position of a row's token for its place among these."""
    more: dict[str, Any]
    """What `generate` is given beside `ids` and mask: the cache and positions, or the images."""
    given: dict[str, Any]
    """What the model is given beside `rest` and mask for a pass that is not generation."""

    @property
    def rest(self) -> Int[Tensor, "B new"]:
        """The tokens that have not gone through the model."""
        return self.ids[:, self.ids.shape[1] - self.new :]


@dataclass(frozen=True)
class Sharing:
    """How rows go through a model from what they share."""

    model: Any
    rows: Sequence[PromptTokens]
    attach: Callable[[Sequence[Place]], AbstractContextManager[Any]] = lambda places: nullcontext()
    """Opened around the pass of beginnings: what acts on the row of each place (a gate)."""
    kinds: Sequence[int] = ()
    """Of rows, if they are of several; a batch holds one."""
    rooms: Sequence[int] = (0,)
    """For each kind how many tokens will be written behind a row: its rows are padded on the left then, else on the
    right."""

    def batches(self, families: Sequence[Family], names: Sequence[str], at_once: int) -> Iterator[Begun]:
        """Every row of some families under every name, once, at most `at_once` rows at a time."""
        for begun, shown in product((True, False), (True, False)):
            some = [f for f in families if (f.length > 0) == begun and bool(self.rows[f.rows[0]].image) == shown]
            if some:
                yield from self._batches(some, names, max(1, at_once // len(names)))

    def _batches(self, families: Sequence[Family], names: Sequence[str], at_once: int) -> Iterator[Begun]:
        """All families have a beginning or none has, and so it is with images."""
        heads = [self.rows[family.rows[0]] for family in families for _ in names]
        lengths = [family.length for family in families for _ in names]
        begun = [row.ids[:length] for row, length in zip(heads, lengths, strict=True)]
        ids, mask = pad_rows(begun, self.model, side="right")
        shared = None
        if ids.shape[1]:
            at = [(name, family.rows[0]) for family in families for name in names]
            shared = self._prefilled(ids, mask, [row.image for row in heads], at)
        asked = [(number, row) for number, family in enumerate(families) for row in family.rows]
        for kind, room in enumerate(self.rooms):
            of_kind = [place for place in asked if not self.kinds or self.kinds[place[1]] == kind]
            rest = [len(self.rows[row].ids) - families[number].length for number, row in of_kind]
            for batch in _by_length(rest, at_once, even=room == 0):
                rows = [of_kind[i] for i in batch]
                first = [number * len(names) + g for number, _ in rows for g in range(len(names))]
                tails = [self.rows[row].ids[families[number].length :] for number, row in rows for _ in names]
                tail, tail_mask = pad_rows(tails, self.model, side="left" if room else "right")
                whole, width = (torch.cat([ids[first], tail], 1), torch.cat([mask[first], tail_mask], 1)), tail.shape[1]
                if shared is None:
                    more = image_arguments(self.model, whole[0], [heads[row].image for row in first])
                    given = {**without_cache(self.model), **more}
                else:
                    cache, turn = shared
                    copied = {"past_key_values": rows_of(cache, first, width + room)}
                    positions = self._positions(whole[1], turn[first])
                    more = {**copied, **positions}
                    given = {**copied, **{name: its[:, -width:] for name, its in positions.items()}}
                shift = [(width - len(its) if room else 0) - lengths[f] for its, f in zip(tails, first, strict=True)]
                at = tuple((name, row) for _, row in rows for name in names)
                yield Begun(at, tuple(self.rows[row] for _, row in at), *whole, width, tuple(shift), more, given)

    def _positions(self, mask: Int[Tensor, "B T"], turn: Int[Tensor, "B 1"]) -> dict[str, Tensor]:
        if not takes(self.model, "position_ids"):
            return {}
        return {"position_ids": (mask.cumsum(1) - 1).clamp(min=0) + turn}

    def _prefilled(
        self, ids: Int[Tensor, "B T"], mask: Int[Tensor, "B T"], images: Sequence[str], at: Sequence[Place]
    ) -> tuple[DynamicCache, Int[Tensor, "B 1"]]:
        """Keys and values of beginnings, and what is added to the positions of all tokens behind them."""
        hf, cache, shown = self.model.original_model, DynamicCache(), image_arguments(self.model, ids, images)
        with self.attach(at):
            more = {**logits_only(self.model, 1), **shown}
            hf(ids, attention_mask=mask, past_key_values=cache, use_cache=True, **more)
        # Qwen's positions count an image by its sides, not by its tokens; how much less that is, the model has noted.
        turn = getattr(hf.model, "rope_deltas", None) if shown else None
        return cache, ids.new_zeros(len(ids), 1) if turn is None else turn.to(ids)


def shared_families(
    model: Any,
    prompts: Sequence[PromptTokens],
    lengths: Sequence[int],
    sets: Sequence[Sequence[int]] = (),
    *,
    alone: bool = False,
) -> list[Family]:
    """Which rows go through the model together: `prompts[i]` is that beginning of row i whose tokens but the last may
    be shared, `lengths[i]` how many tokens the whole row will have. Rows of different `sets` share nothing (by default
    there is one). If `alone`, a row that shares nothing has a beginning of its own, all but the last token of its
    prompt, whose copy has room for what will be written.

    Rows that a sliding window would keep from seeing all before them share nothing: a window counts the padding between
    a shared beginning and what follows it as tokens.
    """
    sets = sets or [range(len(prompts))]
    if not shares_beginnings(model):
        return [Family((row,), 0) for rows in sets for row in rows]
    families = [
        Family(tuple(rows[i] for i in family.rows), family.length)
        for rows in sets
        for family in prompt_families([prompts[row] for row in rows], alone)
    ]
    window = min((window for window in sliding_windows(model) if window is not None), default=None)
    if window is None:
        return families
    behind = max((lengths[row] - f.length for f in families if f.length for row in f.rows), default=0)
    fits = [family.length + behind <= window for family in families]
    long = [Family((row,), 0) for family, fit in zip(families, fits, strict=True) if not fit for row in family.rows]
    return [family for family, fit in zip(families, fits, strict=True) if fit] + long


def shares_beginnings(model: Any) -> bool:
    """Whether rows can go on from copies of keys and values of their beginning: all layers keep such, of all tokens,
    and what comes out is measured to be that of the whole row (once a model, on a few random words)."""
    hf = getattr(model, "original_model", None)
    if hf is None or not hf._supports_default_dynamic_cache() or len(attention_layers(model)) < model.cfg.n_layers:
        return False
    if model not in _SHARES:
        _SHARES[model] = _measured(model)
    return _SHARES[model]


def shares_as(twin: Any, model: Any) -> Any:
    """The twin of a model, with the same modules, of which the same is known then."""
    _SHARES[twin] = shares_beginnings(model)
    return twin


def _measured(model: Any) -> bool:
    words = random_words(model, 14, seed=1)
    rows = [PromptTokens(words), PromptTokens([*words[:9], *words[:3]]), PromptTokens([*words[5:12], *words[:2]])]
    families = [Family((0, 1), 9), Family((2,), 7)]
    hf: Any = model.original_model
    try:
        with torch.no_grad():
            (batch,) = Sharing(model, rows).batches(families, [""], len(rows))
            shared = hf(batch.rest, attention_mask=batch.mask, **batch.given).logits
            for at, (_, row) in enumerate(batch.at):
                ids, mask = pad_rows([rows[row].ids], model)
                alone = hf(ids, attention_mask=mask, **without_cache(model)).logits[0, -1]
                there = shared[at, len(rows[row].ids) - 1 + batch.shift[at]]
                spread = (alone.float() - alone.float().mean()).norm()
                tolerance = 1e-3 if alone.dtype == torch.float32 else 0.05
                if not bool((there.float() - alone.float()).norm() <= tolerance * spread):
                    return False
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError):
        return False  # with a cache of its own, or none
    return True


def _by_length(lengths: Sequence[int], at_once: int, even: bool) -> Iterator[list[int]]:
    """Rows in batches, the longest first; if `even`, short rows are not padded to the length of long ones where
    another pass costs less."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    batch: list[int] = []
    for place, row in enumerate(order):
        if batch:
            saved = (lengths[batch[0]] - lengths[row]) * min(at_once, len(order) - place)
            if len(batch) == at_once or (even and saved > PASS):
                yield batch
                batch = []
        batch.append(row)
    if batch:
        yield batch
