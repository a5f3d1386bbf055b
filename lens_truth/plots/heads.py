"""Head maps, layers down and heads across (TruthProbe, Fig. 1a and 2), and one map against others, a point a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lens_truth.plots import style
from lens_truth.stats.correlation import Map

_MARKERS = ("o", "^", "s", "D")


@style.in_house_style
def heatmap(values: Map, label: str, title: str, warning: str | None = None, note: str = "") -> Figure:
    """One number a head, with its scale; numbers with a sign are coloured around zero.

    >>> heatmap(scores.values, "truth score", "zoo:llama-base")

    Args:
        values: [layers, heads], such as `HeadScores.values`; NaN is grey.
        warning: stands in red over the map, so that the picture cannot travel without it.
        note: stands under the map.
    """
    L, H = values.shape
    width = 1.4 + float(np.clip(0.26 * H, 3.6, 8.0))
    figure = style.new_figure(width, 1.3 + float(np.clip(0.2 * L, 1.6, 8.0)))
    axes = figure.subplots()
    shown = style.cells(axes, values, **_colours(values))
    style.colour_bar(figure, shown, axes, label)
    style.head_ticks(axes, L, H)
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.set_title(style.fitted(title, width - 1.4, style.LARGE))
    if note:
        figure.supxlabel(style.fitted(note, width - 0.4, style.SMALL), fontsize=style.SMALL)
    if warning:
        style.warn(figure, warning)
    return figure


@style.in_house_style
def heatmaps(maps: Mapping[str, Map], title: str, *, log: bool = False) -> Figure:
    """Several maps side by side, each in its own range of colours: what is compared is the pattern.

    >>> heatmaps({"truth": truth.values, "causal": causal.values}, "zoo:llama-base")

    Args:
        maps: [layers, heads] each, by the title of its panel.
        log: whether colours follow the logarithm of the numbers, which then are positive.
    """
    lines, columns = style.grid_of(len(maps))
    figure = style.new_figure(0.4 + 3.0 * columns, 0.6 + 2.5 * lines)
    for axes, (name, values) in zip(style.panel_grid(figure, len(maps)), maps.items(), strict=True):
        style.colour_bar(figure, style.cells(axes, values, **_colours(values, log=log)), axes)
        style.head_ticks(axes, *values.shape, at_most=8)
        axes.set_title(style.fitted(name, 2.3, style.LARGE))
    figure.supxlabel("head")
    figure.supylabel("layer")
    figure.suptitle(style.fitted(title, figure.get_figwidth() - 0.4, style.MEDIUM))
    return figure


def _colours(values: Map, *, log: bool = False) -> dict[str, Any]:
    """Diverging around zero where a map has both signs."""
    found = values[np.isfinite(values)]
    low, high = (float(found.min()), float(found.max())) if found.size else (0.1 if log else 0.0, 1.0)
    if log:
        return {"cmap": "viridis", "norm": LogNorm(*(low, high) if high > 1.01 * low else (low / 3, high * 3))}
    if low < 0:
        size = max(-low, high)
        return {"cmap": "RdBu_r", "vmin": -size, "vmax": size}
    if high - low < 1e-6:  # nothing to tell apart but rounding
        low, high = low - 0.5, high + 0.5
    return {"cmap": "viridis", "vmin": low, "vmax": high}


@dataclass(frozen=True)
class Panel:
    """One panel of `scatter`: `Panel("zoo:llama-base", truth.values, {"causal": causal.values}, "r 0.21")`."""

    title: str
    x: Map
    y: Mapping[str, Map]
    """One or more maps, each with a marker of its own."""
    said: str
    """What was computed from them, under the panel."""


@style.in_house_style
def scatter(
    panels: Sequence[Panel], x_label: str, y_label: str, columns: int | None = None, *, log: bool = False
) -> Figure:
    """Panels side by side, so many in a line (at most four, if none is said); a point a head, whose colour is depth.
    With `log` the vertical axis is logarithmic.

    >>> scatter([panel], "truth score", "causal score")
    """
    lines, columns = style.grid_of(len(panels), columns)
    width, height = 1.4 + 2.9 * columns, 0.7 + 2.8 * lines
    figure = style.new_figure(width, height)
    several = any(len(panel.y) > 1 for panel in panels)
    names = list(dict.fromkeys(name for panel in panels for name in panel.y)) if several else []
    markers = dict(zip(names, cycle(_MARKERS), strict=False))
    layers = Normalize(0, max(max(len(panel.x) for panel in panels) - 1, 1))
    grid = style.panel_grid(figure, len(panels), columns)
    for axes, panel in zip(grid, panels, strict=True):
        depth = np.repeat(np.arange(len(panel.x)), panel.x.shape[1])
        size = float(np.clip(1500 / panel.x.size, 3, 16))
        looks: dict[str, Any] = {"c": depth, "cmap": style.DEPTH, "norm": layers, "alpha": 0.8, "linewidths": 0}
        for name, values in panel.y.items():
            axes.scatter(panel.x.ravel(), values.ravel(), s=size, marker=markers.get(name, _MARKERS[0]), **looks)
        if log:
            axes.set_yscale("log")
        axes.set_title(style.fitted(panel.title, 2.5, style.LARGE))
        axes.set_xlabel(style.fitted(panel.said, 2.5, style.SMALL), fontsize=style.SMALL)
    if several:
        dot = partial(Line2D, [], [], ls="", color=style.INK)
        style.legend(figure, [dot(marker=marker, label=style.plain(name)) for name, marker in markers.items()])
    style.colour_bar(figure, ScalarMappable(layers, style.DEPTH), grid, "layer", ticks=MaxNLocator(integer=True))
    figure.supxlabel(style.fitted(x_label, width - 0.4, style.MEDIUM))
    figure.supylabel(style.fitted(y_label, height - 0.4, style.MEDIUM))
    return figure
