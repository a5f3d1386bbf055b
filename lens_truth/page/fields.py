"""Values read from a run's JSON, whose every misfit is said in a sentence that names where it stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from lens_truth.errors import InputError
from lens_truth.io.readers import is_list, is_object

T = TypeVar("T")

Interval = tuple[float, float]

_LARGEST = 1e15
"""No score, count or time comes near; sums of larger numbers could overflow."""


@dataclass(frozen=True)
class Fields:
    """A value from a JSON file, and its place there.

    Every reader below raises an `InputError` for a value of another type; `maybe` reads null and what is absent as
    None.
    """

    value: Any
    where: str

    def __getitem__(self, name: str | int) -> Fields:
        """A member of an object or a list."""
        if isinstance(name, int):
            items = self.items()
            if not 0 <= name < len(items):
                raise self.wrong(f"has no item {name}")
            return items[name]
        members = self.members()
        if name not in members:
            raise self.wrong(f"has no '{name}'")
        return members[name]

    def __contains__(self, name: str) -> bool:
        return is_object(self.value) and name in self.value

    def members(self) -> dict[str, Fields]:
        """Of an object."""
        if not is_object(self.value):
            raise self.wrong("is not an object")
        return {name: Fields(value, f"{self.where}.{name}") for name, value in self.value.items()}

    def items(self, length: int | None = None) -> list[Fields]:
        """Of a list."""
        if not is_list(self.value):
            raise self.wrong("is not a list")
        if length is not None and len(self.value) != length:
            raise self.wrong(f"has {len(self.value)} items, not {length}")
        return [Fields(value, f"{self.where}[{i}]") for i, value in enumerate(self.value)]

    def __iter__(self) -> Iterator[Fields]:
        return iter(self.items())

    def text(self) -> str:
        """Of any length, empty too."""
        if not isinstance(self.value, str):
            raise self.wrong("is not a text")
        return self.value

    def number(self) -> float:
        """Finite, and of a size that can be reckoned with."""
        if type(self.value) not in (int, float) or (type(self.value) is float and not math.isfinite(self.value)):
            raise self.wrong("is not a number")
        if abs(self.value) > _LARGEST:
            raise self.wrong("is too large")
        return float(self.value)

    def whole(self, stop: int | None = None) -> int:
        """A whole number from 0, below `stop`."""
        if type(self.value) is not int or self.value < 0 or (stop is not None and self.value >= stop):
            raise self.wrong(f"is not a whole number{'' if stop is None else f' from 0 to {stop - 1}'}")
        if self.value > _LARGEST:
            raise self.wrong("is too large")
        return self.value

    def interval(self) -> Interval:
        """A list of two numbers."""
        low, high = (end.number() for end in self.items(2))
        return low, high

    def maybe_interval(self) -> Interval | None:
        """None if an end is null."""
        return None if None in [end.value for end in self.items(2)] else self.interval()

    def texts(self) -> list[str]:
        """A list of texts."""
        return [item.text() for item in self.items()]

    def matrix(self) -> list[list[float | None]]:
        """Lines of equal length, at least one; None where nothing is defined."""
        lines = [[None if cell.value is None else cell.number() for cell in line.items()] for line in self.items()]
        if not lines or not lines[0] or len({len(line) for line in lines}) > 1:
            raise self.wrong("is not a matrix")
        return lines

    def maybe(self, name: str, read: Callable[[Fields], T]) -> T | None:
        """A member, None where it is null or absent."""
        if self.members().get(name, Fields(None, "")).value is None:
            return None
        return read(self[name])

    def wrong(self, what: str) -> InputError:
        """An error that names the value's place, to be raised: `fields.wrong("is not a share")`."""
        return InputError(f"{self.where} {what}")
