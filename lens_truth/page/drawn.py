"""What the page's script draws: heatmaps and scatters, with every number as the text that is shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import short
from lens_truth.io.tables import written
from lens_truth.page.heads import HeadMap, ModelHeads, source, what
from lens_truth.page.view import Scatter
from lens_truth.stats.correlation import Map

Scale = Literal["range", "zero", "one"]
"""Colours from the least to the greatest value, both ways from 0, or both ways from 1 on a logarithmic scale."""

_CHANCE_IS_ONE = ("evidence", "evidence when answering")
_TOLD = ("ci_low", "ci_high", "p_value", "p_familywise")
"""Metrics that have a place of their own."""
LEFT, RIGHT, TOP, BOTTOM = 58, 328, 30, 220
"""The ends of a scatter's axes, in pixels."""


def model_data(model: ModelHeads, attention: str) -> dict[str, Any]:
    """All maps of a model, and a sentence on the attention there is to see."""
    maps = [map_data(one) for one in model.maps]
    return {"id": model.id, "name": model.name, "weights": model.weights, "attention": attention, "maps": maps}


def map_data(one: HeadMap) -> dict[str, Any]:
    """Colours, ranks and texts of a map's heads."""
    values, metrics = one.scores.values, one.scores.metrics
    shades, legend = colours(one)
    low, high, p, family = (metrics.get(name, np.full(values.shape, np.nan)) for name in _TOLD)
    further = {name: its for name, its in metrics.items() if name not in _TOLD and not np.array_equal(its, values)}
    ordered = np.sort(values, axis=None)
    return {
        "name": what(one),
        "source": source(one),
        "both": scale(one) != "range",
        "shades": shades.round(3).tolist(),
        "legend": legend,
        "ranks": (1 + values.size - np.searchsorted(ordered, values, side="right")).tolist(),
        "scores": _texts(one.written, values),
        "intervals": _texts(partial(_interval, one), low, high),
        "nulls": _texts(_null, p, family),
        "further": {name.replace("_", " "): _texts(_defined, its) for name, its in further.items()},
    }


def scale(one: HeadMap) -> Scale:
    """How a map's values become colours."""
    if one.kind in _CHANCE_IS_ONE:
        return "one"
    return "zero" if one.scores.values.min() < 0 < one.scores.values.max() else "range"


def colours(one: HeadMap) -> tuple[Map, list[str]]:
    """From -1 to 1 for every head, and what the ends and the middle stand for."""
    values = one.scores.values
    low, high = float(values.min()), float(values.max())
    if (its := scale(one)) == "range":
        shades = 2 * (values - low) / (high - low) - 1 if high > low else np.zeros_like(values)
        return shades, [one.written(value) for value in (low, (low + high) / 2, high)]
    if its == "zero":
        size = max(-low, high)
        return values / size, [_short(value) for value in (-size, 0.0, size)]
    exponents = np.log2(np.where(values > 0, values, 2.0**-1000))
    size = max(1.0, float(exponents.max()))  # far below chance is below chance
    return np.clip(exponents / size, -1, 1), [f"≤ {_short(2**-size)}", "1", f"≥ {_short(2**size)}"]


def scatter_data(id: str, model: str, one: Scatter) -> dict[str, Any]:
    """Axes and points of a scatter, from left to right; of heads that have both numbers."""
    at = np.argwhere(np.isfinite(one.x + one.y))
    at = at[np.argsort(one.x[tuple(at.T)], kind="stable")]
    x, y = one.x[tuple(at.T)], one.y[tuple(at.T)]
    (x_ticks, x_places), (y_ticks, y_places) = _axis(x, LEFT, RIGHT, log=False), _axis(y, BOTTOM, TOP, log=one.log)
    points = zip(at.tolist(), x_places, y_places, map(_short, x.tolist()), map(_short, y.tolist()), strict=True)
    return {
        "id": id,
        "model": model,
        "xLabel": one.x_label,
        "yLabel": one.y_label,
        "log": one.log,
        "layers": len(one.x),
        "xTicks": x_ticks,
        "yTicks": y_ticks,
        "points": [[*head, *its] for head, *its in points],
    }


def _axis(
    values: Float[np.ndarray, " n"], start: int, stop: int, *, log: bool
) -> tuple[list[tuple[float, str]], list[float]]:
    """Ticks with their texts, and where each value lies, in pixels."""
    if not len(values):
        return [], []
    low, high = float(values.min()), float(values.max())
    wide = high if high > low else low + (abs(low) or 1)
    marks = np.array(_powers(low, high) if log else ticks(low, wide, 4))
    first, last = (math.log2(end) if log else end for end in (float(marks[0]), float(marks[-1])))

    def placed(its: np.ndarray) -> list[float]:
        return (start + (stop - start) * ((np.log2(its) if log else its) - first) / (last - first)).round(1).tolist()

    return list(zip(placed(marks), map(_short, marks.tolist()), strict=True)), placed(values)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from below `low` to above `high`, at least two."""
    span = max(high - low, 1e-9 * max(abs(high), abs(low), 1), 1e-12)
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [round(i * step, 12) for i in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Of 2, or of 10, that enclose a range."""
    base = 10.0 if high > 300 * low or low < 1e-3 else 2.0
    first = math.floor(math.log(low, base) + 1e-9)
    last = max(first + 1, math.ceil(math.log(high, base) - 1e-9))
    step = math.ceil((last - first) / 6)
    return [base ** (first + k * step) for k in range(math.ceil((last - first) / step) + 1)]


def _short(value: float) -> str:
    return written(short(value))


def _defined(value: float) -> str:
    return "not defined" if math.isnan(value) else _short(value)


def _interval(one: HeadMap, low: float, high: float) -> str | None:
    return None if math.isnan(low + high) else f"[{one.written(low)}, {one.written(high)}]"


def _null(p: float, family: float) -> str | None:
    parts = ("" if math.isnan(p) else _short(p), "" if math.isnan(family) else f"(all heads together {_short(family)})")
    return " ".join(filter(None, parts)) or None


def _texts(write: Callable[..., str | None], *metrics: Map) -> list[list[str | None]]:
    """What is written of the numbers of each head; None where nothing was computed."""
    layers = zip(*(its.tolist() for its in metrics), strict=True)
    return [[write(*its) for its in zip(*lines, strict=True)] for lines in layers]
