"""How numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"
"""Stands where nothing is defined."""


def number(value: float | None, places: int = 3) -> str:
    """With so many places."""
    return NONE if value is None else _minus(f"{value:.{places}f}")


def signed(value: float | None, places: int = 3) -> str:
    """The same with a plus where it is positive, for differences."""
    return NONE if value is None else _minus(f"{value:+.{places}f}")


def short(value: float | None, plus: bool = False) -> str:
    """Three digits that count, or whole."""
    if value is None:
        return NONE
    sign = "+" if plus else ""
    if value and abs(value) < 1e-6:
        return _minus(f"{value:{sign}.2e}")
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:{sign}.{places}f}"
    return _minus(text.rstrip("0").rstrip(".") if "." in text else text)


def p_value(value: float | None) -> str:
    """Two digits that count."""
    return NONE if value is None else f"{value:.2g}"


def significant(p: float | None) -> bool:
    """Whether p < .05; what is not defined is not."""
    return p is not None and p < 0.05


def interval(ends: Sequence[float | None] | None, places: int = 2, plus: bool = False) -> str:
    """In brackets."""
    if ends is None or None in ends:
        return NONE
    return f"[{', '.join((signed if plus else number)(end, places) for end in ends)}]"


def share(value: float) -> str:
    """In percent."""
    return f"{100 * value:.0f}%" if value >= 0.095 or value == 0 else f"{100 * value:.1f}%"


def count(n: int, thing: str) -> str:
    """`1 model`, `2 models`."""
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _minus(text: str) -> str:
    """With a true minus, and no sign before zero."""
    if float(text) == 0:
        return text.lstrip("+-")
    return text.replace("-", "−", 1) if text.startswith("-") else text
