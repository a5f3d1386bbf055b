"""How a learned gate hangs on what is fitted: any value or one between 0 and 1, with a penalty on how far heads are
from 1, or on how many are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Adam

from lens_truth.errors import InputError

Form = Literal["signed", "sigmoid"]
Norm = Literal["l2", "l1", "l0"]
_Grid = Float[Tensor, "L H"]

_RATE, _LOGIT_RATE = 0.05, 0.2
"""Of Adam, for gates themselves and for logits."""
_OPEN = 3.0
"""The logit at which sigmoid gates begin: .95, since at 1 itself a sigmoid has no slope."""
_TEMPERATURE, _LOW, _HIGH = 2 / 3, -0.1, 1.1
"""Of the hard concrete distribution (Louizos et al. 2018, arXiv 1712.01312, Section 4)."""
TOUCHED = 0.05
"""A head is touched if its gate is further than this from 1."""


@dataclass(frozen=True)
class Learning:
    """How a gate is learned.

    >>> few = lens_truth.Learning(norm="l0", penalty=2.0)  # as few heads as the margin allows
    >>> gate = lens_truth.learned_gate(model, examples, learning=few)
    """

    form: Form = "signed"
    """`signed`: any number, so that heads are amplified, damped or inverted; `sigmoid`: between 0 and 1."""
    norm: Norm = "l2"
    """What the penalty is on: `l2`, the mean over heads of (g - 1)^2; `l1`, the mean of |g - 1|, by which signed gates
    that do little are exactly 1; `l0`, the share of heads that are touched at all, each by a switch of its own (hard
    concrete, Louizos et al. 2018)."""
    penalty: float = 1.0
    """Its weight beside the loss of a question."""
    steps: int = 60
    """Of Adam, each over eight questions."""

    def __post_init__(self) -> None:
        for name, value, known in (("form", self.form, Form), ("norm", self.norm, Norm)):
            if value not in get_args(known):
                raise InputError(f"the {name} of a learned gate is '{value}', not one of {', '.join(get_args(known))}")
        if not (math.isfinite(self.penalty) and self.penalty >= 0):
            raise InputError(f"the penalty of a learned gate is {self.penalty}; it must be a number from 0 on")
        if self.steps < 1:
            raise InputError(f"a gate was to be learned in {self.steps} steps; at least 1 is needed")

    @property
    def name(self) -> str:
        """As tables call it: `lens_truth.Learning().name` is `signed l2`."""
        return f"{self.form} {self.norm}"


@runtime_checkable
class Fitted(Protocol):
    """What is fitted to make a gate."""

    def optimizer(self) -> Adam:
        """Of its numbers."""
        ...

    def gate(self, noise: np.random.Generator | None) -> _Grid:
        """The gate, differentiable; without noise as it will be used."""
        ...

    def regularise(self) -> None:
        """Sets every slope to that of the penalty."""
        ...

    def settle(self, optimizer: Adam) -> None:
        """What is left to do after a step."""
        ...


class GateNumbers:
    """The numbers of one form under one penalty (`Fitted`)."""

    def __init__(self, grid: tuple[int, int], learning: Learning) -> None:
        self._learning, self._signed = learning, learning.form == "signed"
        self._raw = torch.full(grid, 1.0 if self._signed else _OPEN, requires_grad=True)
        self._switch = torch.zeros(grid, requires_grad=True) if learning.norm == "l0" else None

    def optimizer(self) -> Adam:
        """Logits take larger steps."""
        groups = [{"params": [self._raw], "lr": _RATE if self._signed else _LOGIT_RATE}]
        groups += [] if self._switch is None else [{"params": [self._switch], "lr": _LOGIT_RATE}]
        return Adam(groups)

    def gate(self, noise: np.random.Generator | None) -> _Grid:
        """With noise, switches are drawn anew."""
        values = self._raw if self._signed else self._raw.sigmoid()
        return values if self._switch is None else 1 + hard_concrete(self._switch, noise) * (values - 1)

    def regularise(self) -> None:
        """The penalty's slope; that of signed gates under l1 has a step at 1 and is left to `settle`."""
        its, raw = self._learning, self._raw
        raw.grad = torch.zeros_like(raw)
        if self._switch is not None:
            self._switch.grad = torch.zeros_like(self._switch)
            shift = _TEMPERATURE * math.log(-_LOW / _HIGH)
            (its.penalty * (self._switch - shift).sigmoid().mean()).backward()
        elif self._signed:
            if its.norm == "l2":
                raw.grad = 2 * its.penalty * (raw.detach() - 1) / raw.numel()
        else:
            away = 1 - raw.sigmoid()
            (its.penalty * (away.square() if its.norm == "l2" else away).mean()).backward()

    def settle(self, optimizer: Adam) -> None:
        """Signed gates under l1 are drawn to 1 by as much as Adam's step makes of the penalty's slope, and stop there
        (a proximal step in Adam's own metric)."""
        if not self._signed or self._learning.norm != "l1":
            return
        state = optimizer.state[self._raw]
        decay = optimizer.param_groups[0]["betas"][1]
        scale = (state["exp_avg_sq"] / (1 - decay ** float(state["step"]))).sqrt() + optimizer.param_groups[0]["eps"]
        with torch.no_grad():
            away = self._raw - 1
            pull = _RATE * self._learning.penalty / away.numel() / scale
            self._raw.copy_(1 + away.sign() * (away.abs() - pull).clamp(min=0))


def hard_concrete(logits: _Grid, noise: np.random.Generator | None) -> _Grid:
    """Switches between 0 and 1, both of which they reach: drawn, or (without noise) as they are used."""
    if noise is None:
        drawn = logits.sigmoid()
    else:
        u = torch.from_numpy(noise.uniform(1e-6, 1 - 1e-6, tuple(logits.shape))).to(logits)
        drawn = ((u.log() - (1 - u).log() + logits) / _TEMPERATURE).sigmoid()
    return (drawn * (_HIGH - _LOW) + _LOW).clamp(0, 1)
