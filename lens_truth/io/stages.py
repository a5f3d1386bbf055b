"""Long work: where its time goes, by stage, and bars with a time to go."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

OTHER = "other"
"""The time that no stage is given."""
_LONG = 5.0
"""Seconds from which on a command says where they went."""


class Clock:
    """Seconds by stage. One stage runs at a time: one inside another stops it, so that none is counted twice."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._runs, self._since = OTHER, time.perf_counter()

    def turn(self, name: str) -> str:
        """From now on this stage runs; returns the one that ran."""
        before, now = self._runs, time.perf_counter()
        self._seconds[before] = self._seconds.get(before, 0.0) + now - self._since
        self._runs, self._since = name, now
        return before

    def seconds(self) -> dict[str, float]:
        """Up to now, to a hundredth, by stage in the order in which they first ended; the rest comes last."""
        self.turn(self._runs)
        stages = {name: its for name, its in self._seconds.items() if name != OTHER}
        return {name: round(its, 2) for name, its in (stages | {OTHER: self._seconds.get(OTHER, 0.0)}).items()}

    def told(self) -> str:
        """One line; empty where all was short."""
        spent = self.seconds()
        if sum(spent.values()) < _LONG:
            return ""
        return "where the time went: " + ", ".join(f"{name} {its:.1f} s" for name, its in spent.items() if its >= 0.05)


_CLOCK: ContextVar[Clock | None] = ContextVar("clock", default=None)


@contextmanager
def clock() -> Generator[Clock, None, None]:
    """A clock for everything inside, which is one command."""
    running = Clock()
    token = _CLOCK.set(running)
    try:
        yield running
    finally:
        _CLOCK.reset(token)


def seconds_by_stage() -> dict[str, float]:
    """Of the running clock; empty where none runs, as in a script."""
    running = _CLOCK.get()
    return {} if running is None else running.seconds()


@contextmanager
def stage(name: str) -> Generator[None, None, None]:
    """The time inside is that of a stage, also as a decorator; where no clock runs, it is not taken.

    >>> with stage("capture"):
    ...     run(batch)
    """
    running = _CLOCK.get()
    before = running.turn(name) if running else ""
    try:
        yield
    finally:
        if running:
            running.turn(before)


@overload
def bar(items: Iterable[T], what: str, total: int | None = None, *, shown: bool = False) -> tqdm[T]: ...
@overload
def bar(items: None, what: str, total: int, *, shown: bool = False) -> tqdm[None]: ...
def bar(items: Iterable[Any] | None, what: str, total: int | None = None, *, shown: bool = False) -> tqdm[Any]:
    """A progress bar on stderr with the time to go: over the items, or, where they cost unequally, told by `update` how
    many of `total` tokens or rows are done. It shows where it is asked for, and in a command on a terminal.

    >>> with bar(None, "capture", total=sum(lengths), shown=progress) as done:
    ...     for batch in batches:
    ...         done.update(sum(lengths[row] for row in batch))
    """
    from tqdm import tqdm  # help has no bars

    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} to go"
    watched = shown or (_CLOCK.get() is not None and on_terminal())
    columns = get_terminal_size().columns - 1  # 79 where a terminal has no size, in which tqdm shows nothing
    return tqdm(items, what, total, leave=False, disable=not watched, bar_format=form, ncols=columns, nrows=20)


def on_terminal() -> bool:
    """Whether anybody watches a progress bar."""
    return sys.stderr.isatty()
