"""`Switch`: a gate or a shift that acts on each row, and at each token, by as much of itself as it is told."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.shift import HeadShift
from lens_truth.models.cut import Given
from lens_truth.models.hooks import hook_names, inner_model
from lens_truth.models.placing import device_of
from lens_truth.models.quantised import scaled, shifted
from lens_truth.models.structure import attentions

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
        self._by_head = self._scales or its.site == "z"
        neutral = 1 if self._scales else 0
        idle = cast("list[bool]", (self._values == neutral).flatten(1).all(1).tolist())
        self._layers = [layer for layer, is_idle in enumerate(idle) if not is_idle]
        self._columns: Columns | None = None
        self._newest: Tensor | None = None
        self._handles: list[RemovableHandle] = []

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
        """While open, it acts: on what goes into output projections, side by side, where it acts on heads. Hook points
        would cost a small model more than .05 of its time."""
        if not self._by_head:
            names = hook_names(model, "hook_resid_post")
            with model.hooks(fwd_hooks=[(names[layer], partial(self._passed, layer)) for layer in self._layers]):
                yield
            return
        hf = inner_model(model)
        found = getattr(model, "attentions", None) or attentions(hf)
        for layer in self._layers:
            projection, width = hf.get_submodule(found[layer].projection), found[layer].d_head
            self._handles += [
                projection.register_forward_pre_hook(partial(self._entered, layer, width, Given(projection)))
            ]
        try:
            yield
        finally:
            self.detach()

    def detach(self) -> None:
        """It does not act any more."""
        self._columns = None
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _entered(
        self, layer: int, width: int, given: Given, module: Any, args: tuple[Any, ...]
    ) -> tuple[Any, ...] | None:
        if self._columns is None:
            return None
        return (given.acted(lambda heads: self._acted(heads, layer, width), args[0]), *args[1:])

    def _passed(self, layer: int, passing: Tensor, hook: Any) -> Tensor | None:
        return None if self._columns is None else self._acted(passing, layer, passing.shape[-1])

    def _acted(self, passing: Float[Tensor, "B n M"], layer: int, width: int) -> Float[Tensor, "B n M"]:
        assert self._columns is not None
        if len(self._columns) != len(passing):
            raise InputError(
                f"a gate for {len(self._columns)} rows was attached, but the batch has {len(passing)} rows"
            )
        n = passing.shape[1]
        if n > 1:
            made = self._made(self._values[layer], self._columns[:, -n:], width)
        else:  # of all layers at once: at every token that is written
            if self._newest is None or self._newest.shape[-1] != passing.shape[-1]:
                self._newest = self._made(self._values[:, None, None], self._columns[:, -1:], width)
            made = self._newest[layer]
        return (scaled if self._scales else shifted)(passing, made)

    def _made(self, values: Tensor, s: Columns, width: int) -> Float[Tensor, "*layers B n M"]:
        """Factors, or what is added, for all heads side by side, each of so many numbers."""
        if self._scales:
            s = s[..., None]
            return torch.where(s == 1, values, 1 + s * (values - 1)).repeat_interleave(width, -1)
        moved = s[..., None, None] * values[..., :width]
        return moved.masked_fill(moved == 0, -0.0).flatten(-2)
