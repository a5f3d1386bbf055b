"""Head maps: layers down, heads across (TruthProbe, Fig. 1a and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lens_truth.plots.style import (
    LARGE,
    MEDIUM,
    cells,
    colour_bar,
    fitted,
    grid_of,
    head_ticks,
    in_house_style,
    new_figure,
    panel_grid,
    warn,
)
from lens_truth.stats.correlation import Map


@in_house_style
def heatmap(values: Map, label: str, title: str, warning: str | None = None) -> Figure:
    """One number a head, with its scale; numbers with a sign are coloured around zero.

    ```python
    heatmap(scores.values, "truth score", "zoo:llama-base")
    ```

    Args:
        values: [layers, heads], such as `HeadScores.values`; NaN is grey.
        warning: stands in red over the map, so that the picture cannot travel without it.
    """
    L, H = values.shape
    width = 1.4 + float(np.clip(0.26 * H, 3.6, 8.0))
    figure = new_figure(width, 1.3 + float(np.clip(0.2 * L, 1.6, 8.0)))
    axes = figure.subplots()
    shown = cells(axes, values, **_colours(values))
    colour_bar(figure, shown, axes, label)
    head_ticks(axes, L, H)
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.set_title(fitted(title, width - 1.4, LARGE))
    if warning:
        warn(figure, warning)
    return figure


@in_house_style
def heatmaps(maps: Mapping[str, Map], title: str) -> Figure:
    """Several maps side by side, each in its own range of colours: what is compared is the pattern.

    ```python
    heatmaps({"truth": truth.values, "causal": causal.values}, "zoo:llama-base")
    ```

    Args:
        maps: [layers, heads] each, by the title of its panel.
    """
    lines, columns = grid_of(len(maps))
    figure = new_figure(0.4 + 3.0 * columns, 0.6 + 2.5 * lines)
    for axes, (name, values) in zip(panel_grid(figure, len(maps)), maps.items(), strict=True):
        colour_bar(figure, cells(axes, values, **_colours(values)), axes)
        head_ticks(axes, *values.shape, at_most=8)
        axes.set_title(fitted(name, 2.3, LARGE))
    figure.supxlabel("head")
    figure.supylabel("layer")
    figure.suptitle(fitted(title, figure.get_figwidth() - 0.4, MEDIUM))
    return figure


def _colours(values: Map) -> dict[str, Any]:
    """Diverging around zero where a map has both signs."""
    found = values[np.isfinite(values)]
    low, high = (float(found.min()), float(found.max())) if found.size else (0.0, 1.0)
    if low < 0:
        size = max(-low, high)
        return {"cmap": "RdBu_r", "vmin": -size, "vmax": size}
    if high - low < 1e-6:  # nothing to tell apart but rounding
        low, high = low - 0.5, high + 0.5
    return {"cmap": "viridis", "vmin": low, "vmax": high}
