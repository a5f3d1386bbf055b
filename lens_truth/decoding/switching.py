"""What goes on inside `generate` while a gate is switched: the pass after which the rule is asked, the pass that takes
its place where the gate acts, and how often that happens."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lens_truth.decoding.greedy import end_tokens
from lens_truth.decoding.switch import Switch
from lens_truth.models.hooks import inner_model

_OF_A_TOKEN = ("input_ids", "position_ids", "cache_position")
_OF_ANY = ("attention_mask", "use_cache", "return_dict", "logits_to_keep")
"""What a model is given with one token more: the rest is of the prompt (images, or what was made of them before)."""


@dataclass(frozen=True)
class TriggerRates:
    """How often a dynamic gate has acted.

    >>> dynamic.rates
    TriggerRates(n_rows=40, n_tokens=160, of_rows=0.25, of_tokens=0.21, mean=0.21)
    >>> isinstance(dynamic.rates, lens_truth.TriggerRates)
    True
    """

    n_rows: int
    n_tokens: int
    """That were written, or ranked; up to the end of each row."""
    of_rows: float
    """Share of the rows on which it acted at some token; NaN if there were none."""
    of_tokens: float
    """Share of the tokens which it acted on: of those that are written from a pass under it."""
    mean: float
    """By how much of itself it acted, over all tokens."""


@dataclass
class Record:
    """Counts rows and tokens where they lie: a GPU is not waited for before somebody asks."""

    _rows: list[Float[Tensor, " 5"]] = field(default_factory=list[Tensor])
    _now: tuple[Tensor, Tensor, Tensor] | None = None
    """Of each row of what is being written: its tokens, those acted on, and the sum of factors."""

    def begin(self, n: int, device: Any) -> None:
        """New rows are written."""
        self.close()
        self._now = (torch.zeros(n, device=device), torch.zeros(n, device=device), torch.zeros(n, device=device))

    def add(self, s: Float[Tensor, " B"], alive: Bool[Tensor, " B"]) -> None:
        """One token more of each row that has not ended."""
        assert self._now is not None
        tokens, on, total = self._now
        tokens += alive
        on += alive & (s != 0)
        total += alive * s

    def add_rows(self, s: Float[Tensor, " B"], n: Float[Tensor, " B"]) -> None:
        """Rows of n tokens each, under one factor."""
        self.close()
        self._now = (n.to(s), n.to(s) * (s != 0), n.to(s) * s)
        self.close()

    def close(self) -> None:
        """No more tokens come of the rows that were written."""
        if self._now is not None:
            tokens, on, total = self._now
            some = (on > 0).sum()
            self._rows.append(torch.stack([tokens.sum(), on.sum(), total.sum(), some, some * 0 + len(on)]))
            self._now = None

    @property
    def rates(self) -> TriggerRates:
        """Of all so far."""
        self.close()
        if not self._rows:
            return TriggerRates(0, 0, float("nan"), float("nan"), float("nan"))
        sums = cast("list[float]", torch.stack([its.cpu().double() for its in self._rows]).sum(0).tolist())
        tokens, on, total, some, rows = sums
        return TriggerRates(int(rows), int(tokens), some / max(rows, 1), on / max(tokens, 1), total / max(tokens, 1))


class Switching:
    """Hooks around the passes of one call of `generate`."""

    def __init__(
        self,
        model: Any,
        switch: Switch,
        asked: Callable[[Float[Tensor, "B V"]], Float[Tensor, " B"]],
        record: Record,
        by_token: bool,
        whole: bool,
    ) -> None:
        self._hf, self._switch, self._asked, self._record = inner_model(model), switch, asked, record
        self._by_token, self._whole = by_token, whole
        self._begun = False
        self._empty: Any = None
        self._columns: Float[Tensor, "B T"] | None = None
        self._alive: Bool[Tensor, " B"] | None = None
        self._off = False
        self._ends = torch.tensor(sorted(end_tokens(model)), dtype=torch.long)

    @contextmanager
    def attached(self) -> Generator[None, None, None]:
        """While open, `generate` (once) goes through it."""
        handles = [
            self._hf.register_forward_pre_hook(self._before, with_kwargs=True),
            self._hf.register_forward_hook(self._after, with_kwargs=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._switch.set(None)
            self._record.close()

    def _before(self, hf: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if not self._begun:  # keys and values that a pass in its place begins with
            self._empty = copy.deepcopy(kwargs.get("past_key_values"))

    def _after(self, hf: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        if not self._begun:
            self._begun = True
            return self._first(kwargs, output)
        assert self._columns is not None
        assert self._alive is not None
        self._alive &= ~torch.isin(kwargs["input_ids"][:, -1], self._ends.to(self._alive.device))
        self._record.add(self._columns[:, -1], self._alive)
        if self._by_token:
            self._go_on(self._asked(output.logits[:, -1]).to(self._columns))
        elif not self._off:
            self._go_on(self._columns[:, -1])
        return None

    def _first(self, kwargs: dict[str, Any], output: Any) -> Any:
        ids = kwargs["input_ids"]
        s = self._asked(output.logits[:, -1]).to(self._switch.device)
        self._columns = s[:, None].expand(-1, ids.shape[1]) * torch.ones(ids.shape[1], device=s.device)
        if not self._whole:
            self._columns[:, :-1] = 0
        self._alive = torch.ones(len(ids), dtype=torch.bool, device=s.device)
        self._record.begin(len(ids), s.device)
        self._record.add(s, self._alive)
        is_on = s != 0
        if not bool(is_on.any()):
            self._off = not self._by_token
            new, after = output, s
        else:
            self._switch.set(self._columns)
            new = self._last_again(kwargs, output, ~is_on) if self._shortened(output, ids) else self._again(kwargs)
            after = torch.where(is_on, self._asked(new.logits[:, -1]).to(s), s) if self._by_token else s
        self._empty = None
        if self._off:
            self._switch.detach()
        else:
            self._go_on(after)
        return new

    def _go_on(self, s: Float[Tensor, " B"]) -> None:
        """For the next token. Without a cache all tokens go through the model again, so what was said of each stays."""
        assert self._columns is not None
        self._columns = torch.cat([self._columns, s[:, None]], 1)
        self._switch.set(self._columns, same=not self._by_token)

    def _shortened(self, output: Any, ids: Tensor) -> bool:
        """Whether the last token alone can be read again: all layers keep keys and values of all tokens."""
        cache = getattr(output, "past_key_values", None)
        if self._whole or not isinstance(cache, DynamicCache) or ids.shape[1] < 2:
            return False
        return all(type(layer) is DynamicLayer and layer.get_seq_length() == ids.shape[1] for layer in cache.layers)

    def _again(self, kwargs: dict[str, Any]) -> Any:
        """The whole prompt."""
        given = kwargs if self._empty is None else {**kwargs, "past_key_values": self._empty}
        return self._hf.forward(**given)

    def _last_again(self, kwargs: dict[str, Any], output: Any, off: Bool[Tensor, " B"]) -> Any:
        """Its last token, behind what is kept of the others. Rows that are off keep what they had."""
        cache: Any = output.past_key_values
        kept = [(layer.keys[:, :, -1:].clone(), layer.values[:, :, -1:].clone()) for layer in cache.layers]
        cache.crop(-1)
        given = {name: kwargs[name] for name in _OF_ANY if name in kwargs}
        of_token = {name: its[..., -1:] for name in _OF_A_TOKEN if isinstance(its := kwargs.get(name), Tensor)}
        new = self._hf.forward(**given, **of_token, past_key_values=cache)
        if bool(off.any()):
            for layer, (keys, values) in zip(cache.layers, kept, strict=True):
                rows = off.to(keys.device)
                layer.keys[rows, :, -1:], layer.values[rows, :, -1:] = keys[rows], values[rows]
            at = off.to(new.logits.device)[:, None, None]
            new.logits = torch.where(at, output.logits[:, -1:].to(new.logits), new.logits[:, -1:])
        return new
