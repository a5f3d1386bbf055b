"""Control gates: what a gate must beat before its scores can take the credit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate

_Values = Float[Tensor, "L H"]


class _Kind(NamedTuple):
    make: Callable[[_Values, Generator], _Values]
    draws: bool = True
    """So that several trials of it differ."""


def control_gate(kind: str, gate: HeadGate, seed: int) -> HeadGate:
    """A gate that shares something with `gate`, but not which head got which value.

    - `random`: 1 + U(-1, 1), TruthProbe's own control; it shares only the shape, and is usually much larger.
    - `permuted`: the gate's values shuffled among the heads of each layer.
    - `uniform`: each layer's mean gate for all its heads.
    - `inverse`: 2 - g, so that what was amplified is damped.
    - `norm-matched`: a random direction with the gate's own distance from 1 in each layer.

    >>> gate = lens_truth.HeadGate.from_scores(scores, lam=0.65, norm="minmax")
    >>> with lens_truth.control_gate("permuted", gate, seed=0).attach(model):
    ...     print(model.generate("The coral crown is in the attic.", max_new_tokens=5))

    Args:
        gate: of shape (layers, heads).
        seed: of the draw, in the kinds that draw (random, permuted, norm-matched).

    Raises:
        InputError: for another kind, or a gate with a batch axis.
    """
    if gate.values.ndim != 2:
        raise InputError("controls are made for one gate, not for a batch of them")
    check_control(kind)
    controlled = _KINDS[kind].make(gate.values, torch.Generator().manual_seed(seed))
    return HeadGate(controlled, gate.site, {**gate.provenance, "control": kind, "control_seed": seed})


def check_control(kind: str) -> None:
    """Raises an InputError for a control gate that there is not."""
    if kind not in CONTROLS:
        raise InputError(f"control '{kind}' is not one of {', '.join(CONTROLS)}")


def _random(values: _Values, draw: Generator) -> _Values:
    return 2 * torch.rand(values.shape, generator=draw)


def _permuted(values: _Values, draw: Generator) -> _Values:
    return values.gather(1, torch.rand(values.shape, generator=draw).argsort(1))


def _uniform(values: _Values, draw: Generator) -> _Values:
    return values.mean(1, keepdim=True).expand_as(values).clone()


def _inverse(values: _Values, draw: Generator) -> _Values:
    return 2 - values


def _norm_matched(values: _Values, draw: Generator) -> _Values:
    direction = torch.randn(values.shape, generator=draw)
    return 1 + direction * _norm(values - 1) / _norm(direction)


def _norm(values: _Values) -> Float[Tensor, "L 1"]:
    return cast("Tensor", values.norm(dim=1, keepdim=True))


_KINDS = {
    "random": _Kind(_random),
    "permuted": _Kind(_permuted),
    "uniform": _Kind(_uniform, draws=False),
    "inverse": _Kind(_inverse, draws=False),
    "norm-matched": _Kind(_norm_matched),
}
"""A new control is one function and one line here."""

CONTROLS = tuple(_KINDS)
DRAWN = tuple(kind for kind, its in _KINDS.items() if its.draws)
