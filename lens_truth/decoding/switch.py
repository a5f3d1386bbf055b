"""`Switch`: a gate or a shift that acts on each row, and at each token, by as much of itself as it is told."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.shift import HeadShift
from lens_truth.models.hooks import hook_names
from lens_truth.models.placing import device_of
from lens_truth.models.quantised import scaled, shifted

Switched = HeadGate | HeadShift
Columns = Float[Tensor, "B T"]


def check_switched(model: Any, its: Switched) -> None:
    """Raises an InputError unless it can be switched on this model."""
    its.check(model)
    if isinstance(its, HeadGate) and (its.site != "z" or its.values.ndim != 2):
        raise InputError("a gate that is switched acts on heads' outputs (site z), and has no batch axis")
    if isinstance(its, HeadShift) and its.vectors.ndim != 3:
        raise InputError("a shift that is switched has no batch axis")


class Switch:
    """At 0 not a bit of what passes changes, at 1 it is what the gate attached by itself does, bit for bit; between
    them a gate is 1 + s (g - 1), a shift s times itself."""

    def __init__(self, model: Any, its: Switched) -> None:
        self._scales = isinstance(its, HeadGate)
        values = its.values if isinstance(its, HeadGate) else its.vectors
        self._values = values.detach().to(device_of(model)).float()
        self._wide = self._scales or its.site == "z"  # whether heads have an axis of their own
        kind = "attn.hook_z" if self._wide else "hook_resid_post"
        neutral = 1 if self._scales else 0
        idle = cast("list[bool]", (self._values == neutral).flatten(1).all(1).tolist())
        self._names = {layer: name for layer, name in enumerate(hook_names(model, kind)) if not idle[layer]}
        self._columns: Columns | None = None
        self._newest: Tensor | None = None

    @property
    def device(self) -> Any:
        """Where its numbers are."""
        return self._values.device

    def set(self, columns: Columns | None, same: bool = False) -> None:
        """How strongly it acts at each of the newest tokens, until it is told otherwise; None: not at all. `same` says
        that the last of them gets what the last one got before."""
        self._columns, self._newest = columns, self._newest if same else None

    @contextmanager
    def attached(self, model: Any) -> Generator[None, None, None]:
        """While open, it acts."""
        with model.hooks(fwd_hooks=[(name, partial(self._acted, layer)) for layer, name in self._names.items()]):
            yield

    def _acted(self, layer: int, passing: Tensor, hook: Any) -> Tensor | None:
        if self._columns is None:
            return None
        if len(self._columns) != len(passing):
            raise InputError(
                f"a gate for {len(self._columns)} rows was attached, but the batch has {len(passing)} rows"
            )
        n = passing.shape[1]
        if n == 1:  # of all layers at once: at every token that is written
            if self._newest is None:
                self._newest = self._made(self._values[:, None, None], self._columns[:, -1:])
            made = self._newest[layer]
        else:
            made = self._made(self._values[layer], self._columns[:, -n:])
        made = made.to(passing.device)
        if self._scales:
            return scaled(passing, made[..., None])
        return shifted(passing, made[..., : passing.shape[-1]])

    def _made(self, values: Tensor, s: Columns) -> Tensor:
        """Factors [.., B, n, H], or what is added, [.., B, n, H, D]."""
        if self._scales:
            s = s[..., None]
            return torch.where(s == 1, values, 1 + s * (values - 1))
        if not self._wide:
            values = values[..., 0, :]
        moved = s[(..., *[None] * (2 if self._wide else 1))] * values
        return moved.masked_fill(moved == 0, -0.0)
