"""Which prompts share a beginning long enough to be worth computing once, and what of it each goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lens_truth.models.prompts import PromptTokens

_WORTH = 0.1
"""Of the tokens of a family, the share that must be saved: less does not pay for the copies of keys and values."""
_COMPARED = 1024
"""Prompts among which the best cut is sought: the time goes by the square."""


@dataclass(frozen=True)
class Family:
    """Prompts with a common beginning of so many tokens; at least one token of every prompt lies behind it."""

    rows: tuple[int, ...]
    length: int


def prompt_families(prompts: Sequence[PromptTokens], alone: bool = False) -> list[Family]:
    """Partition of the prompts into families, so that computing each beginning once saves many tokens; a prompt that
    shares too little is a family of its own, which begins with nothing, or if `alone` with all but its last token.

    A family has one image at most, and its beginning holds the whole of it with the token that closes it (from which
    Qwen2.5-Omni counts on): nothing that follows needs pixels.
    """
    by_image: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_image.setdefault(prompt.image, []).append(row)
    families: list[Family] = []
    for rows in by_image.values():
        for family in token_families([prompts[row].ids for row in rows]):
            members = tuple(rows[i] for i in family.rows)
            worth = (len(members) - 1) * family.length > _WORTH * sum(len(prompts[row].ids) for row in members)
            if worth and _holds_image(prompts[members[0]], family.length):
                families.append(Family(members, family.length))
            else:  # they share little, or part before the image
                own = {row: len(prompts[row].ids) - 1 if alone else 0 for row in members}
                families += [Family((row,), n if _holds_image(prompts[row], n) else 0) for row, n in own.items()]
    return families


def _holds_image(prompt: PromptTokens, length: int) -> bool:
    return prompt.image_span is None or prompt.image_span[1] < length


def token_families(prompts: Sequence[Sequence[int]]) -> list[Family]:
    """The same for token ids alone: of all ways to cut their sorted order into families the one that saves most (of
    each thousand prompts)."""
    order = sorted(range(len(prompts)), key=lambda row: list(prompts[row]))
    families: list[Family] = []
    for start in range(0, len(order), _COMPARED):
        some = order[start : start + _COMPARED]
        families += [Family(tuple(some[a:b]), n) for a, b, n in _best_cut([prompts[row] for row in some])]
    return families


def _best_cut(ranked: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """First prompt, one past the last, and length of the beginning of each family. What a family shares is the least
    that neighbours in it share, and the best cut up to each prompt follows from the best cuts before it."""
    n = len(ranked)
    saved = np.zeros(n + 1, dtype=np.int64)  # by the best cut of the first so many prompts
    start, length = np.zeros(n + 1, dtype=np.int64), np.zeros(n + 1, dtype=np.int64)  # of its last family
    common = np.zeros(n, dtype=np.int64)  # what the prompts from each one up to the present one share
    for stop in range(1, n + 1):
        common[stop - 1] = len(ranked[stop - 1]) - 1
        if stop > 1:
            common[: stop - 1] = np.minimum(common[: stop - 1], _shared(ranked[stop - 2], ranked[stop - 1]))
        gains = saved[:stop] + np.arange(stop - 1, -1, -1) * common[:stop]
        first = stop - 1 - int(gains[::-1].argmax())  # of equals the smallest family
        saved[stop], start[stop], length[stop] = gains[first], first, common[first]
    cuts: list[tuple[int, int, int]] = []
    stop = n
    while stop:
        cuts.append((int(start[stop]), stop, int(length[stop])))
        stop = int(start[stop])
    return cuts[::-1]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning, leaving at least one token of each."""
    pairs = zip(one[:-1], other[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def rows_of(cache: DynamicCache, rows: Sequence[int], room: int) -> DynamicCache:
    """A copy of some rows, with room for so many further tokens; a model writes into the cache that it is given. Where
    gradients are taken, nothing is written into, and they flow back to the rows."""
    copy = DynamicCache()
    make = _grown if torch.is_grad_enabled() else _RoomyLayer
    layers: list[Any] = [make(layer, rows, room) for layer in cache.layers]
    copy.layers = layers
    return copy


def _grown(layer: Any, rows: Sequence[int], room: int) -> DynamicLayer:
    grown = DynamicLayer()
    grown.lazy_initialization(layer.keys, layer.values)
    index = torch.tensor(rows, device=layer.keys.device)
    grown.keys, grown.values = layer.keys.index_select(0, index), layer.values.index_select(0, index)
    return grown


class _RoomyLayer(DynamicLayer):
    """Some rows of a layer's keys and values, with room for what follows: Hugging Face's own layer copies all of it for
    every new token, which on a long beginning takes most of the time."""

    def __init__(self, layer: Any, rows: Sequence[int], room: int) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self._length = layer.keys.shape[2]
        self._keys, self._values = (_with_room(states, rows, room) for states in (layer.keys, layer.values))
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        start, self._length = self._length, self._length + key_states.shape[2]
        self._keys[:, :, start : self._length] = key_states
        self._values[:, :, start : self._length] = value_states
        return self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = self._keys[:, :, : self._length], self._values[:, :, : self._length]
        self.keys, self.values = keys, values
        return keys, values


def _with_room(states: Float[Tensor, "B H T D"], rows: Sequence[int], room: int) -> Float[Tensor, "R H T_room D"]:
    _, heads, length, width = states.shape
    roomy = states.new_empty(len(rows), heads, length + room, width)
    if states.device.type != "cpu":  # where every call is waited for
        roomy[:, :, :length] = states[torch.tensor(rows, device=states.device)]
        return roomy
    for row, source in enumerate(rows):  # row by row, since an indexed copy would make another one
        roomy[row, :, :length] = states[source]
    return roomy
