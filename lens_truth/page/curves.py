"""Round numbers along the axis of a drawing."""

from __future__ import annotations

import math


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from below `low` to above `high`, at least two."""
    span = max(high - low, 1e-9 * max(abs(high), abs(low), 1), 1e-12)
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return [round(i * step, 12) for i in range(first, last + 1)]
