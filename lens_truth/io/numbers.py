"""How numbers are written in tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Said(str):
    """A number in print, or the two ends of an interval, which keeps what it was made of: `numbers`."""

    numbers: tuple[float, ...]

    def __new__(cls, text: str, *numbers: float) -> Said:
        """A text that says these numbers."""
        said = super().__new__(cls, text)
        said.numbers = tuple(map(float, numbers))
        return said


SIGNIFICANT = 0.05
"""A smaller p-value is called significant."""


def number(value: float | None, places: int = 3) -> str:
    """With so many places; empty where nothing is defined."""
    return "" if value is None or math.isnan(value) else Said(f"{value:z.{places}f}", value)


def signed(value: float | None, places: int = 3) -> str:
    """The same with a plus where it is positive, for differences."""
    return "" if value is None or math.isnan(value) else Said(f"{value:+.{places}f}", value)


def short(value: float | None, plus: bool = False) -> str:
    """Three digits that count, or whole."""
    if value is None or math.isnan(value):
        return ""
    sign = "+" if plus else ""
    if value and abs(value) < 1e-6:
        return Said(f"{value:{sign}.2e}", value)
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:{sign}z.{places}f}"
    return Said(text.rstrip("0").rstrip(".") if "." in text else text, value)


def p_value(value: float | None) -> str:
    """Two digits that count."""
    return "" if value is None or math.isnan(value) else Said(f"{value:.2g}", value)


def least_p_said(n_draws: int) -> str:
    """What a p-value that counts so many random draws cannot fall below, in words."""
    return f"no less than 1 in {n_draws + 1}"


def significant(p: float | None) -> bool:
    """Whether p < .05; what is not defined is not."""
    return p is not None and p < SIGNIFICANT


def interval(ends: Sequence[float | None] | None, places: int = 2, plus: bool = False) -> str:
    """In brackets; empty where an end is not defined."""
    known = [end for end in ends or () if end is not None and not math.isnan(end)]
    if ends is None or len(known) < len(ends):
        return ""
    return Said(f"[{', '.join((signed if plus else number)(end, places) for end in known)}]", *known)


def share(value: float) -> str:
    """In percent."""
    return Said(f"{100 * value:.0f}%" if value >= 0.095 or value == 0 else f"{100 * value:.1f}%", value)


def count(n: int, thing: str) -> str:
    """`1 model`, `2 models`."""
    return f"{n} {thing}{'' if n == 1 else 's'}"


def ranges(numbers: Sequence[int]) -> str:
    """`0-4, 7` for 0, 1, 2, 3, 4 and 7, in rising order."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][-1] == n - 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
