"""One map against others, a point a head: score against weights kept, truth against causal, score against evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lens_truth.plots.style import (
    DEPTH,
    INK,
    LARGE,
    MEDIUM,
    SMALL,
    colour_bar,
    fitted,
    grid_of,
    in_house_style,
    legend,
    new_figure,
    panel_grid,
    plain,
)

_MARKERS = ("o", "^", "s", "D")


@dataclass(frozen=True)
class Panel:
    """One panel of `scatter`: `Panel("zoo:llama-base", truth.values, {"causal": causal.values}, "r 0.21")`."""

    title: str
    x: Float[np.ndarray, "L H"]
    y: Mapping[str, Float[np.ndarray, "L H"]]
    """One or more maps, each with a marker of its own."""
    said: str
    """What was computed from them, under the panel."""


@in_house_style
def scatter(panels: Sequence[Panel], x_label: str, y_label: str, columns: int | None = None) -> Figure:
    """Panels side by side, so many in a line (at most four, if none is said); a point a head, whose colour is depth.

    ```python
    panel = Panel("zoo:llama-base", truth.values, {"causal": causal.values}, "r 0.21")
    scatter([panel], "truth score", "causal score")
    ```
    """
    lines, columns = grid_of(len(panels), columns)
    width, height = 1.4 + 2.9 * columns, 0.7 + 2.8 * lines
    figure = new_figure(width, height)
    several = any(len(panel.y) > 1 for panel in panels)
    names = list(dict.fromkeys(name for panel in panels for name in panel.y)) if several else []
    markers = dict(zip(names, cycle(_MARKERS), strict=False))
    layers = Normalize(0, max(max(len(panel.x) for panel in panels) - 1, 1))
    grid = panel_grid(figure, len(panels), columns)
    for axes, panel in zip(grid, panels, strict=True):
        depth = np.repeat(np.arange(len(panel.x)), panel.x.shape[1])
        size = float(np.clip(1500 / panel.x.size, 3, 16))
        looks: dict[str, Any] = {"c": depth, "cmap": DEPTH, "norm": layers, "alpha": 0.8, "linewidths": 0}
        for name, values in panel.y.items():
            axes.scatter(panel.x.ravel(), values.ravel(), s=size, marker=markers.get(name, _MARKERS[0]), **looks)
        axes.set_title(fitted(panel.title, 2.5, LARGE))
        axes.set_xlabel(fitted(panel.said, 2.5, SMALL), fontsize=SMALL)
    if several:
        handles = [Line2D([], [], ls="", marker=at, color=INK, label=plain(name)) for name, at in markers.items()]
        legend(figure, handles)
    colour_bar(figure, ScalarMappable(layers, DEPTH), grid, "layer", ticks=MaxNLocator(integer=True))
    figure.supxlabel(fitted(x_label, width - 0.4, MEDIUM))
    figure.supylabel(fitted(y_label, height - 0.4, MEDIUM))
    return figure
