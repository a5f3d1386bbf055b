"""Control gates: what a gate must beat before its scores can take the credit."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate

Control = Literal["random", "permuted", "uniform", "inverse", "norm-matched"]

CONTROLS: tuple[Control, ...] = get_args(Control)
DRAWN: tuple[Control, ...] = ("random", "permuted", "norm-matched")
"""Controls that draw, so that several trials of them differ."""


def control_gate(kind: Control, gate: HeadGate, seed: int) -> HeadGate:
    """A gate that shares something with `gate`, but not which head got which value.

    - `random`: 1 + U(-1, 1), TruthProbe's own control; it shares only the shape, and is usually much larger.
    - `permuted`: the gate's values shuffled among the heads of each layer.
    - `uniform`: each layer's mean gate for all its heads.
    - `inverse`: 2 - g, so that what was amplified is damped.
    - `norm-matched`: a random direction with the gate's own distance from 1 in each layer.

    Raises:
        InputError: for another kind, or a gate with a batch axis.
    """
    if gate.values.ndim != 2:
        raise InputError("controls are made for one gate, not for a batch of them")
    draw = torch.Generator().manual_seed(seed)
    values = gate.values
    if kind == "random":
        controlled = 2 * torch.rand(values.shape, generator=draw)
    elif kind == "permuted":
        controlled = values.gather(1, torch.rand(values.shape, generator=draw).argsort(1))
    elif kind == "uniform":
        controlled = values.mean(1, keepdim=True).expand_as(values).clone()
    elif kind == "inverse":
        controlled = 2 - values
    elif kind == "norm-matched":
        direction = torch.randn(values.shape, generator=draw)
        controlled = 1 + direction * _norm(values - 1) / _norm(direction)
    else:
        raise InputError(f"control '{kind}' is not one of {', '.join(get_args(Control))}")
    return HeadGate(controlled, gate.site, {**gate.provenance, "control": kind, "control_seed": seed})


def _norm(values: Float[Tensor, "L H"]) -> Float[Tensor, "L 1"]:
    return cast("Tensor", values.norm(dim=1, keepdim=True))
