"""Heads by hand: the weights that they reach, multiplied there; and what lies between attention and z."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from architectures.watch import Seen, watched
from jaxtyping import Float
from torch import Tensor, nn

_LOUDER = 1.7


def names_of(hf: Any, seen: list[Seen]) -> list[str]:
    """The weight that each attention reaches; of one that several layers share, another of its names each time."""
    names = [(name, parameter) for name, parameter in hf.named_parameters(remove_duplicate=False)]
    found: list[str] = []
    for event in seen:
        found.append(next(name for name, parameter in names if parameter is event.weight and name not in found))
    return found


@contextmanager
def by_hand(hf: Any, weights: list[str], seen: list[Seen], gate: Float[Tensor, "L H"]) -> Generator[None, None, None]:
    """While open, each head's part of the weights behind its attention is multiplied."""
    modules = [(hf.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in weights]
    old = [getattr(module, name) for module, name in modules]
    for (module, name), parameter, event, factors in zip(modules, old, seen, gate, strict=True):
        setattr(module, name, nn.Parameter(scaled(event, parameter, factors), requires_grad=False))
    try:
        yield
    finally:
        for (module, name), parameter in zip(modules, old, strict=True):
            setattr(module, name, parameter)


def of_heads(out: Tensor, n_heads: int) -> Tensor:
    """[batch, head, pos, width], where heads may lie in one axis with the batch."""
    return out.unflatten(0, (-1, n_heads)) if out.ndim == 3 else out


def kv_heads(event: Seen, n_heads: int) -> int:
    """How many of the value heads are not the same as one before."""
    values = event.values.unflatten(0, (-1, n_heads)) if event.values.ndim == 3 else event.values
    return len({str(head.tolist()) for head in values[-1]})


def scaled(event: Seen, weight: Tensor, gate: Float[Tensor, " H"]) -> Tensor:
    """A weight with each head's columns (rows of a Conv1D) times its gate."""
    assert event.inputs is not None
    factor = gate.repeat_interleave(event.inputs.shape[-1] // len(gate)).to(weight.dtype)
    return weight.detach() * (factor[:, None] if event.transposed else factor)


def times(n_heads: int, head: int, factor: float) -> Callable[[Tensor], Tensor]:
    def scale(out: Tensor) -> Tensor:
        changed = of_heads(out, n_heads).clone()
        changed[:, head] *= factor
        return changed.reshape(out.shape)

    return scale


def kind_of_z(hf: Any, given: dict[str, Tensor], seen: list[Seen], z: list[Tensor]) -> str:
    """What lies between the attention and z: nothing, a gate, a norm of each head, a norm over all heads; or `mixed`,
    where a head's attention reaches others' z."""
    if all(torch.equal(of_heads(e.out, part.shape[2]).transpose(1, 2), part) for e, part in zip(seen, z, strict=True)):
        return "plain"
    kinds: set[str] = set()
    for layer, part in enumerate(z):
        n_heads = part.shape[2]
        _, again = watched(hf, given, {layer: times(n_heads, n_heads - 1, _LOUDER)})
        inputs = again[layer].inputs
        assert inputs is not None
        ratio = inputs.reshape(part.shape) / part
        others, own = ratio[..., :-1, :], ratio[..., -1:, :]
        if torch.allclose(others, torch.ones_like(others), atol=1e-3):
            kinds.add("gated" if torch.allclose(own, torch.full_like(own, _LOUDER), atol=1e-3) else "normed")
        else:
            kinds.add("normed together" if (others.flatten(2).std(-1) < 1e-3).all() else "mixed")
    return kinds.pop() if len(kinds) == 1 else "mixed"
