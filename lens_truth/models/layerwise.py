"""Layers one by one: each is given what it was given in another pass, or in another row, so that what layers before it
did differently, be it rounding alone, is not made larger by those behind. A mixture of experts needs that, where
rounding now and then sends a token to another expert."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from lens_truth.models.hooks import Hooked, hook_names

Given = Callable[[int, Tensor], Tensor]
"""What a layer is given, from its number and the residual stream that would enter it."""


class Seen(NamedTuple):
    """What every layer was given, and what passed the hook that is looked at: [batch, pos, ...], also where a model
    carries several streams and puts them first."""

    entered: list[Tensor]
    passed: list[Tensor]


@contextmanager
def layer_by_layer(
    model: Hooked, kind: str, given: Given = lambda layer, stream: stream
) -> Generator[Seen, None, None]:
    """While open, every layer works on what it is given, and one kind of hook is recorded."""
    seen, shape = Seen([], []), list[int]()

    def embedded(value: Tensor, hook: Any) -> None:
        shape[:] = value.shape[:2]

    def enter(layer: int, stream: Tensor, hook: Any) -> Tensor:
        axes = _batch_and_pos(stream, shape)
        stream = given(layer, stream.movedim(axes, (0, 1)))
        seen.entered.append(stream.clone())
        return stream.movedim((0, 1), axes).contiguous()

    def leave(value: Tensor, hook: Any) -> None:
        seen.passed.append(batch_first(value, shape))

    hooks: list[Any] = [(name, partial(enter, layer)) for layer, name in enumerate(hook_names(model, "hook_resid_pre"))]
    hooks += [(name, leave) for name in hook_names(model, kind)]
    with model.hooks(fwd_hooks=[("hook_embed", embedded), *hooks]):
        yield seen


def batch_first(stream: Tensor, shape: Sequence[int]) -> Tensor:
    """What passes between layers as [batch, pos, ...], from the shape of the token ids."""
    return stream.movedim(_batch_and_pos(stream, shape), (0, 1))


def _batch_and_pos(stream: Tensor, shape: Sequence[int]) -> tuple[int, int]:
    """The axes of batch and position: the first ones, or behind one of streams."""
    return (0, 1) if list(stream.shape[:2]) == list(shape) or stream.ndim < 4 else (1, 2)


def as_first_row(layer: int, stream: Float[Tensor, "B T *M"]) -> Float[Tensor, "B T *M"]:
    """Gives every row of a batch what the first is given."""
    return stream[:1].expand_as(stream)
