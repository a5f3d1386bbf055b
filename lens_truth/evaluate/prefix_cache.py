"""Keys and values of a shared beginning, handed to every prompt that goes on from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


def rows_of(cache: DynamicCache, rows: Sequence[int], room: int) -> DynamicCache:
    """A copy of some rows, a row as often as it is named, with room for so many further tokens; `generate` writes into
    the cache that it is given."""
    copy = DynamicCache()
    layers: list[Any] = [_RoomyLayer(layer, rows, room) for layer in cache.layers]
    copy.layers = layers
    return copy


class _RoomyLayer(DynamicLayer):
    """Some rows of a layer's keys and values, with room for what follows.

    Hugging Face's own layer copies all of it for every new token, which on a long beginning takes most of the time.
    """

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
    for row, source in enumerate(rows):  # row by row, since an indexed copy would make another one
        roomy[row, :, :length] = states[source]
    return roomy
