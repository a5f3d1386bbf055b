"""Control gates: what a gate must beat before its scores can take the credit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate, Site

_Values = Float[Tensor, "L H"]


def _norm_matched(values: _Values, draw: Generator, centred: bool = False) -> _Values:
    direction = torch.randn(values.shape, generator=draw)
    direction = direction - direction.mean(1, keepdim=True) if centred else direction
    wanted, drawn = (cast("Tensor", of.norm(dim=1, keepdim=True)) for of in (values - 1, direction))
    return 1 + direction * wanted / drawn.clamp(min=torch.finfo(values.dtype).tiny)


def _mean(values: _Values) -> Float[Tensor, "L 1"]:
    """Of each layer, to six decimals: that of a centred gate is exactly 1, not 1 but for rounding."""
    return values.double().mean(1, keepdim=True).round(decimals=6).to(values)


_KINDS: dict[str, Callable[[_Values, Generator], _Values]] = {
    "random": lambda values, draw: 2 * torch.rand(values.shape, generator=draw),
    "permuted": lambda values, draw: values.gather(1, torch.rand(values.shape, generator=draw).argsort(1)),
    "uniform": lambda values, _: _mean(values).expand_as(values).clone(),
    "inverse": lambda values, _: 2 - values,
    "norm-matched": _norm_matched,
}
CONTROLS = tuple(_KINDS)
DRAWN = ("random", "permuted", "norm-matched")
"""Controls that draw, so that several trials of them differ."""


def control_gate(kind: str, gate: HeadGate, seed: int, acts: Sequence[bool] = ()) -> HeadGate:
    """A gate that shares something with `gate`, but not which head got which value.

    - `random`: 1 + U(-1, 1), TruthProbe's own control; it shares only the shape, and is usually much larger.
    - `permuted`: the gate's values shuffled among the heads of each layer.
    - `uniform`: each layer's mean gate for all its heads.
    - `inverse`: 2 - g, so that what was amplified is damped.
    - `norm-matched`: a random direction with the gate's own distance from 1 in each layer. Where a norm undoes a gain
      that all heads of a layer share (`acts`), `uniform` does nothing and a gate is what it is relative to its layer's
      mean: there the direction sums to zero, and its distance is the gate's own from that mean.

    >>> gate = lens_truth.HeadGate.from_scores(scores, lam=0.65, norm="minmax")
    >>> with lens_truth.control_gate("permuted", gate, seed=0).attach(model):
    ...     print(model.generate("The coral crown is in the attic.", max_new_tokens=5))

    Args:
        gate: of shape (layers, heads).
        seed: of the draw, in the kinds that draw (random, permuted, norm-matched).
        acts: for each layer, whether one gain for all of its heads does anything; by default it does.

    Raises:
        InputError: for another kind, or a gate with a batch axis.
    """
    if gate.values.ndim != 2:
        raise InputError("controls are made for one gate, not for a batch of them")
    check_control(kind)
    draw = torch.Generator().manual_seed(seed)
    controlled = _KINDS[kind](gate.values, draw)
    if kind == "norm-matched" and not all(acts):
        means = gate.values.mean(1, keepdim=True).abs().clamp(min=0.1)
        relative = _norm_matched(gate.values / means, draw, centred=True)
        controlled = torch.where(torch.tensor(acts)[:, None], controlled, relative)
    return HeadGate(controlled, gate.site, {**gate.provenance, "control": kind, "control_seed": seed})


def contrast_gate(acts: Sequence[bool], n_heads: int, strength: float, seed: int, site: Site = "z") -> HeadGate:
    """A gate of one parameter that knows no scores: every head 1 + `strength` in layers where a gain for all heads
    acts; in the others a random direction that sums to zero, at the same distance from 1.

    One gain for all heads is the plainest gate there is, and what a gate by scores has to beat first. Behind a norm it
    changes nothing, and to beat it would be to beat nothing; there the plainest gate that acts tells heads apart, and
    one that knows nothing of them does it at random.
    """
    gains = torch.full((len(acts), n_heads), 1 + strength)
    drawn = _norm_matched(gains, torch.Generator().manual_seed(seed), centred=True)
    return HeadGate(torch.where(torch.tensor(acts)[:, None], gains, drawn), site)


def check_control(kind: str) -> None:
    """Raises an InputError for a control gate that there is not."""
    if kind not in CONTROLS:
        raise InputError(f"control '{kind}' is not one of {', '.join(CONTROLS)}")
