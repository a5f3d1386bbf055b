"""How much goes through a model at once: a number of tokens, by the memory that is free; where it runs out, half."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

from lens_truth.errors import InputError, first_line, lacks_memory, notice
from lens_truth.models.placing import device_of
from lens_truth.models.room import free_memory

Unit = TypeVar("Unit")
Made = TypeVar("Made")

_SHORT = 64
"""Tokens of a row that costs no more than a shorter one."""
_MOST = 1 << 15
"""Tokens at once that keep any GPU busy."""
PASS = 48
"""Tokens of padding that cost as much as another forward pass, which reads all weights (about so many on a CPU; on a
GPU twice as many)."""
LOGITS_AT_ONCE = 1 << 25
"""Numbers in the logits of one forward pass, of which a few copies are made: 128 MB each in float32."""


class Budget:
    """Tokens that go through a model in one forward pass, all rows of a batch together."""

    def __init__(self, tokens: int) -> None:
        self.tokens, self._said = max(1, tokens), False

    @classmethod
    def of(cls, model: Any, batch_size: int | None = None, *, rows: int = 32, backward: bool = False) -> Budget:
        """For `batch_size` rows of 64 tokens (with a backward pass to follow, which needs what every layer computed, of
        32). By default for what fits into half of the memory that is free on a GPU, and elsewhere for so many `rows`,
        which more would make no faster."""
        tokens = _SHORT // 2 if backward else _SHORT
        device = device_of(model)
        if batch_size is None and device.type == "cuda":
            fits = (free_memory(device) or 0) // 2 // _bytes_per_token(model, backward)
            return cls(min(_MOST, max(tokens * rows, fits)))
        batch_size = rows if batch_size is None else batch_size
        if batch_size < 1:
            raise InputError(f"the batch size is {batch_size}; it must be at least 1")
        return cls(batch_size * tokens)

    def rows(self, longest: int, vocabulary: int = 1) -> int:
        """How many rows of so many tokens go through at once, the logits of one token of each being wanted."""
        return max(1, min(self.tokens // max(_SHORT, longest), LOGITS_AT_ONCE // vocabulary))

    def halve(self, error: BaseException, tokens: int) -> None:
        """After memory ran out over so many tokens: half of them from now on. An InputError says if that was one row.

        It is said once, as a `DataWarning`; results are those of smaller batches, the same but for rounding.
        """
        if self.rows(tokens) <= 1:
            raise InputError(
                f"the memory is too small for one row of {tokens} tokens; a smaller number format (--dtype bfloat16) "
                f"takes less ({first_line(error)})"
            ) from error
        self.tokens = max(1, self.tokens // 2)
        if not self._said:
            self._said = True
            notice(f"the memory ran out; no more than {self.tokens:,} tokens, or fewer, go through the model at once")


def _bytes_per_token(model: Any, backward: bool) -> int:
    """A generous guess: what the widest layer computes, or with a backward pass all layers, and keys and values."""
    cfg, hf = model.cfg, getattr(model, "original_model", None)
    stated: Any = None if hf is None else getattr(hf.config.get_text_config(decoder=True), "intermediate_size", None)
    inner: int = stated if isinstance(stated, int) else 4 * cfg.d_model
    kept = 12 * cfg.d_model + 4 * inner
    cached = 2 * cfg.n_layers * cfg.n_heads * cfg.d_head
    return next(model.parameters()).element_size() * (cfg.n_layers * kept if backward else kept + cached)


def within_budget(
    units: Sequence[Unit],
    cost: Callable[[Unit, Unit | None], int],
    budget: Budget,
    run: Callable[[Sequence[Unit]], Made],
    times: int = 1,
) -> Iterator[tuple[Sequence[Unit], Made]]:
    """Runs all units, in their order, which is from the longest to the shortest, in batches whose tokens are within the
    budget; of a batch for which the memory is too small, half. `cost` is how many tokens a unit adds behind another one
    of its batch, or by itself (None); what adds as many as by itself is padded to the batch's first. Each unit goes
    through the model so many `times`, which `run` may do in parts."""
    start = 0
    while start < len(units):
        batch = units[start : _stop(units, start, cost, budget.tokens // times)]
        try:
            made = run(batch)
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            budget.halve(error, cost(batch[0], None))
        else:
            yield batch, made
            start += len(batch)
            continue
        gc.collect()  # what the failed batch had made hangs on the error that is gone now
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def batch_ends(
    units: Sequence[Unit], cost: Callable[[Unit, Unit | None], int], tokens: int, times: int = 1
) -> list[int]:
    """One past the last unit of every batch that `within_budget` makes where the memory never runs out."""
    ends: list[int] = []
    while (start := ends[-1] if ends else 0) < len(units):
        ends.append(_stop(units, start, cost, tokens // times))
    return ends


def _stop(units: Sequence[Unit], start: int, cost: Callable[[Unit, Unit | None], int], tokens: int) -> int:
    """One past the last unit of a batch. It ends early where padding would cost more than another pass does."""
    spent = width = cost(units[start], None)
    padding = 0
    for stop in range(start + 1, len(units)):
        own = cost(units[stop], units[stop - 1])
        padded = max(own, width) if own == cost(units[stop], None) else own
        spent, padding = spent + padded, padding + padded - own
        if spent > tokens or padding > max(PASS, spent // 16):
            return stop
    return len(units)
