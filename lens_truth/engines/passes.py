"""One choke point for work on many rows: its batches go through the model in this process, or on the engine that is
open around it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch

from lens_truth.errors import InputError
from lens_truth.models.budget import Budget, batch_ends, within_budget
from lens_truth.models.points import listened_to, other_hook

Unit = TypeVar("Unit")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Pass(Generic[Unit, Made]):
    """What `within_budget` takes, as it travels to where the model is: nothing but what the batches need."""

    units: Sequence[Unit]
    cost: Callable[[Unit, Unit | None], int]
    budget: Budget
    """The one that `run` asks too, if it does: where memory runs out, it is halved for both."""
    run: Callable[[Sequence[Unit]], Made]
    times: int
    gradients: bool
    """Whether gradients are on where the pass is asked for."""

    def ends(self) -> list[int]:
        """One past the last unit of every batch: the same batches as in one process, so that the numbers are too."""
        return batch_ends(self.units, self.cost, self.budget.tokens, self.times)

    def part(self, start: int, stop: int) -> Iterator[tuple[int, Made]]:
        """One batch, or where the memory is too small for it several: how many units each is of, and what it made."""
        with torch.set_grad_enabled(self.gradients):
            for some, made in within_budget(self.units[start:stop], self.cost, self.budget, self.run, self.times):
                yield len(some), made


@runtime_checkable
class Engine(Protocol):
    """Where a model's passes go while it is open."""

    model: Any
    """The model that it has elsewhere too; passes of others stay here."""

    def over(self, its: Pass[Any, Any]) -> Iterator[tuple[int, Any]]:
        """How many units each part is of and what it made, in their order."""
        ...


_ENGINE: ContextVar[Engine | None] = ContextVar("engine", default=None)


@contextmanager
def opened(engine: Engine) -> Generator[None, None, None]:
    """Passes inside go to this engine."""
    token = _ENGINE.set(engine)
    try:
        yield
    finally:
        _ENGINE.reset(token)


def batches(
    model: Any,
    units: Sequence[Unit],
    cost: Callable[[Unit, Unit | None], int],
    budget: Budget,
    run: Callable[[Sequence[Unit]], Made],
    times: int = 1,
) -> Iterator[tuple[Sequence[Unit], Made]]:
    """`within_budget`, on the engine that is open, if one is, and has this model. What `run` gives is all that it does:
    what else it changed would be lost elsewhere."""
    engine = _ENGINE.get()
    if engine is None or engine.model is not model:
        yield from within_budget(units, cost, budget, run, times)
        return
    if any(map(listened_to, model.hook_dict.values())):
        raise InputError(
            "a gate or another hook is attached to the model here, and its workers elsewhere would not know of it; "
            "give the gate to what asks the model (`Asker.run`), or fold it into a checkpoint"
        )
    if strange := other_hook(model.original_model):
        raise InputError(
            f"a hook of PyTorch's is registered on '{strange}' here, and workers elsewhere know none of it"
        )
    start = 0
    for size, made in engine.over(Pass(units, cost, budget, run, times, torch.is_grad_enabled())):
        yield units[start : start + size], made
        start += size
